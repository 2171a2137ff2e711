package main

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/flow"
)

// maxAudited bounds a file that is looked into, in bytes.
const maxAudited = 16 << 20

func secretsAudit(e *env) *cobra.Command {
	older := age(90 * 24 * time.Hour)
	files, knownPath := false, ""
	c := &cobra.Command{
		Use: "audit", Short: "Find standing secrets in the config, in MCP hosts' files and in running servers", Args: cobra.NoArgs,
		Long: `Audit reads the config, the files in which MCP hosts of this account keep their
servers, and the environment of this account's MCP servers that run. It names what
is a secret that stands there, and never its value. The exit code is 5 if there is
anything that no entry of --known answers for.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			home, err := os.UserHomeDir()
			if err != nil {
				return err
			}
			a, err := newAudit(time.Now(), time.Duration(older))
			if err != nil {
				return err
			}
			var list []known
			if knownPath != "" {
				if list, err = readKnown(knownPath, a.now); err != nil {
					return err
				}
			}
			cfg, err := loadConfig(e.config)
			switch {
			case err == nil:
				a.config(cfg)
			case e.config == "" && sallyport.CodeOf(err) == "no_config":
				a.Skipped = append(a.Skipped, defaultConfig+": there is none here")
			default:
				return err
			}
			dirs := []string{"."}
			if cfg != nil && !sameDir(cfg.dir, ".") {
				dirs = append(dirs, cfg.dir)
			}
			a.hosts(home, dirs)
			if !files {
				a.processes("/proc")
			}
			a.shared()
			a.accept(list)
			if err := a.print(e); err != nil {
				return err
			}
			if len(a.Findings) > 0 {
				return exitCode(exitBroken)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&files, "files", false, "look at files only, not at processes")
	c.Flags().StringVar(&knownPath, "known", "", "a file with findings that somebody answers for, each until a day")
	c.Flags().Var(&older, "older", "how old a key may get before it is a finding: 90d, 36h")
	return c
}

func sameDir(a, b string) bool {
	x, err := os.Stat(a)
	y, err2 := os.Stat(b)
	return err == nil && err2 == nil && os.SameFile(x, y)
}

// finding is a secret that stands somewhere. No field holds any part of its
// value.
type finding struct {
	Where string `json:"where"`
	What  string `json:"what"` // its name there
	Why   string `json:"why"`
	Fix   string `json:"fix"`
}

// audit looks for standing secrets.
type audit struct {
	Findings  []finding  `json:"findings"`
	Known     []accepted `json:"known,omitempty"`
	Unmatched []known    `json:"unmatched,omitempty"` // of --known
	Looked    []string   `json:"looked_at"`
	Skipped   []string   `json:"skipped,omitempty"`

	had   map[finding]bool // Findings: a file of others' may make many
	now   time.Time
	older time.Duration
	known *flow.Vault // the forms of keys that their issuers gave them
	// key makes fingerprints of values that mean nothing outside this run.
	key []byte
	// places of a value, by its fingerprint: whose it is, and where.
	places map[[sha256.Size]byte][]place
	// programs are the servers that were found in files, to know their
	// processes by.
	programs []program
}

type place struct{ owner, where, what string }

// program is a server that is started: its name and its command line.
type program struct {
	owner string
	argv  []string
}

func newAudit(now time.Time, older time.Duration) (*audit, error) {
	a := &audit{Findings: []finding{}, had: map[finding]bool{}, Looked: []string{}, now: now, older: older, known: flow.NewVault(""), key: make([]byte, 32), places: map[[sha256.Size]byte][]place{}}
	_, err := rand.Read(a.key)
	return a, err
}

func (a *audit) add(where, what, why, fix string) {
	f := finding{shown(where), shown(what), shown(why), shown(fix)}
	if !a.had[f] {
		a.had[f] = true
		a.Findings = append(a.Findings, f)
	}
}

// shown makes a name out of a file fit for a terminal.
func shown(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "..."
	}
	return s
}

func (a *audit) print(e *env) error {
	if e.json {
		return e.printJSON(a)
	}
	for _, s := range a.Skipped {
		fmt.Fprintln(e.stderr, "not looked at:", s)
	}
	for _, k := range a.Unmatched {
		fmt.Fprintf(e.stderr, "nothing is like %s %s any more: take it out of the known ones\n", shown(k.Where), shown(k.What))
	}
	for _, k := range a.Known {
		fmt.Fprintf(e.stdout, "known until %s: %s, %s: %s\n", k.Until, k.Where, k.What, k.For)
	}
	if len(a.Findings) == 0 {
		fmt.Fprintf(e.stdout, "no %sstanding secret was found in %s\n", map[bool]string{true: "other "}[len(a.Known) > 0], count(len(a.Looked), "place"))
		return nil
	}
	var rows [][]string
	for _, f := range a.Findings {
		rows = append(rows, []string{f.Where, f.What, f.Why, f.Fix})
	}
	e.table("WHERE WHAT WHY FIX", rows)
	return nil
}

// seen notes a secret's value, so that another place with the same is found.
func (a *audit) seen(p place, value string) {
	if len(value) < 8 {
		return
	}
	m := hmac.New(sha256.New, a.key)
	m.Write([]byte(value))
	var sum [sha256.Size]byte
	m.Sum(sum[:0])
	if !slices.Contains(a.places[sum], p) {
		a.places[sum] = append(a.places[sum], p)
	}
}

// shared reports values that more than one server has.
func (a *audit) shared() {
	var groups [][]place
	for _, ps := range a.places {
		var owners []string
		for _, p := range ps {
			if !slices.Contains(owners, p.owner) {
				owners = append(owners, p.owner)
			}
		}
		if len(owners) < 2 {
			continue
		}
		slices.SortFunc(ps, func(x, y place) int {
			return cmp.Or(cmp.Compare(x.where, y.where), cmp.Compare(x.what, y.what), cmp.Compare(x.owner, y.owner))
		})
		groups = append(groups, ps)
	}
	slices.SortFunc(groups, func(x, y []place) int { return cmp.Compare(x[0].where+x[0].what, y[0].where+y[0].what) })
	for _, ps := range groups {
		var wheres, whats []string
		for _, p := range ps {
			wheres = append(wheres, p.where)
			whats = append(whats, p.what)
		}
		a.add(strings.Join(slices.Compact(wheres), ", "), strings.Join(slices.Compact(slices.Sorted(slices.Values(whats))), ", "),
			whyShared, "an account for each, minted by a lease")
	}
}

// Names that hold secrets, in words: API_KEY, apiKey and Api-Key are the same.
var (
	secretWord = regexp.MustCompile(`(?i)(^|[^a-z])(key|apikey|pat|pass|pwd|auth|cookie|dsn)($|[^a-z])`)
	secretPart = regexp.MustCompile(`(?i)token|secret|passw|passphrase|credential|api_?-?key|access_?-?key|authorization|database_?url`)
	camel      = regexp.MustCompile(`([a-z0-9])([A-Z])`)
	noSecret   = regexp.MustCompile(`(?i)(_|-|^)(file|path|dir|name|type|mode|method|id|ttl|endpoint|issuer|limit|count|max|prefix|suffix|version|algorithm)$|(sort|primary|partition|foreign|public|publishable)[_-]?key$|max_?tokens`)
)

// namesSecret reports whether what has this name is one.
func namesSecret(name string) bool {
	name = camel.ReplaceAllString(name, "${1}_$2")
	return (secretWord.MatchString(name) || secretPart.MatchString(name)) && !noSecret.MatchString(name)
}

// What names where a secret is: ${X}, ${X:-}, but not ${X:-default}; $X, %X%,
// {x}; and the reference schemes of password managers and of the gateway.
var (
	naming       = regexp.MustCompile(`\$\{[A-Za-z_][^}:]*(:[^}-][^}]*|:-)?\}|\$(env:)?[A-Z_][A-Z0-9_]*\b|%[A-Z_][A-Z0-9_]*%|\{[A-Za-z_][A-Za-z_.:]*\}`)
	elsewhere    = regexp.MustCompile(`^(env|file|systemd|vault|op|keychain|secret):`)
	variableName = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)
)

// example is what stands in instructions where the reader's own goes.
var example = regexp.MustCompile(`(?i)^(<[a-z _-]+>|your[_-][a-z_-]+)$`)

// reference reports whether a value only names where the secret is, with no
// more beside it than a user's name.
func reference(value string) bool {
	rest := naming.ReplaceAllString(value, "")
	return elsewhere.MatchString(value) || rest != value && len(rest) < 8
}

// dull are values that are no secrets, whatever their name.
func dull(value string) bool {
	v := strings.TrimSpace(value)
	if _, err := strconv.ParseBool(v); err == nil || len(v) < 4 {
		return true
	}
	if n, err := strconv.ParseInt(v, 10, 64); err == nil && n < 1_000_000 {
		return true
	}
	if strings.HasPrefix(v, "/") || strings.HasPrefix(v, "~/") || strings.HasPrefix(v, "./") {
		if strings.HasSuffix(v, ".pem") || strings.HasSuffix(v, ".key") || strings.HasSuffix(v, ".json") {
			return true
		}
		_, err := os.Stat(v)
		return err == nil
	}
	if example.MatchString(v) {
		return true
	}
	return slices.Contains([]string{"none", "null", "oauth", "bearer", "basic", "disabled", "enabled"}, strings.ToLower(v))
}

// judge says why a value of a name is a secret; "" if it is none. It returns
// the secret itself, to find it elsewhere.
func (a *audit) judge(name, value string) (why, secret string) {
	v := strings.TrimSpace(value)
	if scheme, rest, ok := strings.Cut(v, " "); ok && slices.Contains([]string{"bearer", "basic", "token"}, strings.ToLower(scheme)) {
		v = strings.TrimSpace(rest)
	}
	if v == "" {
		return "", ""
	}
	if u, err := url.Parse(v); err == nil && u.Scheme != "" && u.Host != "" {
		if p, ok := u.User.Password(); ok && p != "" && !reference(p) {
			return "a password in a URL", p
		}
		for key, vs := range u.Query() {
			for _, q := range vs {
				if namesSecret(key) && !dull(q) && !reference(q) {
					return "a secret in a URL's query", q
				}
			}
		}
		if n := u.User.Username(); len(n) >= 20 && !reference(n) {
			return "what stands for a user in a URL is as long as a secret", n
		}
		for _, run := range letters.FindAllString(u.Path, -1) {
			if mixed(run) {
				return "a part of a URL's path is as random as a secret", run
			}
		}
		if kinds := a.kinds(v); len(kinds) == 0 {
			return "", "" // an address
		}
	}
	if strings.HasPrefix(v, "{") || strings.HasPrefix(v, "[") {
		if why, secret := a.within(v); why != "" {
			return why, secret
		}
	}
	if m := userinfo.FindStringSubmatch(v); m != nil && !reference(m[1]) {
		return "a password in a URL", m[1]
	}
	if m := dsnPassword.FindStringSubmatch(v); m != nil && !reference(m[1]) {
		return "a password in a connection string", m[1]
	}
	if kinds := a.kinds(v); len(kinds) > 0 {
		article := "a "
		if strings.ContainsAny(kinds[0][:1], "aeiou") {
			article = "an "
		}
		return "it has the form of " + article + strings.ReplaceAll(kinds[0], "-", " "), v
	}
	if namesSecret(name) && !dull(v) && !reference(v) {
		return "its name says that it is a secret", v
	}
	return "", ""
}

// within judges what JSON in a value says, such as headers in a variable.
func (a *audit) within(text string) (why, secret string) {
	var v any
	if json.Unmarshal([]byte(text), &v) != nil {
		return "", ""
	}
	var walk func(name string, v any)
	walk = func(name string, v any) {
		switch v := v.(type) {
		case string:
			if why == "" {
				why, secret = a.judge(name, v)
			}
		case []any:
			for _, x := range v {
				walk(name, x)
			}
		case map[string]any:
			for _, k := range sortedKeys(v) {
				walk(k, v[k])
			}
		}
	}
	walk("", v)
	return why, secret
}

// letters are long enough for a key, if they are mixed as only chance does it.
var letters = regexp.MustCompile(`[A-Za-z0-9]{20,}`)

func mixed(s string) bool {
	const lower, upper, digits = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
	return strings.ContainsAny(s, lower) && strings.ContainsAny(s, upper) && strings.ContainsAny(s, digits)
}

var (
	dsnPassword = regexp.MustCompile(`(?i)(?:^|[\s;?&])(?:password|pwd)=([^\s;&]{3,})`)
	// userinfo is for URLs of several hosts, and those that are out of order.
	userinfo = regexp.MustCompile(`://[^/\s:@]*:([^@\s]+)@`)
)

