package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/api"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/oauth2"
	"github.com/sallyport-dev/sallyport/secret"
)

// OAuthLease is access tokens of an OAuth authorization server.
type OAuthLease struct {
	// Issuer is its issuer identifier, whose metadata is read.
	Issuer string `yaml:"issuer"`
	// TokenEndpoint and RevocationEndpoint are of a server without metadata.
	TokenEndpoint      string `yaml:"token_endpoint"`
	RevocationEndpoint string `yaml:"revocation_endpoint"`
	// Grant is token-exchange, client_credentials, refresh or jwt-bearer.
	Grant  oauth2.Grant `yaml:"grant"`
	Client OAuthClient  `yaml:"client"`
	// IDJAG makes the assertion of jwt-bearer an identity assertion grant.
	IDJAG bool `yaml:"id_jag"`

	Read  *OAuthAsk `yaml:"read"`
	Write *OAuthAsk `yaml:"write"`
	Act   *OAuthAsk `yaml:"act"`
	// Resource are resource indicators (RFC 8707), Audience logical names.
	Resource []string `yaml:"resource"`
	Audience []string `yaml:"audience"`
	DPoP     bool     `yaml:"dpop"`
	// Revoke is whether access tokens are revoked; default: yes, and to be said
	// with refresh.
	Revoke *bool `yaml:"revoke"`
	// Introspected says that the servers that take the tokens ask about each.
	Introspected bool `yaml:"introspected"`

	Connect OAuthConnect `yaml:"connect"`
	CA      string       `yaml:"ca"` // PEM file; default: the system's authorities
	Timeout duration     `yaml:"timeout"`
}

// OAuthClient is what the gateway is at the authorization server.
type OAuthClient struct {
	ID     string      `yaml:"id"`
	Auth   oauth2.Auth `yaml:"auth"` // client_secret_basic, client_secret_post, private_key_jwt, none
	Secret string      `yaml:"secret"`
	Key    string      `yaml:"key"`
	KeyID  string      `yaml:"key_id"`
	// Audience of its assertions is issuer or token_endpoint.
	Audience string `yaml:"audience"`
}

// OAuthAsk is what the tokens of a class of calls are for.
type OAuthAsk struct {
	Scope   string `yaml:"scope"`
	Details string `yaml:"details"` // authorization_details (RFC 9396), JSON
}

func (a *OAuthAsk) ask() *oauth2.Ask {
	if a == nil {
		return nil
	}
	return &oauth2.Ask{Scope: a.Scope, Details: a.Details}
}

// OAuthConnect is what users are asked for.
type OAuthConnect struct {
	Scope      string            `yaml:"scope"`
	Parameters map[string]string `yaml:"parameters"`
}

func (c *OAuthLease) open(r rootSources) (lease.Backend, error) {
	field := "leases." + r.name + ".oauth"
	bad := func(key, text, fix string) (lease.Backend, error) {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: field + key + ": " + text, Fix: fix}
	}
	if c.Issuer == "" {
		return bad(".issuer", "it is missing", "issuer: https://as.example.com")
	}
	o := oauth2.Config{
		Name: r.name, Issuer: c.Issuer, Endpoints: oauth2.Endpoints{Token: c.TokenEndpoint, Revocation: c.RevocationEndpoint}, Grant: c.Grant,
		Client: oauth2.Client{ID: c.Client.ID, Auth: c.Client.Auth, KeyID: c.Client.KeyID, TokenEndpointAudience: c.Client.Audience == "token_endpoint"},
		Read:   c.Read.ask(), Write: c.Write.ask(), Act: c.Act.ask(), Resource: c.Resource, Audience: c.Audience, DPoP: c.DPoP,
		KeepTokens: c.Revoke != nil && !*c.Revoke, Introspected: c.Introspected,
		Connect: oauth2.Connect{Scope: c.Connect.Scope, Parameters: c.Connect.Parameters}, Timeout: time.Duration(c.Timeout),
	}
	switch {
	case c.RevocationEndpoint != "" && c.TokenEndpoint == "":
		return bad(".revocation_endpoint", "it is for a server without metadata, whose token endpoint is named too", "token_endpoint: https://as.example.com/token")
	case c.Client.Audience != "" && c.Client.Audience != "issuer" && c.Client.Audience != "token_endpoint":
		return bad(".client.audience", fmt.Sprintf("%q is not known", c.Client.Audience), "audience: issuer, or audience: token_endpoint")
	case c.IDJAG && c.Grant != oauth2.JWTBearer:
		return bad(".id_jag", "it is for the grant jwt-bearer", "grant: jwt-bearer")
	case c.Grant == oauth2.Refresh && c.Revoke == nil:
		return bad(".revoke", "servers differ in what they take back with an access token (RFC 7009 section 2.1)",
			"revoke: true if this one takes back the token alone; revoke: false if the user's refresh token goes with it")
	case (c.Client.Secret != "") != (c.Client.Auth == oauth2.SecretBasic || c.Client.Auth == oauth2.SecretPost):
		return bad(".client.secret", "it goes with the auth client_secret_basic or client_secret_post", "secret: file:PATH and auth: client_secret_basic")
	case (c.Client.Key != "") != (c.Client.Auth == oauth2.PrivateKey):
		return bad(".client.key", "it goes with the auth private_key_jwt", "key: file:PATH and auth: private_key_jwt")
	}
	var err error
	if c.Client.Secret != "" {
		if o.Client.Secret, err = r.source(field+".client.secret", c.Client.Secret); err != nil {
			return nil, err
		}
	}
	if c.Client.Key != "" {
		if o.Client.Key, err = r.source(field+".client.key", c.Client.Key); err != nil {
			return nil, err
		}
	}
	switch c.Grant {
	case oauth2.TokenExchange, oauth2.JWTBearer:
		o.Subject = c.subject(r.issuer)
	case oauth2.Refresh:
		if o.Custody, err = connectionDir(r); err != nil {
			return nil, err
		}
	}
	if c.CA != "" {
		text, err := os.ReadFile(r.path(c.CA))
		if err != nil {
			return bad(".ca", "it cannot be read: "+err.Error(), "name a PEM file")
		}
		o.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
		if !o.TLS.RootCAs.AppendCertsFromPEM(text) {
			return bad(".ca", "it holds no certificate", "name a PEM file")
		}
	}
	b, err := oauth2.New(o)
	if err != nil {
		return bad("", strings.TrimPrefix(err.Error(), "oauth: "), "see docs/leases/oauth.md")
	}
	return b, nil
}

