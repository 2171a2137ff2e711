package main

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/identity"
)

// TLSConfig is the listener's certificate, in PEM files.
type TLSConfig struct {
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// IdentityConfig says whom the gateway believes, and who it is itself.
type IdentityConfig struct {
	SPIFFE SPIFFEConfig `yaml:"spiffe"`
	OIDC   []OIDCConfig `yaml:"oidc"`
	// KeyRotation is how often the embedded issuer makes a new signing key.
	KeyRotation duration `yaml:"key_rotation"`
	// DevClients lets client metadata documents be fetched from this machine,
	// for development; anywhere else that would be a way into the network.
	DevClients bool `yaml:"dev_clients"`
}

// SPIFFEConfig is the workload side.
type SPIFFEConfig struct {
	// WorkloadAPI is SPIRE's socket; without it the embedded issuer is used.
	WorkloadAPI string `yaml:"workload_api"`
	// Socket is where the embedded issuer serves the Workload API; default:
	// workload.sock beside the store. "off" serves none.
	Socket string `yaml:"socket"`
	// Listen is the address of the second listener, for clients with
	// X.509-SVIDs (mTLS).
	Listen string `yaml:"listen"`
	// SVIDTTL is how long the embedded issuer's X.509-SVIDs last.
	SVIDTTL   duration                    `yaml:"svid_ttl"`
	Federates map[string]FederationConfig `yaml:"federates"`
}

// FederationConfig is where another trust domain's bundle comes from. An empty
// one takes it from SPIRE, which federates itself.
type FederationConfig struct {
	Bundle string `yaml:"bundle"`    // a file
	URL    string `yaml:"url"`       // a bundle endpoint
	SPIFFE string `yaml:"spiffe_id"` // of the endpoint, for the https_spiffe profile
}

// OIDCConfig is one issuer of tokens.
type OIDCConfig struct {
	Issuer   string     `yaml:"issuer"`
	Name     string     `yaml:"name"` // on the sign-in page; default: the host
	Audience stringList `yaml:"audience"`
	// For says what its tokens are good for: login, workloads, id-jag, and
	// subject-tokens, with which agents show for whom they act.
	For        stringList `yaml:"for"`
	JWKS       string     `yaml:"jwks"`
	Algorithms []string   `yaml:"algorithms"`

	// The rest is for people.
	ClientID     string       `yaml:"client_id"`
	ClientSecret string       `yaml:"client_secret"` // a reference, as all root credentials
	ClientKey    string       `yaml:"client_key"`    // file of a private JWK, for private_key_jwt
	Scopes       []string     `yaml:"scopes"`
	User         string       `yaml:"user"` // the claim that is the user id; default email
	Domains      []string     `yaml:"domains"`
	Groups       *ClaimConfig `yaml:"groups"` // become Teams
	Roles        *ClaimConfig `yaml:"roles"`  // become Roles
	Session      duration     `yaml:"session"`
}

// ClaimConfig is a claim that lists groups: its name, or a mapping with the
// values that count.
type ClaimConfig struct {
	Claim string            `yaml:"claim"`
	Map   map[string]string `yaml:"map"`
}

// UnmarshalYAML reads a claim's name, or the mapping.
func (c *ClaimConfig) UnmarshalYAML(unmarshal func(any) error) error {
	if err := unmarshal(&c.Claim); err == nil {
		return nil
	}
	type plain ClaimConfig
	return unmarshal((*plain)(c))
}

// stringList is one text or several.
type stringList []string

// UnmarshalYAML reads one text, or a list.
func (l *stringList) UnmarshalYAML(unmarshal func(any) error) error {
	var one string
	if err := unmarshal(&one); err == nil {
		*l = stringList{one}
		return nil
	}
	return unmarshal((*[]string)(l))
}

const (
	defaultKeyRotation = 24 * time.Hour
)

var domainName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)

