package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/approval"
	"github.com/sallyport-dev/sallyport/catalog"
)

// Config is sallyport.yaml. Paths are relative to the file's directory.
type Config struct {
	// Listen is the address of the MCP endpoint; port 0 takes a free one.
	Listen string `yaml:"listen"`
	// Public is the URL under which clients reach it, if not http://Listen.
	Public      string `yaml:"public"`
	TrustDomain string `yaml:"trust_domain"`
	// Store is "sqlite:" and a path.
	Store string `yaml:"store"`
	// Socket is the admin socket; default: beside the store.
	Socket string `yaml:"socket"`
	// SocketGroup is the group of this machine that may open the socket.
	SocketGroup string `yaml:"socket_group"`
	// Hold is how long a call waits for an approval before the client is told
	// to come back.
	Hold      duration `yaml:"hold"`
	Policies  string   `yaml:"policies"`
	Templates string   `yaml:"templates"`
	Catalog   string   `yaml:"catalog"`
	// NoBasePolicies leaves out the rules that ship with the binary.
	NoBasePolicies bool `yaml:"no_base_policies"`

	// TLS serves the listener with a certificate; without it, TLS ends in
	// front of the gateway or the listener is on the loopback interface.
	TLS      TLSConfig      `yaml:"tls"`
	Identity IdentityConfig `yaml:"identity"`

	Servers map[string]ServerConfig `yaml:"servers"`
	// Leases are the kinds of credentials that are minted for tasks.
	Leases    map[string]LeaseConfig `yaml:"leases"`
	Approvers map[string]GroupConfig `yaml:"approvers"`
	Users     map[string]UserConfig  `yaml:"users"`
	// Accounts maps accounts of this machine to user ids.
	Accounts map[string]string `yaml:"accounts"`
	// Operators may administer: accounts, groups of this machine after a %,
	// user ids, and groups of users (Role::admin).
	Operators    []string `yaml:"operators"`
	AllowedHosts []string `yaml:"allowed_hosts"`
	// Proxies are the addresses and networks of the reverse proxies in front,
	// whose X-Forwarded-For is believed; without them all who come through one
	// share its rates.
	Proxies []string `yaml:"proxies"`
	// AllowedOrigins are web origins whose pages may call.
	AllowedOrigins []string `yaml:"allowed_origins"`
	// Vault is where references vault:PATH#FIELD lead.
	Vault *VaultConfig `yaml:"vault"`
	// Custody is the key of what is sealed at rest.
	Custody string `yaml:"custody"`

	dir  string // of the file
	path string
}

// ServerConfig is one MCP server.
type ServerConfig struct {
	URL     string            `yaml:"url"`
	Command []string          `yaml:"command"`
	Env     map[string]string `yaml:"env"`
	Dir     string            `yaml:"dir"`
	Mode    sallyport.Mode    `yaml:"mode"`
	// Catalog names the catalog file; default: the server's name.
	Catalog string `yaml:"catalog"`
	// Pins is first-use (the first definition seen is accepted) or reviewed
	// (only what a person accepted).
	Pins string `yaml:"pins"`
	// ClientFeatures are what the server may ask of the client.
	ClientFeatures []string `yaml:"client_features"`
	Timeout        duration `yaml:"timeout"`

	// Lease names the entry under leases that the server is called with, and
	// Inject says how; default: as a bearer token.
	Lease  string        `yaml:"lease"`
	Inject *InjectConfig `yaml:"inject"`
	// CA is a PEM file of the authorities that the url's certificate may be
	// of; default: the system's.
	CA string `yaml:"ca"`

	// SQL makes the server the gateway's own, for a database of this kind
	// (postgres), in place of a url or a command.
	SQL      string   `yaml:"sql"`
	Schemas  []string `yaml:"schemas"`   // that describe tells of; default: public
	Tables   []string `yaml:"tables"`    // only these, where there are any
	MaxRows  int      `yaml:"max_rows"`  // of one result
	MaxBytes int      `yaml:"max_bytes"` // of one result's values
}

// GroupConfig is a group of approvers: a list of user ids, or a mapping.
type GroupConfig struct {
	Members []string `yaml:"members"`
	Self    bool     `yaml:"self"`
}

