package main

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
)

// proof is how an agent shows a gateway who it is. Nothing secret of it lies
// in the environment, in arguments or on disk, but the key file.
type proof interface {
	// ActorToken is fresh evidence for an audience: the gateway's issuer
	// identifier. "" means that the connection of the binding is the evidence.
	ActorToken(ctx context.Context, audience string) (string, error)
	// Binding is what a token is to be bound to now.
	Binding() (binding, error)
	io.Closer
}

// binding is a key that signs a DPoP proof of each request, or the certificate
// of the connections that client makes.
type binding struct {
	key         *identity.AgentKey // nil: the certificate
	certificate *x509.Certificate  // nil: the key
	client      *http.Client
}

// proofFlags choose the proof of an agent.
type proofFlags struct {
	keyFile, workloadAPI, spiffeID, gatewayID, tokenFile, oidcIssuer, oidcClient, oidcAudience string

	mtls bool
}

func (p *proofFlags) add(f *pflag.FlagSet) {
	f.StringVar(&p.keyFile, "key", "", "the agent's key file (default ~/.config/sallyport/DOMAIN/AGENT.jwk)")
	f.StringVar(&p.workloadAPI, "workload-api", "", "prove the agent with SPIFFE: the Workload API's address (default $SPIFFE_ENDPOINT_SOCKET where there is no key file)")
	f.BoolVar(&p.mtls, "mtls", false, "with SPIFFE: prove the agent by its X.509-SVID on every connection, instead of a JWT-SVID")
	f.StringVar(&p.spiffeID, "spiffe-id", "", "with SPIFFE: which of the process's identities to use (default: the first)")
	f.StringVar(&p.gatewayID, "gateway-id", "", "with --mtls: the gateway's SPIFFE ID (default spiffe://DOMAIN/gateway)")
	f.StringVar(&p.tokenFile, "token-file", "", "prove the agent with an OIDC token that the platform keeps fresh in this file (Kubernetes, CI)")
	f.StringVar(&p.oidcIssuer, "oidc-issuer", "", "prove the agent with a token that this OIDC provider gives for the agent's key file")
	f.StringVar(&p.oidcClient, "oidc-client-id", "", "the agent's client id at the OIDC provider")
	f.StringVar(&p.oidcAudience, "oidc-audience", "", "the audience to ask the OIDC provider for (default: the gateway's issuer)")
}

// open makes the proof of an agent of a trust domain. Without a flag it is the
// agent's key file if there is one, or else the Workload API that
// SPIFFE_ENDPOINT_SOCKET names. client is for what is proved by a key.
func (p *proofFlags) open(ctx context.Context, domain, agent string, client *http.Client) (proof, error) {
	ways := 0
	for _, set := range []bool{p.workloadAPI != "", p.tokenFile != "", p.oidcIssuer != "" || p.oidcClient != ""} {
		if set {
			ways++
		}
	}
	keyFile := p.keyFile
	if keyFile == "" {
		keyFile = defaultKeyFile(domain, agent)
	}
	_, missing := os.Lstat(keyFile)
	switch {
	case ways > 1 || ways == 1 && p.keyFile != "" && p.oidcIssuer == "":
		return nil, usageError{errors.New("an agent is proved in one way: by --key, --workload-api, --token-file, or --oidc-issuer with the key file")}
	case p.oidcIssuer == "" != (p.oidcClient == ""):
		return nil, usageError{errors.New("--oidc-issuer and --oidc-client-id come together")}
	case p.tokenFile != "":
		return newTokenFileProof(p.tokenFile, domain, agent, client)
	case p.oidcIssuer != "":
		return newOIDCProof(p, keyFile, client)
	case p.workloadAPI != "":
		return p.openSPIFFE(ctx, p.workloadAPI, domain, agent, client)
	case p.keyFile == "" && errors.Is(missing, fs.ErrNotExist) || p.mtls:
		if addr, ok := workloadapi.GetDefaultAddress(); ok {
			return p.openSPIFFE(ctx, addr, domain, agent, client)
		}
	}
	if p.mtls || p.spiffeID != "" {
		return nil, usageError{errors.New("--mtls and --spiffe-id need a Workload API: --workload-api or SPIFFE_ENDPOINT_SOCKET")}
	}
	key, err := loadKey(keyFile, agent)
	if err != nil {
		return nil, err
	}
	return keyProof{key, client}, nil
}

func loadKey(path, agent string) (*identity.AgentKey, error) {
	key, err := identity.LoadAgentKey(path)
	var missing *sallyport.Error
	if errors.As(err, &missing) && errors.Is(err, fs.ErrNotExist) {
		missing.Fix = "sallyport agent add " + agent + " --owner USER --purpose TEXT, or name the file with --key"
	}
	return key, err
}

// keyProof is the agent's registered key: it signs an assertion (RFC 7523),
// and the proofs of the token that it gets.
type keyProof struct {
	key    *identity.AgentKey
	client *http.Client
}