func (c *IdentityConfig) check(bad func(fix, format string, args ...any) error) error {
	s := c.SPIFFE
	if s.WorkloadAPI != "" && !strings.HasPrefix(s.WorkloadAPI, "unix://") {
		return bad("workload_api: unix:///run/spire/agent.sock", "identity.spiffe.workload_api %q is not the address of a unix socket", s.WorkloadAPI)
	}
	if s.Listen != "" {
		if _, _, err := net.SplitHostPort(s.Listen); err != nil {
			return bad("listen: 127.0.0.1:8485", "identity.spiffe.listen %q is not an address with a port", s.Listen)
		}
	}
	for i, o := range c.OIDC {
		where := fmt.Sprintf("identity.oidc[%d]", i)
		u, err := url.Parse(o.Issuer)
		if err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
			return bad("issuer: https://login.example.org", "%s: the issuer %q is not an https URL", where, o.Issuer)
		}
		if len(o.Audience) == 0 && o.ClientID == "" {
			return bad("audience: sallyport", "%s: say which audience its tokens must have", where)
		}
		for _, f := range o.For {
			if !slices.Contains([]string{"login", "workloads", "id-jag", "subject-tokens"}, f) {
				return bad("it is one of login, workloads, id-jag, subject-tokens", "%s: for %q is not known", where, f)
			}
		}
		for _, d := range o.Domains {
			if !domainName.MatchString(d) {
				return bad("domains: [example.org]", "%s: %q is not a domain", where, d)
			}
		}
		if o.login() && o.ClientID == "" {
			return bad("client_id: sallyport", "%s: people sign in as a client of the provider, which needs a client_id", where)
		}
		if scheme, _, ok := strings.Cut(o.ClientSecret, ":"); o.ClientSecret != "" && (!ok || !slices.Contains([]string{"env", "file", "systemd", "vault"}, scheme)) {
			return bad("client_secret: env:NAME, file:PATH, systemd:NAME or vault:PATH#FIELD", "%s: a secret does not stand in the config", where)
		}
		if d := time.Duration(o.Session); d > identity.MaxSessionTTL {
			return bad("session: 12h", "%s: a sign-in counts for at most %s", where, identity.MaxSessionTTL)
		}
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// login reports whether people sign in with this issuer. It is what an issuer
// is for unless the config says otherwise.
func (o *OIDCConfig) login() bool { return len(o.For) == 0 || slices.Contains(o.For, "login") }

func (o *OIDCConfig) provider() identity.Provider {
	p := identity.Provider{
		Issuer: o.Issuer, JWKSURL: o.JWKS, Audience: o.Audience, Algs: o.Algorithms,
		Login: o.login(), Workloads: slices.Contains(o.For, "workloads"), IDJAG: slices.Contains(o.For, "id-jag"),
		SubjectTokens: slices.Contains(o.For, "subject-tokens"),
		UserClaim:     o.User, Domains: o.Domains, SessionTTL: time.Duration(o.Session),
	}
	if o.ClientID != "" {
		// The first is that of the ID tokens.
		p.Audience = append([]string{o.ClientID}, slices.DeleteFunc(slices.Clone(o.Audience), func(a string) bool { return a == o.ClientID })...)
	}
	if o.Groups != nil {
		p.Groups = append(p.Groups, identity.GroupClaim{Claim: o.Groups.Claim, Prefix: "Team::", Map: o.Groups.Map})
	}
	if o.Roles != nil {
		p.Groups = append(p.Groups, identity.GroupClaim{Claim: o.Roles.Claim, Prefix: "Role::", Map: o.Roles.Map})
	}
	return p
}

func (c *Config) workloadSocket() string {
	switch s := c.Identity.SPIFFE.Socket; s {
	case "off":
		return ""
	case "":
		return filepath.Join(filepath.Dir(c.storePath()), "workload.sock")
	default:
		return c.resolve(s)
	}
}