func (a *audit) kinds(value string) []string {
	return slices.DeleteFunc(a.known.Redactor().Find([]byte(value)), func(k string) bool { return strings.HasPrefix(k, flow.Begun) })
}

// value looks at one value of a server.
func (a *audit) value(owner, where, name, value, why, fix string) {
	if found, secret := a.judge(name, value); found != "" {
		if why != "" {
			found += "; " + why
		}
		a.add(where, name, found, fix)
		a.seen(place{owner, where, name}, secret)
	}
}

// args looks at a command line.
func (a *audit) args(owner, where string, args []string, fix string) {
	const why = "everybody on this machine sees it in the list of processes"
	for i, arg := range args {
		what := "argument " + strconv.Itoa(i)
		if strings.ContainsAny(arg, " ;") { // a line for a shell
			for _, m := range assigned.FindAllStringSubmatch(arg, -1) {
				if found, secret := a.judge(m[1], strings.Trim(m[2], `"'`)); found != "" {
					a.add(where, what+" ("+m[1]+")", found+"; "+why, fix)
					a.seen(place{owner, where, what}, secret)
				}
			}
		}
		for _, c := range spelt(args, i) {
			found, secret := a.judge(strings.TrimLeft(c.name, "-"), c.value)
			if found == "" {
				continue
			}
			if c.name != "" {
				what += " (" + c.name + ")"
			}
			a.add(where, what, found+"; "+why, fix)
			a.seen(place{owner, where, what}, secret)
			break
		}
	}
}

