// Package vault mints credentials with the dynamic secrets engines of
// HashiCorp Vault and OpenBao, by path, over their HTTP API.
//
// For each handle the gateway makes a token of its own through a token role
// (auth/token/create/ROLE), with the handle in its metadata and the lease's TTL
// as its most, and reads the path with that token. What was read hangs on the
// token: when it ends, by revocation or by Vault's own clock, Vault ends the
// secret's lease too, and the token's accessor finds both again. The token is
// forgotten as soon as the path was read.
//
// Revoking a token only queues its leases. So Revoke first revokes the secret's
// lease with sync=true, which returns when the engine has taken the credential
// back, and then the token by its accessor. What is open with a credential goes
// on: an engine deletes a user and ends no session.
//
// Sources: the API documentation of /auth/token, /sys/leases and the
// engines, and the servers' behaviour.
package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/secret"
)

// Config is what is read from one Vault.
type Config struct {
	Client *Client
	// Role is the token role that the tokens of handles are made with.
	Role string
	// Policies are what those tokens have, by class; each lets read one path.
	Policies map[sallyport.Class][]string
	// Paths are what is read, by class: "database/creds/readonly".
	Paths map[sallyport.Class]string
	// Put sends Params with PUT instead of GET, for engines that want it.
	Put    bool
	Params map[string]string
	// Fields are the parts of the credential by the field that Vault calls
	// them, beside the usual ones (username, password, access_key, ...).
	Fields map[string]string
	// Revoke is what the engine's revocation is worth; "" is immediate. For
	// what an engine cannot take back, such as AWS STS credentials, it is none.
	Revoke lease.Revocation
	// NoList says that the gateway may not list accessors, which takes sudo:
	// then a token that a crash left is not found, and ends with its TTL.
	NoList bool
	// MaxTokens bounds how many tokens there may be at Vault for List to look
	// through; 0 is 20,000.
	MaxTokens int
}

// metaHandle is the handle in a token's metadata.
const metaHandle = "sallyport_handle"

// Backend implements lease.Backend.
type Backend struct {
	c Config

	// mu guards what this process knows of tokens, so that a handle that is
	// minted again leaves one, and so that List looks at a token once. Losing
	// it loses nothing but time.
	mu     sync.Mutex
	minted map[lease.Handle]minted
	looked map[string]lease.Handle // by accessor; "" for a token that is nobody's here
}

// minted is what a handle has at Vault.
type minted struct{ accessor, lease string }

// New makes a Backend. Nothing is sent before the first use.
func New(c Config) (*Backend, error) {
	if c.MaxTokens == 0 {
		c.MaxTokens = 20_000
	}
	switch {
	case c.Client == nil:
		return nil, errors.New("a connection is needed")
	case !goodPath(c.Role) || strings.Contains(c.Role, "/"):
		return nil, errors.New("role: the name of a token role is needed")
	case len(c.Paths) == 0:
		return nil, errors.New("paths: at least one class needs a path")
	case c.Revoke != "" && c.Revoke != lease.Immediate && c.Revoke != lease.None:
		return nil, errors.New("revoke: it is immediate or none")
	}
	for class, p := range c.Paths {
		if !goodPath(p) {
			return nil, fmt.Errorf("paths: that of %s is not a path of the API, such as database/creds/readonly", class)
		}
		if len(c.Policies[class]) == 0 {
			return nil, fmt.Errorf("policies: %s has a path and no policy that lets read it", class)
		}
	}
	if c.Revoke == "" {
		c.Revoke = lease.Immediate
	}
	return &Backend{c: c, minted: map[lease.Handle]minted{}, looked: map[string]lease.Handle{}}, nil
}

// Close ends the gateway's own sign-in.
func (b *Backend) Close() error { return b.c.Client.Close() }

// Truth implements lease.Backend.
func (b *Backend) Truth() lease.Truth {
	t := lease.Truth{
		Backend: "vault", Revoke: b.c.Revoke, Lists: !b.c.NoList, ShortestTTL: time.Second,
		Note: "sessions that were opened with the credential go on; where a crash lost the id of the secret's lease, Vault only queues the revocation",
	}
	if b.c.NoList {
		t.Note += "; a token that a crash left is not found and ends with its TTL"
	}
	return t
}

