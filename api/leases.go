package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/task"
)

// Ended says what came of moving a task to a state.
type Ended struct {
	State       task.State   `json:"state"`
	Credentials lease.Report `json:"credentials"`
	Record      uint64       `json:"record"` // the one that says so
}

// Leases are the credentials that live or are not gone yet, and where they
// come from.
type Leases struct {
	Leases  []lease.Lease      `json:"leases"`
	Sources []lease.SourceInfo `json:"sources"`
}

// broker is the gateway's; an error where no lease is configured.
func (s *Server) broker() (*lease.Broker, error) {
	if b := s.c.Gateway.Leases(); b != nil {
		return b, nil
	}
	return nil, &sallyport.Error{Kind: sallyport.ENotFound, Code: "no_leases", Text: "this gateway mints no credentials", Fix: "add leases to the config: docs/leases.md"}
}

// leaseOf is the credential that a request names, and who has it.
func (s *Server) leaseOf(r *http.Request) (*lease.Broker, sallyport.ID, error) {
	b, err := s.broker()
	if err != nil {
		return nil, "", err
	}
	id, err := pathID(r, sallyport.LeaseID)
	return b, id, err
}

// leases lists them: an operator sees all, anybody else those of their own
// tasks.
func (s *Server) leases(r *http.Request, who Caller) (any, error) {
	b, err := s.broker()
	if err != nil {
		return nil, err
	}
	out := Leases{Leases: []lease.Lease{}, Sources: b.Sources()}
	for i := range out.Sources {
		if !who.Operator {
			out.Sources[i].Problem = "" // a backend's own words, as Failure
		}
	}
	for _, l := range b.Leases() {
		if l.Sealed = nil; !who.Operator {
			if l.Task == "" {
				continue
			}
			if st, err := s.c.Store.View(r.Context(), l.Task); err != nil || st.Mandate.User != who.User {
				continue
			}
			l.Failure, l.Ref = "", ""
		}
		out.Leases = append(out.Leases, l)
	}
	return out, nil
}

// revokeLease takes one credential back. Its task goes on, and gets another
// one when it needs it.
func (s *Server) revokeLease(r *http.Request, who Caller) (any, error) {
	b, id, err := s.leaseOf(r)
	if err != nil {
		return nil, err
	}
	return b.EndLease(r.Context(), id, "revoked by "+who.User.ID)
}

// AbandonRequest says why nothing will ever revoke a credential.
type AbandonRequest struct {
	Because string `json:"because"` // one line, at most 200 characters
}

// abandonLease ends the tries to revoke a credential whose backend is gone.
func (s *Server) abandonLease(r *http.Request, who Caller) (any, error) {
	b, id, err := s.leaseOf(r)
	if err != nil {
		return nil, err
	}
	var in AbandonRequest
	if err := read(r, &in); err != nil {
		return nil, err
	}
	if because := []rune(in.Because); strings.TrimSpace(in.Because) == "" || len(because) > 200 || slices.ContainsFunc(because, unicode.IsControl) {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "because", Text: "why nothing will revoke it is one line of at most 200 characters", Fix: "--because 'the database was taken down on Monday'"}
	}
	return struct{}{}, b.Abandon(r.Context(), id, "abandoned by "+who.User.ID+": "+in.Because)
}

// Leases lists the credentials that live or are not gone yet.
func (c *Client) Leases(ctx context.Context) (Leases, error) {
	var l Leases
	return l, c.do(ctx, "GET", "/v1/leases", nil, &l)
}

// RevokeLease takes one credential back.
func (c *Client) RevokeLease(ctx context.Context, id sallyport.ID) (lease.Report, error) {
	var r lease.Report
	return r, c.do(ctx, "POST", "/v1/leases/"+string(id)+"/revoke", struct{}{}, &r)
}

// AbandonLease ends the tries to revoke a credential whose backend is gone.
func (c *Client) AbandonLease(ctx context.Context, id sallyport.ID, because string) error {
	return c.do(ctx, "POST", "/v1/leases/"+string(id)+"/abandon", AbandonRequest{because}, nil)
}