// UserConfig is a known user.
type UserConfig struct {
	Teams []string `yaml:"teams"`
	Roles []string `yaml:"roles"`
}

// duration is a time.Duration in its text form.
type duration time.Duration

func (d *duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration such as 30s or 15m", b)
	}
	*d = duration(v)
	return nil
}

// UnmarshalYAML reads a list of members, or the mapping with members and self.
func (g *GroupConfig) UnmarshalYAML(unmarshal func(any) error) error {
	var members []string
	if err := unmarshal(&members); err == nil {
		g.Members = members
		return nil
	}
	type plain GroupConfig
	return unmarshal((*plain)(g))
}

const defaultConfig = "sallyport.yaml"

func loadConfig(path string) (*Config, error) {
	if path == "" {
		path = defaultConfig
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "no_config", Text: "there is no config file " + path, Fix: "make one: sallyport init, or name it with -c"}
	}
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	c := &Config{
		Listen: "127.0.0.1:8484", Store: "sqlite:var/sallyport.db", Hold: duration(25 * time.Second),
		Policies: "policies", Templates: "templates", Catalog: "catalog",
		dir: filepath.Dir(abs), path: path,
	}
	if err := yaml.UnmarshalWithOptions(text, c, yaml.Strict()); err != nil {
		return nil, configError(path, string(text), err)
	}
	return c, c.check()
}

// configError turns an error of the YAML reader into file:line:column, the
// line with the offending part underlined, and the nearest key that exists.
func configError(path, text string, err error) error {
	e := &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: path + ": " + err.Error()}
	var ye yaml.Error
	var t *token.Token
	msg := err.Error()
	if errors.As(err, &ye) {
		t, msg = ye.GetToken(), ye.GetMessage()
	} else {
		t = quoted(text, msg)
	}
	if t == nil {
		return e
	}
	line, col := t.Position.Line, t.Position.Column
	if m := regexp.MustCompile(`unknown field "(.*)"`).FindStringSubmatch(msg); m != nil {
		keys := configKeys(reflect.TypeFor[Config](), nil)
		msg = fmt.Sprintf("unknown key %q", m[1])
		if places := configPlaces(reflect.TypeFor[Config](), "", m[1]); len(places) > 0 {
			e.Fix = m[1] + " belongs elsewhere: " + strings.Join(places, ", ")
		} else if near := sallyport.Nearest(m[1], siblings(text, t)); near != "" {
			e.Fix = "did you mean " + near + "?"
		} else if near := sallyport.Nearest(m[1], keys); near != "" {
			e.Fix = "did you mean " + near + "?"
		} else {
			e.Fix = "the keys are described in docs/config.md"
		}
	}
	if m := regexp.MustCompile(`^cannot unmarshal (.*) into Go .* of type (.*)$`).FindStringSubmatch(msg); m != nil {
		msg = inYAML(m[1]) + " stands here, and " + inYAML(m[2]) + " is wanted"
	}
	e.Text = fmt.Sprintf("%s:%d:%d: %s", path, line, col, msg)
	if lines := strings.Split(text, "\n"); line >= 1 && line <= len(lines) {
		value := strings.TrimSpace(t.Value)
		said := ""
		if value != "" && strings.Contains(msg, value) {
			said = value // what the error says anyway
		}
		e.Text += "\n" + sallyport.Underline(veiled(lines[line-1], said), col, utf8.RuneCountInString(value))
	}
	return e
}

// inYAML names a type of Go as who writes the file knows it.
func inYAML(goType string) string {
	switch {
	case goType == "string":
		return "a text"
	case goType == "bool":
		return "true or false"
	case strings.HasPrefix(goType, "map["):
		return "a mapping"
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	case strings.HasPrefix(goType, "int") && goType != "interface {}", strings.HasPrefix(goType, "uint"), strings.HasPrefix(goType, "float"):
		return "a number"
	}
	return "a value of another kind"
}

var word = regexp.MustCompile(`[^\s{}\[\],"']{8,}`)