// subject says whom a task is for with an assertion of the gateway's own, good
// for a minute, once, and at this server alone.
func (c *OAuthLease) subject(issuer *identity.Issuer) func(context.Context, lease.Spec) (secret.Value, string, error) {
	return func(_ context.Context, s lease.Spec) (secret.Value, string, error) {
		sub := identity.Subject{User: s.User, Agent: s.Agent, Task: s.Task, Audience: c.Issuer}
		if c.IDJAG {
			sub.Client = c.Client.ID
			if len(c.Resource) == 1 {
				sub.Resource = c.Resource[0]
			}
			if a := map[sallyport.Class]*OAuthAsk{sallyport.Read: c.Read, sallyport.Write: c.Write, sallyport.Act: c.Act}[s.Class]; a != nil {
				sub.Scope = a.Scope
			}
		}
		j, err := issuer.MintSubject(sub, time.Now())
		return secret.Text(j), oauth2.TypeJWT, err
	}
}

// connectionDir is where users' refresh tokens lie sealed.
func connectionDir(r rootSources) (*oauth2.Dir, error) {
	box, err := r.box()
	if err != nil {
		return nil, err
	}
	return oauth2.NewDir(filepath.Join(r.data, "connections"), box)
}

// connections serves the api with the backends that users are connected to.
// What it changes is in the ledger.
type connections struct {
	*oauth2.Connector
	record func(ctx context.Context, event, source, user string) error
}

// newConnections makes them of all backends, by their names under leases; nil
// if users are connected to none.
func newConnections(r rootSources, backends map[string]lease.Backend, record func(ctx context.Context, event, source, user string) error) (*connections, error) {
	sources := map[string]*oauth2.Backend{}
	for name, b := range backends {
		if o, ok := b.(*oauth2.Backend); ok && o.Connects() {
			sources[name] = o
		}
	}
	if len(sources) == 0 {
		return nil, nil
	}
	dir, err := connectionDir(r)
	if err != nil {
		return nil, err
	}
	return &connections{oauth2.NewConnector(dir, sources), record}, nil
}

func (c *connections) Begin(ctx context.Context, source, user, redirect string) (api.Connecting, error) {
	s, err := c.Connector.Begin(ctx, source, user, redirect)
	return api.Connecting{Handle: s.Handle, URL: s.URL, Expires: s.Expires}, err
}

func (c *connections) Finish(ctx context.Context, handle, user string, a api.ConnectAnswer) (string, error) {
	source, err := c.Connector.Finish(ctx, handle, user, oauth2.Answer{Code: a.Code, State: a.State, Issuer: a.Issuer, Error: a.Error, Description: a.Description})
	if err == nil {
		err = c.record(ctx, "connect", source, user)
	}
	return source, err
}

func (c *connections) Disconnect(ctx context.Context, source, user string, force bool) (bool, error) {
	revoked, err := c.Connector.Disconnect(ctx, source, user, force)
	if err == nil {
		err = c.record(ctx, "disconnect", source, user)
	}
	return revoked, err
}

// left disconnects somebody who has left from everything, whether or not the
// other side can be told.
func (c *connections) left(ctx context.Context, user string) error {
	cs, err := c.Connector.List(ctx, user)
	for _, o := range cs {
		_, derr := c.Disconnect(ctx, o.Source, user, true)
		err = errors.Join(err, derr)
	}
	return err
}

func (c *connections) List(ctx context.Context, user string) ([]api.Connection, error) {
	cs, err := c.Connector.List(ctx, user)
	out := make([]api.Connection, len(cs))
	for i, o := range cs {
		out[i] = api.Connection(o)
	}
	return out, err
}