// spelt are the ways to read an argument as a name and a value: after the flag
// before it, as name=value, also of --env=, as Name:value, and by itself.
func spelt(args []string, i int) []variable {
	var all []variable
	arg := args[i]
	if i > 0 && argName.MatchString(args[i-1]) && strings.HasPrefix(args[i-1], "-") && !strings.HasPrefix(arg, "-") {
		all = append(all, variable{args[i-1], arg})
	}
	value := arg
	for {
		n, v, ok := strings.Cut(value, "=")
		if !ok || !argName.MatchString(n) {
			break
		}
		all = append(all, variable{n, v})
		if value = v; !carries.MatchString(n) {
			break
		}
	}
	if n, v, ok := strings.Cut(value, ":"); ok && headerName.MatchString(n) && !strings.HasPrefix(v, "//") {
		all = append(all, variable{n, v}) // --header Name:value
	}
	return append(all, variable{"", arg})
}

type variable struct{ name, value string }

var (
	argName    = regexp.MustCompile(`^-{0,2}[A-Za-z][A-Za-z0-9_.-]{0,63}$`)
	carries    = regexp.MustCompile(`^-{1,2}(e|env|header|H)$`) // its value is a name and a value
	assigned   = regexp.MustCompile(`(?:^|[\s;&])([A-Za-z_][A-Za-z0-9_]*)=("[^"]*"|'[^']*'|[^\s;&"']+)`)
	headerName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,63}$`)
)

const (
	fixServer = "a lease and inject: docs/secrets.md"
	fixHost   = "put the server behind the gateway, which holds a lease for it: docs/secrets.md"
	fixOld    = "make a new one where it was issued, and replace it here"
	whyShared = "one secret for several servers: nobody can tell them apart, and none can be cut off alone"
)

// config looks at the gateway's own config.
func (a *audit) config(c *Config) {
	a.Looked = append(a.Looked, c.path)
	for _, name := range c.serverNames() {
		s := c.Servers[name]
		where := c.path + ": servers." + name
		for _, k := range sortedKeys(s.Env) {
			a.value(name, where+".env", k, s.Env[k], "", fixServer)
		}
		a.value(name, where, "url", s.URL, "", fixServer)
		if len(s.Command) > 0 {
			a.args(name, where+".command", s.Command, fixServer)
			a.programs = append(a.programs, program{name, s.Command})
		}
		if s.Inject != nil {
			for _, k := range sortedKeys(s.Inject.Header) {
				a.value(name, where+".inject.header", k, s.Inject.Header[k], "", fixServer)
			}
			for _, k := range sortedKeys(s.Inject.Query) {
				a.value(name, where+".inject.query", k, s.Inject.Query[k], "", fixServer)
			}
			for _, k := range sortedKeys(s.Inject.Env) {
				a.value(name, where+".inject.env", k, s.Inject.Env[k], "", fixServer)
			}
		}
	}
	a.fields(c, "", reflect.ValueOf(*c))
	a.mode(c.path, c.path)
	for _, name := range sortedKeys(c.Leases) {
		if st := c.Leases[name].Static; st != nil {
			a.add(c.path+": leases."+name, "static "+strings.Join(st.keys(), ", "), "a standing key: it is good before and after every task, and nothing here can revoke it", "a kind of lease that mints, if its issuer has one")
		}
	}
	store, err := newRootSources(c).custody()
	if err != nil {
		a.Skipped = append(a.Skipped, "custody: its key cannot be read")
		return
	}
	dir := filepath.Join(filepath.Dir(c.storePath()), "custody")
	keys, err := store.List()
	if err != nil {
		a.add(dir, "keys in custody", "not all of them can be described", "sallyport secrets list")
	}
	for _, k := range keys {
		a.Looked = append(a.Looked, "custody: "+k.Name)
		due := c.keptKey(k).Due
		switch old := a.now.Sub(k.Rotated); {
		case !due.IsZero() && a.now.After(due):
			a.add("custody", k.Name, "it is "+round(old)+" old, and its lease says when it is replaced", "sallyport secrets rotate "+k.Name)
		case old > a.older:
			a.add("custody", k.Name, "it is "+round(old)+" old", "sallyport secrets rotate "+k.Name)
		}
		users := c.usersOf(k.Name)
		if len(users) == 0 {
			a.add("custody", k.Name, "nobody uses it", "sallyport secrets rm "+k.Name+", and make it worthless where it was issued")
		}
		servers := slices.DeleteFunc(users, func(u string) bool { return !strings.HasPrefix(u, "servers.") })
		if len(servers) > 1 {
			a.add(c.path+": "+strings.Join(servers, ", "), "key "+k.Name+" in custody", whyShared, "an account and a key for each")
		}
	}
}

// fields looks at every text of the config: secrets of a known form, passwords
// in URLs, root credentials that are no references, and the age of the files
// that references name.
func (a *audit) fields(c *Config, field string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			a.fields(c, field, v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			name, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			switch {
			case !f.IsExported() || name == "servers" && field == "":
			case opts == "inline":
				a.fields(c, field, v.Field(i))
			default:
				a.fields(c, strings.TrimPrefix(field+"."+name, "."), v.Field(i))
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			a.fields(c, field+"."+fmt.Sprint(it.Key().Interface()), it.Value())
		}
	case reflect.Slice:
		for i := range v.Len() {
			a.fields(c, fmt.Sprintf("%s[%d]", field, i), v.Index(i))
		}
	case reflect.String:
		a.field(c, field, v.String())
	}
}

func (a *audit) field(c *Config, field, text string) {
	name := field[strings.LastIndexByte(field, '.')+1:]
	if path, ok := strings.CutPrefix(text, "file:"); ok {
		path = c.resolve(path)
		info, err := os.Stat(path)
		if err != nil {
			return // the start says so
		}
		a.Looked = append(a.Looked, path)
		if old := a.now.Sub(info.ModTime()); old > a.older {
			a.add(c.path+": "+field, "file", "the file is "+round(old)+" old", fixOld)
		}
		return
	}
	if reference(text) {
		return
	}
	top, _, _ := strings.Cut(field, ".")
	root := top == "leases" || top == "vault" || top == "custody"
	if !root || strings.Contains(field, ".static.") {
		name = "" // there a name says nothing: tls.key is a path
	}
	if why, secret := a.judge(name, text); why != "" {
		a.add(c.path+": "+field, "the value", why, "env:NAME or file:PATH in its place: docs/secrets.md")
		a.seen(place{field, c.path + ": " + field, "the value"}, secret)
	}
}

// mode reports a file with secrets in it that others may read.
func (a *audit) mode(path, name string) {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return
	}
	for _, f := range a.Findings {
		if where, _, _ := strings.Cut(f.Where, ": "); where == shown(name) {
			a.add(name, fmt.Sprintf("mode %04o", info.Mode().Perm()), "others may read the file, and secrets stand in it", "chmod 600 "+path)
			return
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// hostFiles are where MCP hosts keep their servers: below the home, and below
// a project.
var hostFiles = struct{ home, project []string }{
	home: []string{
		".config/Claude/claude_desktop_config.json", "Library/Application Support/Claude/claude_desktop_config.json",
		".claude.json", ".claude/settings.json", ".cursor/mcp.json", ".codex/config.toml", ".gemini/settings.json",
		".codeium/windsurf/mcp_config.json", ".config/zed/settings.json",
		".config/Code/User/mcp.json", ".config/Code/User/settings.json",
		"Library/Application Support/Code/User/mcp.json", "Library/Application Support/Code/User/settings.json",
	},
	project: []string{".mcp.json", ".cursor/mcp.json", ".vscode/mcp.json", ".vscode/settings.json", ".gemini/settings.json", ".codex/config.toml", ".zed/settings.json"},
}

// hosts looks at the files of MCP hosts.
func (a *audit) hosts(home string, dirs []string) {
	var done []os.FileInfo
	look := func(path, name string) {
		info, err := os.Stat(path)
		if err != nil || slices.ContainsFunc(done, func(d os.FileInfo) bool { return os.SameFile(d, info) }) {
			return
		}
		done = append(done, info)
		a.hostFile(path, name)
	}
	for _, f := range hostFiles.home {
		look(filepath.Join(home, f), "~/"+f)
	}
	for _, d := range dirs {
		for _, f := range hostFiles.project {
			look(filepath.Join(d, f), filepath.Join(d, f))
		}
	}
}

func (a *audit) hostFile(path, name string) {
	text, err := readRegular(path)
	var v any
	if err == nil {
		if strings.HasSuffix(path, ".toml") {
			v, err = readTOML(string(text))
		} else {
			err = json.Unmarshal(plainJSON(text), &v)
		}
	}
	if err != nil {
		// What cannot be read may hold anything. The error could quote a value.
		a.add(name, "the file", "it cannot be read, so that nothing is known of it", "look at it yourself")
		return
	}
	a.Looked = append(a.Looked, name)
	a.servers(name, v, false, nil)
	a.mode(path, name)
}

func readRegular(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fs.ErrInvalid)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxAudited+1))
	if len(b) > maxAudited {
		err = fs.ErrInvalid
	}
	return b, err
}

// serverLists are the keys under which hosts list their servers.
var serverLists = []string{"mcpServers", "mcp_servers", "context_servers", "servers", "mcp"}

// named are the keys of a server whose members are variables or headers.
var named = []string{"env", "environment", "headers", "http_headers", "env_http_headers", "auth", "oauth"}

// servers looks for servers in what a file says: below one of the keys, what
// has a command or an address.
func (a *audit) servers(file string, v any, below bool, path []string) {
	switch v := v.(type) {
	case map[string]any:
		switch env, _ := v["env"].(map[string]any); {
		case below && len(path) > 0:
			a.server(file, path, v)
		case env != nil: // what the host, and so each server, is started with
			a.variables(file, file+": "+strings.Join(append(slices.Clone(path), "env"), "."), "", env)
		}
		for _, k := range sortedKeys(v) {
			if below && slices.Contains(named, k) {
				continue // looked at with its server
			}
			a.servers(file, v[k], below || slices.Contains(serverLists, k), append(slices.Clone(path), k))
		}
	case []any:
		for _, x := range v {
			a.servers(file, x, below, path)
		}
	}
}

// server looks at what one server is started or called with.
func (a *audit) server(file string, path []string, m map[string]any) {
	name := path[len(path)-1]
	if name == "command" && len(path) > 1 { // Zed nests it
		name = path[len(path)-2]
	}
	owner := file + ": " + name
	where := file + ": " + strings.Join(path, ".")
	texts := func(v any) []string {
		var out []string
		list, _ := v.([]any)
		for _, x := range list {
			if s, ok := x.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	command, _ := m["command"].(string)
	if command == "" {
		command, _ = m["path"].(string)
	}
	argv := texts(m["args"])
	if all := texts(m["command"]); len(all) > 0 {
		command, argv = all[0], all[1:]
	}
	if command != "" {
		a.args(owner, where, append([]string{command}, argv...), fixHost)
		a.programs = append(a.programs, program{owner, append([]string{command}, argv...)})
	}
	for _, k := range sortedKeys(m) {
		switch x := m[k].(type) {
		case string:
			if k != "command" && k != "path" && !a.namesVariable(k, x) {
				a.value(owner, where, k, x, "", fixHost)
			}
		case map[string]any, []any:
			if slices.Contains(named, k) {
				a.variables(owner, where+"."+k, k, x)
			}
		}
	}
	// An input of Visual Studio Code: what is typed, and what without it.
	if s, ok := m["default"].(string); ok && m["password"] == true {
		a.value(owner, where, "password", s, "", fixHost)
	}
}

// namesVariable reports whether what stands under a key of Codex is the name of
// the variable that has the secret.
func (a *audit) namesVariable(key, value string) bool {
	return (key == "env_http_headers" || strings.HasSuffix(key, "_env_var")) && variableName.MatchString(value) && len(a.kinds(value)) == 0
}

// variables looks at variables or headers, whatever the host nests or lists
// them in: {name: value}, [{"name": name, "value": value}], ["name=value"].
func (a *audit) variables(owner, where, name string, v any) {
	switch v := v.(type) {
	case string:
		if n, rest, ok := strings.Cut(v, "="); ok && argName.MatchString(n) {
			a.value(owner, where, n, rest, "", fixHost)
		} else {
			a.value(owner, where, name, v, "", fixHost)
		}
	case []any:
		for _, x := range v {
			a.variables(owner, where, name, x)
		}
	case map[string]any:
		n, named := v["name"].(string)
		s, valued := v["value"].(string)
		if named && valued {
			a.value(owner, where, n, s, "", fixHost)
			return
		}
		for _, k := range sortedKeys(v) {
			if s, ok := v[k].(string); ok && a.namesVariable(name, s) {
				continue
			} else if ok {
				a.value(owner, where, k, s, "", fixHost)
			} else {
				a.variables(owner, where, k, v[k])
			}
		}
	}
}

// knownServer is how the command lines of MCP servers look.
var knownServer = regexp.MustCompile(`(?i)(^|[/@_.-])mcp([/_.@-]|$)|modelcontextprotocol|mcp[_-]?server|server[_-]?mcp`)

// processes looks at the environment of this account's MCP servers.
func (a *audit) processes(proc string) {
	dirs, err := os.ReadDir(proc)
	if err != nil {
		a.Skipped = append(a.Skipped, "processes: "+proc+" cannot be read")
		return
	}
	closed, seen := 0, 0
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		dir := filepath.Join(proc, d.Name())
		info, err := os.Stat(dir)
		if err != nil {
			continue // it has ended
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Getuid() {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || len(cmdline) == 0 {
			continue
		}
		argv := strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
		owner, ok := a.ownerOf(argv)
		if !ok {
			continue
		}
		what := filepath.Base(argv[0])
		if owner == "" {
			owner = "process " + what
		} else {
			_, short, found := strings.Cut(owner, ": ")
			if !found {
				short = owner
			}
			what += ", server " + short
		}
		where := fmt.Sprintf("process %d (%s)", pid, what)
		environ, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil {
			closed++
			continue
		}
		seen++
		const fix = "run it behind the gateway, with a credential that ends with the task: docs/secrets.md"
		for kv := range bytes.SplitSeq(environ, []byte{0}) {
			if k, v, ok := strings.Cut(string(kv), "="); ok {
				a.value(owner, where, k, v, "every process of this account can read it", fix)
			}
		}
		a.args(owner, where, argv, fix)
	}
	if seen > 0 {
		a.Looked = append(a.Looked, count(seen, "running server"))
	}
	if closed > 0 {
		a.Skipped = append(a.Skipped, count(closed, "running server")+": not readable for this account")
	}
}

// ownerOf tells whose process a command line is of; not ok if it is no MCP
// server's. The owner is "" for one that no file names.
func (a *audit) ownerOf(argv []string) (owner string, ok bool) {
	base := filepath.Base(argv[0])
	if base == "sallyport" {
		return "", false // its environment is the config's business
	}
	for _, p := range a.programs {
		// A shell or an interpreter may stand before the program.
		if want := append([]string{filepath.Base(p.argv[0])}, p.argv[1:]...); len(argv) >= len(want) {
			rest := argv[len(argv)-len(want):]
			if filepath.Base(rest[0]) == want[0] && slices.Equal(rest[1:], want[1:]) {
				return p.owner, true
			}
		}
	}
	for i, arg := range argv[:min(len(argv), 6)] {
		if knownServer.MatchString(filepath.Base(arg)) || i > 0 && !strings.HasPrefix(arg, "-") && strings.ContainsAny(arg, "/@") && knownServer.MatchString(arg) {
			return "", true
		}
	}
	return "", false
}