// ActorToken implements proof.
func (p keyProof) ActorToken(_ context.Context, audience string) (string, error) {
	return identity.Assert(p.key, audience, time.Now())
}

// Binding implements proof.
func (p keyProof) Binding() (binding, error) { return binding{key: p.key, client: p.client}, nil }

// Close implements proof.
func (keyProof) Close() error { return nil }

// ephemeral is a key of this process alone, for a proof whose evidence has
// none that could be bound to.
func ephemeral(domain, agent string, client *http.Client) (binding, error) {
	key, err := identity.NewAgentKey(domain, agent)
	return binding{key: key, client: client}, err
}

// tokenFileProof is a token that the platform writes to a file and replaces
// before it expires: a projected token of a Kubernetes service account, or the
// token of a CI job.
type tokenFileProof struct {
	path  string
	bound binding
}

func newTokenFileProof(path, domain, agent string, client *http.Client) (proof, error) {
	b, err := ephemeral(domain, agent, client)
	if err != nil {
		return nil, err
	}
	p := tokenFileProof{path, b}
	_, err = p.read()
	return p, err
}

// ActorToken implements proof. The file is read at each use.
func (p tokenFileProof) ActorToken(context.Context, string) (string, error) { return p.read() }

func (p tokenFileProof) read() (string, error) {
	fail := func(text string, err error) (string, error) {
		return "", &sallyport.Error{Kind: sallyport.EUnavailable, Code: "token_file", Text: "the token file " + p.path + " " + text, Err: err}
	}
	// A projected token is a link into a directory that is swapped whole.
	f, err := os.OpenFile(p.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fail("cannot be opened", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return fail("is not a plain file", err)
	}
	b, err := io.ReadAll(io.LimitReader(f, identity.MaxTokenBytes+2))
	if err != nil {
		return fail("cannot be read", err)
	}
	token := strings.TrimSpace(string(b))
	if len(token) > identity.MaxTokenBytes || strings.Count(token, ".") != 2 || strings.ContainsAny(token, " \t\r\n") {
		return fail("holds no JWT", nil) // and what it holds is not shown
	}
	return token, nil
}

// Binding implements proof.
func (p tokenFileProof) Binding() (binding, error) { return p.bound, nil }

// Close implements proof.
func (tokenFileProof) Close() error { return nil }

// jwtSVIDProof is a JWT-SVID of the process, from a Workload API.
type jwtSVIDProof struct {
	api   *workloadapi.Client
	id    spiffeid.ID
	bound binding
}

// openSPIFFE proves an agent with what a Workload API gives this process.
func (p *proofFlags) openSPIFFE(ctx context.Context, addr, domain, agent string, client *http.Client) (proof, error) {
	var id spiffeid.ID
	if p.spiffeID != "" {
		var err error
		if id, err = spiffeid.FromString(p.spiffeID); err != nil {
			return nil, usageError{errors.New("--spiffe-id is not a SPIFFE ID such as spiffe://example.org/agent/helper")}
		}
	}
	if err := workloadapi.ValidateAddress(addr); err != nil {
		return nil, usageError{errors.New("the Workload API's address is not one such as unix:///run/spire/agent.sock")}
	}
	if p.mtls {
		name := p.gatewayID
		if name == "" {
			name = "spiffe://" + domain + "/gateway"
		}
		gateway, err := spiffeid.FromString(name)
		if err != nil {
			return nil, usageError{errors.New("--gateway-id is not a SPIFFE ID such as spiffe://example.org/gateway")}
		}
		return openX509Proof(ctx, addr, id, gateway)
	}
	b, err := ephemeral(domain, agent, client)
	if err != nil {
		return nil, err
	}
	api, err := workloadapi.New(ctx, workloadapi.WithAddr(addr))
	if err != nil {
		return nil, workloadError(err)
	}
	return jwtSVIDProof{api, id, b}, nil
}

func workloadError(err error) error {
	return &sallyport.Error{
		Kind: sallyport.EUnavailable, Code: "workload_api", Text: "the Workload API gives no identity to this process",
		Fix: "see that it runs, and that an entry is registered for this process", Err: err,
	}
}

// ActorToken implements proof.
func (p jwtSVIDProof) ActorToken(ctx context.Context, audience string) (string, error) {
	ctx, stop := context.WithTimeout(ctx, workloadTimeout)
	defer stop()
	s, err := p.api.FetchJWTSVID(ctx, jwtsvid.Params{Audience: audience, Subject: p.id})
	if err != nil {
		return "", workloadError(err)
	}
	return s.Marshal(), nil
}

// workloadTimeout bounds a request to a Workload API, and the wait for the
// first SVID.
const workloadTimeout = 30 * time.Second

// Binding implements proof.
func (p jwtSVIDProof) Binding() (binding, error) { return p.bound, nil }

// Close implements proof.
func (p jwtSVIDProof) Close() error { return p.api.Close() }
