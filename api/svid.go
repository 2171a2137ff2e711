package api

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/workload"
)

// SVIDRequest asks for a JWT-SVID in the name of the agent that proves its key.
type SVIDRequest struct {
	Assertion string        `json:"assertion"` // as identity.Assert makes it
	Audience  string        `json:"audience"`  // the service that is to accept it
	TTL       time.Duration `json:"ttl"`       // at most identity.MaxSVIDTTL; zero takes that
}

// SVID is a minted JWT-SVID.
type SVID struct {
	ID   string `json:"spiffe_id"`
	SVID string `json:"svid"`
}

// svid mints a JWT-SVID (SPIFFE JWT-SVID section 3) for a registered agent
// that proves its key. Whoever may open the socket may ask: what counts is
// the key.
func (s *Server) svid(r *http.Request, _ Caller) (any, error) {
	var in SVIDRequest
	if err := read(r, &in); err != nil {
		return nil, err
	}
	if err := s.signs(); err != nil {
		return nil, err
	}
	if in.TTL == 0 {
		in.TTL = identity.MaxSVIDTTL
	}
	now := s.c.Now()
	agent, err := s.proven(in.Assertion, now)
	if err != nil {
		return nil, err
	}
	a, err := s.c.Directory.Agent(agent.SPIFFEID())
	if err != nil {
		return nil, err
	}
	if err := s.c.Directory.Stands(a, now); err != nil {
		return nil, err
	}
	token, err := s.c.Issuer.MintJWTSVID(a.ID, in.Audience, in.TTL, now)
	return SVID{ID: a.ID, SVID: token}, err
}

// signs reports why this gateway signs no SVIDs, nil if it does.
func (s *Server) signs() error {
	if s.c.Mint != nil {
		return nil
	}
	return &sallyport.Error{Kind: sallyport.EConflict, Code: "no_authority", Text: "the SVIDs of this trust domain come from SPIRE", Fix: "ask its Workload API, or leave workload_api out of the config"}
}

// TaskSVIDRequest asks for an SVID of one task, /agent/NAME/task/ID, in the
// name of the agent that proves the key the task is bound to.
type TaskSVIDRequest struct {
	Assertion string           `json:"assertion"` // as identity.Assert makes it
	Request   workload.Request `json:"request"`
}

// taskSVID mints SVIDs for the processes that work on a task. They end with
// it: none outlasts the task, and the gateway asks again each time.
func (s *Server) taskSVID(r *http.Request, _ Caller) (any, error) {
	var in TaskSVIDRequest
	if err := read(r, &in); err != nil {
		return nil, err
	}
	if err := s.signs(); err != nil {
		return nil, err
	}
	id, err := pathID(r, sallyport.TaskID)
	if err != nil {
		return nil, err
	}
	st, err := s.c.Store.View(r.Context(), id)
	if err != nil {
		return nil, err
	}
	now := s.c.Now()
	_, err = s.c.Issuer.VerifyAssertion(in.Assertion, func(agent string) (string, bool) {
		return st.Mandate.Holder, agent == st.Mandate.Agent.ID
	}, now)
	if err != nil {
		return nil, err
	}
	if err := s.c.Gateway.Renewable(st.View); err != nil {
		return nil, err
	}
	sid, err := workload.TaskID(st.Mandate.Agent.ID, id)
	if err != nil {
		return nil, err
	}
	return workload.Grant(r.Context(), s.c.Mint(st.Mandate.Expires), sid, in.Request)
}

// jwks serves the keys that task tokens and JWT-SVIDs verify with.
func (s *Server) jwks(*http.Request, Caller) (any, error) {
	return json.RawMessage(s.c.Issuer.JWKS()), nil
}

func (s *Server) proven(assertion string, now time.Time) (identity.Workload, error) {
	return s.c.Issuer.VerifyAssertion(assertion, func(id string) (string, bool) {
		a, err := s.c.Directory.Agent(id)
		return a.Key, err == nil
	}, now)
}