// Mint makes the handle's token and reads the path with it. A lease of the
// secret that is shorter than asked for is renewed once, at once; what Vault
// then gives counts.
func (b *Backend) Mint(ctx context.Context, h lease.Handle, s lease.Spec) (lease.Minted, error) {
	path, ok := b.c.Paths[s.Class]
	if !ok {
		return lease.Minted{}, fail("minting", fmt.Errorf("no path is configured for the class %s: name one under paths", s.Class))
	}
	b.mu.Lock()
	old, again := b.minted[h]
	b.mu.Unlock()
	if again {
		if err := b.end(ctx, old); err != nil {
			return lease.Minted{}, fail("taking back what was minted before", err)
		}
	}
	seconds := fmt.Sprintf("%ds", max(1, int64((s.TTL+time.Second-1)/time.Second)))
	start := time.Now()
	made, err := b.c.Client.call(ctx, http.MethodPost, "auth/token/create/"+b.c.Role, map[string]any{
		"display_name": "sallyport", "policies": b.c.Policies[s.Class], "no_default_policy": true, "renewable": false,
		"ttl": seconds, "explicit_max_ttl": seconds, "type": "service",
		"meta": meta(h, s),
	})
	if err != nil {
		return lease.Minted{}, fail("making a token for it", err)
	}
	if made.Auth == nil || made.Auth.ClientToken == "" || made.Auth.Accessor == "" {
		return lease.Minted{}, fail("making a token for it", errors.New("the answer holds no token with an accessor: is the role's token_type batch?"))
	}
	token := secret.Text(made.Auth.ClientToken)
	defer token.Zero()
	m := minted{accessor: made.Auth.Accessor}
	b.note(h, m)
	a, err := b.read(ctx, path, token)
	if err != nil {
		return lease.Minted{}, fail("reading the credential", err)
	}
	if a.LeaseID == "" {
		return lease.Minted{}, fail("reading "+path, errors.New("it has no lease: this is no dynamic secret, and nothing could take it back"))
	}
	m.lease = a.LeaseID
	b.note(h, m)
	expires := start.Add(time.Duration(made.Auth.LeaseDuration) * time.Second)
	if a.Renewable && time.Duration(a.LeaseDuration)*time.Second < s.TTL {
		again, err := b.c.Client.call(ctx, http.MethodPut, "sys/leases/renew", map[string]any{"lease_id": m.lease, "increment": int64(s.TTL / time.Second)})
		if err != nil {
			return lease.Minted{}, fail("renewing the lease of "+path, err)
		}
		a.LeaseDuration = again.LeaseDuration
	}
	if end := start.Add(time.Duration(a.LeaseDuration) * time.Second); end.Before(expires) {
		expires = end
	}
	c, err := b.credential(a.Data)
	if err != nil {
		return lease.Minted{}, fail("reading "+path, err)
	}
	return lease.Minted{Credential: c, Expires: expires, Kept: lease.Kept{Ref: m.accessor + " " + m.lease}}, nil
}

// meta is what Vault's audit log shows with every request of the token.
func meta(h lease.Handle, s lease.Spec) map[string]string {
	m := map[string]string{metaHandle: string(h)}
	for k, v := range map[string]string{"server": s.Server, "user": s.User, "agent": s.Agent, "task": string(s.Task), "decision": string(s.Decision)} {
		if v != "" {
			m["sallyport_"+k] = v
		}
	}
	return m
}

func (b *Backend) note(h lease.Handle, m minted) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.minted[h] = m
	b.looked[m.accessor] = h
}

func (b *Backend) read(ctx context.Context, path string, token secret.Value) (*answer, error) {
	if !b.c.Put {
		return b.c.Client.send(ctx, http.MethodGet, path, token, nil)
	}
	params := b.c.Params
	if params == nil {
		params = map[string]string{}
	}
	return b.c.Client.send(ctx, http.MethodPut, path, token, params)
}

// usual are the names that engines give the parts of a credential.
var usual = map[string]string{
	"username": lease.Username, "password": lease.Password, "token": lease.Token,
	"access_key": lease.AccessKey, "secret_key": lease.SecretKey, "security_token": lease.Session, "session_token": lease.Session,
	"private_key": lease.PrivateKey, "certificate": lease.Cert,
}

// open are the parts that are no secrets.
var open = []string{lease.Username, lease.AccessKey, lease.Cert, lease.Address, lease.Database}

func (b *Backend) credential(data map[string]json.RawMessage) (lease.Credential, error) {
	c := lease.Credential{Values: map[string]string{}, Secrets: map[string]secret.Value{}}
	for _, fields := range []map[string]string{usual, b.c.Fields} { // the config's count before the usual
		for field, part := range fields {
			text, ok := plain(data[field])
			if !ok || text == "" {
				continue
			}
			if slices.Contains(open, part) {
				c.Values[part] = text
			} else {
				c.Secrets[part] = secret.Text(text)
			}
		}
	}
	for field := range b.c.Fields {
		if _, ok := plain(data[field]); !ok {
			return c, fmt.Errorf("the secret has no field %q, but %s", field, strings.Join(slices.Sorted(maps.Keys(data)), ", "))
		}
	}
	if len(c.Secrets) == 0 {
		return c, fmt.Errorf("the secret has none of the usual fields, but %s: name them under fields", strings.Join(slices.Sorted(maps.Keys(data)), ", "))
	}
	return c, nil
}