// veiled hides the values of a line that are long enough for a secret: what an
// error writes ends in journals and tickets. Keys, and said, stay.
func veiled(line, said string) string {
	return word.ReplaceAllStringFunc(line, func(w string) string {
		if strings.HasSuffix(w, ":") || w == said {
			return w
		}
		return strings.Repeat("*", utf8.RuneCountInString(w))
	})
}

// quoted finds the only value of a file that an error quotes: the YAML reader
// does not say where the text stood that a type would not read.
func quoted(text, msg string) *token.Token {
	f, err := parser.ParseBytes([]byte(text), 0)
	if err != nil {
		return nil
	}
	q := quotedBy{msg: msg}
	for _, doc := range f.Docs {
		ast.Walk(&q, doc)
	}
	if len(q.found) != 1 {
		return nil
	}
	return q.found[0]
}

type quotedBy struct {
	msg   string
	found []*token.Token
}

// Visit implements ast.Visitor.
func (q *quotedBy) Visit(n ast.Node) ast.Visitor {
	if s, ok := n.(ast.ScalarNode); ok {
		if t := s.GetToken(); t.Value != "" && strings.Contains(q.msg, strconv.Quote(t.Value)) {
			q.found = append(q.found, t)
		}
	}
	return q
}

// configKeys lists every key of the config, at any depth.
func configKeys(t reflect.Type, keys []string) []string {
	switch t.Kind() {
	case reflect.Map, reflect.Slice, reflect.Pointer:
		return configKeys(t.Elem(), keys)
	case reflect.Struct:
		for i := range t.NumField() {
			if tag := t.Field(i).Tag.Get("yaml"); tag != "" {
				keys = configKeys(t.Field(i).Type, append(keys, tag))
			}
		}
	}
	return keys
}

// siblings are the keys that may stand beside the one at t.
func siblings(text string, t *token.Token) []string {
	f, err := parser.ParseBytes([]byte(text), 0)
	if err != nil {
		return nil
	}
	k := keyAt{t: t}
	for _, doc := range f.Docs {
		ast.Walk(&k, doc)
	}
	of := reflect.TypeFor[Config]()
	path := strings.Split(strings.TrimPrefix(k.path, "$."), ".")
	for _, name := range path[:len(path)-1] {
		name, _, _ = strings.Cut(name, "[") // oidc[0]
		has := members(of)
		next, ok := has[name]
		if !ok {
			next, ok = has[""]
		}
		if !ok {
			return nil
		}
		of = next
	}
	return sortedKeys(members(of))
}

// members are the keys of a mapping of this type, and of what type each is; a
// map has one, "", for any.
func members(t reflect.Type) map[string]reflect.Type {
	all := map[string]reflect.Type{}
	switch t.Kind() {
	case reflect.Slice, reflect.Pointer:
		return members(t.Elem())
	case reflect.Map:
		all[""] = t.Elem()
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			name, inline := strings.CutSuffix(f.Tag.Get("yaml"), ",inline")
			if inline {
				maps.Copy(all, members(f.Type))
			} else if name != "" {
				all[name] = f.Type
			}
		}
	}
	return all
}

type keyAt struct {
	t    *token.Token
	path string
}

// Visit implements ast.Visitor.
func (k *keyAt) Visit(n ast.Node) ast.Visitor {
	if m, ok := n.(*ast.MappingValueNode); ok && m.Key.GetToken().Position.Offset == k.t.Position.Offset {
		k.path = m.Key.GetPath()
	}
	return k
}

// configPlaces lists where in the config a key may stand.
func configPlaces(t reflect.Type, at, key string) []string {
	var places []string
	has := members(t)
	for _, name := range sortedKeys(has) {
		here := at + name
		if name == "" {
			here = at + "NAME"
		}
		if name == key {
			places = append(places, here)
		}
		places = append(places, configPlaces(has[name], here+".", key)...)
	}
	return places
}

var serverName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)

