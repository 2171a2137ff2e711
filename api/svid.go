package api

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
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
	if a.Suspended || !a.Expires.IsZero() && !now.Before(a.Expires) {
		return nil, sallyport.Errorf(sallyport.EForbidden, "suspended", "agent %s is suspended or its registration has expired", a.Name)
	}
	token, err := s.c.Issuer.MintJWTSVID(a.ID, in.Audience, in.TTL, now)
	return SVID{ID: a.ID, SVID: token}, err
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