// Revoke takes back what the handle has. With what Mint gave to be kept that
// is one secret's lease and one token; without it, all tokens of the handle.
func (b *Backend) Revoke(ctx context.Context, h lease.Handle, k lease.Kept) error {
	var all []minted
	if accessor, id, ok := strings.Cut(k.Ref, " "); ok {
		all = append(all, minted{accessor, id})
	}
	b.mu.Lock()
	known, ok := b.minted[h]
	b.mu.Unlock()
	if ok && !slices.Contains(all, known) {
		all = append(all, known)
	}
	if k.Ref == "" && !b.c.NoList {
		found, err := b.tokens(ctx)
		if err != nil {
			return fail("looking for what is to be revoked", err)
		}
		for accessor, of := range found {
			if of == h && accessor != known.accessor {
				all = append(all, minted{accessor: accessor})
			}
		}
	}
	for _, m := range all {
		if err := b.end(ctx, m); err != nil {
			return fail("revoking", err)
		}
	}
	b.mu.Lock()
	delete(b.minted, h)
	b.mu.Unlock()
	if k.Ref == "" && b.c.NoList && !ok {
		return lease.ErrExpires
	}
	return nil
}

// end revokes a secret's lease and the token that it hangs on. The token is
// revoked even where the first cannot be: then Vault goes on trying.
func (b *Backend) end(ctx context.Context, m minted) error {
	var err error
	if m.lease != "" {
		_, err = b.c.Client.call(ctx, http.MethodPut, "sys/leases/revoke", map[string]any{"lease_id": m.lease, "sync": true})
		if gone(err, "lease not found", "invalid lease") {
			err = nil
		}
	}
	_, terr := b.c.Client.call(ctx, http.MethodPost, "auth/token/revoke-accessor", map[string]any{"accessor": m.accessor})
	if gone(terr, "invalid accessor", "bad token", "token not found") {
		terr = nil
	}
	if err = errors.Join(err, terr); err == nil {
		b.mu.Lock()
		delete(b.looked, m.accessor)
		b.mu.Unlock()
	}
	return err
}

// gone reports whether an error says that there is no such thing. Versions
// say it with different codes. Something else at Vault's address that knows of
// nothing, or of no such path, does not say it.
func gone(err error, texts ...string) bool {
	code, text := status(err)
	var e *statusError
	return code == http.StatusNotFound && text == "" && errors.As(err, &e) && e.api || code >= 400 && code < 500 && slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(text, t) })
}

// List finds the owner's handles by the metadata of all tokens.
func (b *Backend) List(ctx context.Context, o lease.Owner) ([]lease.Handle, error) {
	if b.c.NoList {
		return nil, nil
	}
	found, err := b.tokens(ctx)
	if err != nil {
		return nil, fail("listing tokens", err)
	}
	var out []lease.Handle
	for _, h := range found {
		if h != "" && h.Owner() == o && !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	slices.Sort(out)
	return out, nil
}

// tokens returns the handle of every token at Vault by its accessor, "" where
// it has none. It asks for each token once in the life of the process, with
// eight requests at a time.
func (b *Backend) tokens(ctx context.Context) (map[string]lease.Handle, error) {
	a, err := b.c.Client.call(ctx, "LIST", "auth/token/accessors", nil)
	if gone(err) {
		return nil, nil
	}
	if denied(err) {
		return nil, fmt.Errorf("it takes sudo on auth/token/accessors: %w", err)
	}
	if err != nil {
		return nil, err
	}
	var accessors []string
	if err := json.Unmarshal(a.Data["keys"], &accessors); err != nil {
		return nil, errors.New("the list of accessors is none")
	}
	if len(accessors) > b.c.MaxTokens {
		return nil, fmt.Errorf("there are %d tokens, more than %d to look through: give the gateway a namespace of its own, or raise max_tokens", len(accessors), b.c.MaxTokens)
	}
	found := make(map[string]lease.Handle, len(accessors))
	var missing []string
	b.mu.Lock()
	for _, acc := range accessors {
		if h, ok := b.looked[acc]; ok {
			found[acc] = h
		} else {
			missing = append(missing, acc)
		}
	}
	for acc := range b.looked { // what has ended is forgotten, but for what was made meanwhile
		if _, ok := found[acc]; !ok && !slices.ContainsFunc(slices.Collect(maps.Values(b.minted)), func(m minted) bool { return m.accessor == acc }) {
			delete(b.looked, acc)
		}
	}
	b.mu.Unlock()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, acc := range missing {
		group.Go(func() error {
			h, ok, err := b.look(ctx, acc)
			if err == nil && ok {
				b.mu.Lock()
				b.looked[acc], found[acc] = h, h
				b.mu.Unlock()
			}
			return err
		})
	}
	return found, group.Wait()
}

// look reads whose a token is; not ok if it has ended meanwhile. Only what was
// made with the role is the gateway's, whatever its metadata says.
func (b *Backend) look(ctx context.Context, accessor string) (lease.Handle, bool, error) {
	a, err := b.c.Client.call(ctx, http.MethodPost, "auth/token/lookup-accessor", map[string]any{"accessor": accessor})
	if gone(err, "invalid accessor", "bad token", "token not found") {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	var path string
	var of map[string]string
	_ = json.Unmarshal(a.Data["path"], &path) // what is no text is not ours
	_ = json.Unmarshal(a.Data["meta"], &of)
	if path != "auth/token/create/"+b.c.Role {
		return "", true, nil
	}
	h, _ := lease.ParseHandle(of[metaHandle])
	return h, true, nil
}

func fail(doing string, err error) error { return lease.Failure("vault", doing, err) }