func (c *Config) check() error {
	bad := func(fix, format string, args ...any) error {
		return &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: c.path + ": " + fmt.Sprintf(format, args...), Fix: fix}
	}
	if c.TrustDomain == "" {
		return bad("trust_domain: example.org", "trust_domain is missing")
	}
	if _, ok := strings.CutPrefix(c.Store, "sqlite:"); !ok {
		return bad("store: sqlite:var/sallyport.db", "store %q is not sqlite: and a path", c.Store)
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return bad("listen: 127.0.0.1:8484", "listen %q is not an address with a port", c.Listen)
	}
	if c.Public != "" {
		u, err := url.Parse(c.Public)
		if err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
			return bad("public: https://gate.example.com", "public %q is not https with a host and nothing after it", c.Public)
		}
	}
	for name, s := range c.Servers {
		switch {
		case !serverName.MatchString(name):
			return bad("use lower-case letters, digits and -", "the server name %q cannot be part of an address", name)
		case n(s.URL != "")+n(len(s.Command) > 0)+n(s.SQL != "") != 1:
			return bad("give one of url, command and sql", "server %s needs a url, a command or a database", name)
		case s.Pins != "" && s.Pins != "first-use" && s.Pins != "reviewed":
			return bad("pins: first-use or pins: reviewed", "server %s: pins %q is not known", name, s.Pins)
		}
		if s.URL != "" {
			if u, err := url.Parse(s.URL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
				return bad("url: https://host/mcp", "server %s: %q is not an http URL", name, s.URL)
			}
		}
		for _, f := range s.ClientFeatures {
			if !slices.Contains([]string{"sampling", "elicitation", "roots"}, f) {
				return bad("it is one of sampling, elicitation, roots", "server %s: client feature %q is not known", name, f)
			}
		}
	}
	if _, s, ok := prefixes(c.Proxies); !ok {
		return bad("proxies: [10.0.0.0/8]", "proxies: %q is neither an address nor a network", s)
	}
	for _, o := range c.Operators {
		if word, name, group := strings.Cut(o, "::"); group && (word != "Team" && word != "Role" || name == "") {
			return bad("Role::NAME or Team::NAME", "the operators %q are no group of users", o)
		}
	}
	if err := c.checkLeases(bad); err != nil {
		return err
	}
	if err := c.Identity.check(bad); err != nil {
		return err
	}
	if (c.TLS.Certificate == "") != (c.TLS.Key == "") {
		return bad("give both, or neither", "tls needs a certificate and a key")
	}
	for name, g := range c.Approvers {
		if name == approval.SubjectGroup {
			return bad("choose another name", "the approver group %q always means the person whose agent acts", name)
		}
		if len(g.Members) == 0 {
			return bad("name its members, or remove it", "the approver group %s has no members", name)
		}
	}
	return nil
}

func n(b bool) int {
	if b {
		return 1
	}
	return 0
}

// resolve makes a path of the config absolute.
func (c *Config) resolve(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(c.dir, p)
}

// resolveIf is resolve, and "" for "".
func (c *Config) resolveIf(p string) string {
	if p == "" {
		return ""
	}
	return c.resolve(p)
}

func (c *Config) storePath() string { return c.resolve(strings.TrimPrefix(c.Store, "sqlite:")) }

func (c *Config) socketPath() string {
	if c.Socket != "" {
		return c.resolve(c.Socket)
	}
	return filepath.Join(filepath.Dir(c.storePath()), "sallyport.sock")
}

func (c *Config) serverNames() []string {
	names := make([]string, 0, len(c.Servers))
	for n := range c.Servers {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func (c *Config) catalogServers() []catalog.Server {
	var out []catalog.Server
	for _, n := range c.serverNames() {
		s := c.Servers[n]
		cs := catalog.Server{Name: n, Mode: s.Mode, Catalog: s.Catalog}
		if s.SQL != "" && s.Catalog == "" {
			cs.Catalog = "sql"
		}
		if s.Pins == "reviewed" {
			cs.Pins = catalog.Reviewed
		}
		out = append(out, cs)
	}
	return out
}

func (c *Config) groups() []approval.Group {
	var out []approval.Group
	for n, g := range c.Approvers {
		out = append(out, approval.Group{Name: n, Members: g.Members, Self: g.Self})
	}
	return out
}

func (c *Config) users() map[string][]string {
	out := map[string][]string{}
	for id, u := range c.Users {
		groups := []string{}
		for _, t := range u.Teams {
			groups = append(groups, "Team::"+t)
		}
		for _, r := range u.Roles {
			groups = append(groups, "Role::"+r)
		}
		out[id] = groups
	}
	return out
}
