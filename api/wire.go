// Package api is how programs and people reach a running gateway: wire types,
// a server and a client. The first door is a unix socket, where the kernel
// says who calls.
package api

import (
	"net/http"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/oauth"
	"github.com/sallyport-dev/sallyport/state"
	"github.com/sallyport-dev/sallyport/task"
)

// Status is what a gateway says of itself.
type Status struct {
	Version string           `json:"version"`
	Domain  string           `json:"domain"`
	Listen  string           `json:"listen"`
	Ledger  string           `json:"ledger"`
	Records uint64           `json:"records"`
	Head    sallyport.Digest `json:"head"`
	Bundle  sallyport.Digest `json:"bundle"`
	Rules   int              `json:"rules"`
	Servers []ServerStatus   `json:"servers"`
	Tasks   int              `json:"tasks"` // living
	Asks    int              `json:"asks"`  // pending
	// Credentials are those that live; Stuck, those whose revocation has
	// failed so often that a person should look.
	Credentials int       `json:"credentials"`
	Stuck       int       `json:"stuck,omitempty"`
	Since       time.Time `json:"since"`
	User        string    `json:"user"`           // who asks, as the gateway knows them
	Issuer      string    `json:"issuer"`         // issuer identifier (RFC 8414): the public URL
	MTLS        string    `json:"mtls,omitempty"` // base URL of the listener for client certificates
	// Embedded says that the gateway itself signs the SVIDs of its domain.
	Embedded bool `json:"embedded"`
}

// ServerStatus is one registered server.
type ServerStatus struct {
	Name        string         `json:"name"`
	Mode        sallyport.Mode `json:"mode"`
	Tools       int            `json:"tools"`
	Quarantined int            `json:"quarantined"`
	Error       string         `json:"error,omitempty"` // why it could not be reached
}

// TaskInfo is a task.
type TaskInfo struct {
	ID      sallyport.ID             `json:"id"`
	State   task.State               `json:"state"`
	Agent   string                   `json:"agent"`
	User    string                   `json:"user"`
	Mandate *task.Mandate            `json:"mandate"`
	Digest  sallyport.Digest         `json:"digest"`
	Started time.Time                `json:"started"`
	Ended   time.Time                `json:"ended,omitzero"`
	Meters  map[string]canon.Decimal `json:"meters,omitempty"`
	Asks    []state.Ask              `json:"asks,omitempty"`
	// Label is what the task has read, at worst: "untrusted/confidential".
	Label string `json:"label,omitempty"`
}

// What the token endpoint reads and answers.
type (
	TaskRequest = oauth.TaskRequest
	Token       = oauth.Token
)

// The constants of the token exchange (RFC 8693).
const (
	TaskDetail         = oauth.TaskDetail
	GrantTokenExchange = oauth.GrantTokenExchange
	TypeJWT            = oauth.TypeJWT
	TypeTxnToken       = oauth.TypeTxnToken
	TypeAccessToken    = oauth.TypeAccessToken
	TypeLocalUser      = oauth.TypeLocalUser
)

// AgentRequest registers an agent.
type AgentRequest struct {
	Name    string   `json:"name"`
	Owner   string   `json:"owner"`
	Contact string   `json:"contact,omitempty"`
	Purpose string   `json:"purpose"`
	Groups  []string `json:"groups,omitempty"`
	// Templates are those it may start tasks of; none means any.
	Templates []string `json:"templates,omitempty"`
	// Words: its word is taken for what its users asked for.
	Words bool          `json:"words,omitempty"`
	Risk  string        `json:"risk,omitempty"` // low, medium, high
	TTL   time.Duration `json:"ttl"`
	// Key is the RFC 7638 thumbprint of the agent's public key, if it has one.
	// The private half never leaves the agent.
	Key        string                  `json:"key,omitempty"`
	Identities []gateway.AgentIdentity `json:"identities,omitempty"`
}

// AgentChange changes a registration; what is nil stays.
type AgentChange struct {
	Owner      *string                  `json:"owner,omitempty"`
	Contact    *string                  `json:"contact,omitempty"`
	Purpose    *string                  `json:"purpose,omitempty"`
	Risk       *string                  `json:"risk,omitempty"`
	Groups     *[]string                `json:"groups,omitempty"`
	Templates  *[]string                `json:"templates,omitempty"`
	Words      *bool                    `json:"words,omitempty"`
	Key        *string                  `json:"key,omitempty"`
	Identities *[]gateway.AgentIdentity `json:"identities,omitempty"`
}

// Person is who the gateway takes the caller for.
type Person struct {
	User     string   `json:"user"`
	Groups   []string `json:"groups"`
	Operator bool     `json:"operator"`
}

// Invitation is a one-time link with which a person makes a passkey.
type Invitation struct {
	User string `json:"user"`
	URL  string `json:"url"`
}

// Finding is one thing about the registry that a person should look at.
type Finding = gateway.Finding

// Offboarded is what the end of an owner took with it.
type Offboarded = gateway.Offboarded

// Comparison is what an agent and a user could each do.
type Comparison = gateway.Comparison

// UserInfo is a human who signed in, or whose standing was changed.
type UserInfo = gateway.User

// Answer is an approver's word.
type Answer struct {
	Yes bool `json:"yes"`
}

// Accept names the definition of a tool that becomes the accepted one. The
// digest is of what the person looked at: if the server has changed it since,
// nothing is accepted.
type Accept struct {
	Server string           `json:"server"`
	Tool   string           `json:"tool"`
	Digest sallyport.Digest `json:"digest"`
}

// ToolInfo is what the catalog knows of a tool.
type ToolInfo struct {
	Server      string                    `json:"server"`
	Tool        string                    `json:"tool"`
	Mode        sallyport.Mode            `json:"mode"`
	Class       sallyport.Class           `json:"class"`
	Kinds       []sallyport.Kind          `json:"kinds,omitempty"`
	Sensitivity sallyport.Sensitivity     `json:"sensitivity"`
	Roles       map[string]sallyport.Role `json:"roles,omitempty"`
	Reviewed    bool                      `json:"reviewed"`
	Pinned      sallyport.Digest          `json:"pinned"`
	Observed    sallyport.Digest          `json:"observed"`
	// State is ok, "not offered", or why the tool is in quarantine.
	State string `json:"state"`
	Diff  string `json:"diff,omitempty"`
	// Definition is what the server listed last, or what was accepted; given
	// for one tool, not in lists.
	Definition canon.Value `json:"definition,omitzero"`
}

// AgentInfo is a registered agent.
type AgentInfo = gateway.Agent

// Problem is an error on the wire.
type Problem struct {
	Kind sallyport.ErrorKind `json:"kind"`
	Code string              `json:"code"`
	Text string              `json:"text"`
	Fix  string              `json:"fix,omitempty"`
}

// statusOf is the one table from error kinds to HTTP.
func statusOf(k sallyport.ErrorKind) int {
	switch k {
	case sallyport.EInvalid:
		return http.StatusBadRequest
	case sallyport.EUnauthenticated:
		return http.StatusUnauthorized
	case sallyport.EForbidden:
		return http.StatusForbidden
	case sallyport.ENotFound:
		return http.StatusNotFound
	case sallyport.EConflict:
		return http.StatusConflict
	case sallyport.EExhausted:
		return http.StatusTooManyRequests
	case sallyport.EUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
