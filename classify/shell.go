package classify

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// Shell classes a command line for sh, bash or zsh. It is of class read when
// it is made of simple commands of literal words, joined by |, && or ||, each
// of a program whose flags and operands are known to only read: see
// programs.txt. Everything else is act: variables, substitutions, assignments,
// redirections to files, background jobs, functions, unknown programs, unknown
// flags.
//
// A line is refused when it does not parse and beyond a limit. What the names
// stand for on the machine (aliases, PATH, the programs' own configuration) is
// not seen.
func Shell(line string) (found Finding) {
	switch {
	case len(line) > MaxShell:
		return refuse("the command line is too long")
	case strings.ContainsRune(line, 0):
		return refuse("the command line has a NUL")
	case strings.Count(line, "(")+strings.Count(line, "{")+strings.Count(line, "`")+strings.Count(line, "<<") > maxShellOpens:
		return refuse("the command line nests too deep")
	}
	defer func() {
		if recover() != nil {
			found = refuse("the command line is not understood")
		}
	}()
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(line), "")
	if err != nil {
		return refuse("the command line is not understood: it does not parse")
	}
	w := shellWalk{found: Finding{Class: sallyport.Read}}
	if strings.ContainsFunc(line, func(c rune) bool { return c < ' ' && c != '\n' && c != '\t' || c == 0x7f }) {
		w.widen("control characters")
	}
	for _, stmt := range file.Stmts {
		if !w.statement(stmt, 0) {
			return refuse("the command line has too many commands or nests too deep")
		}
	}
	if w.commands == 0 && w.found.Class == sallyport.Read {
		return refuse("there is no command")
	}
	return w.found.done()
}

// words classes a list of words that is run without a shell.
func words(v canon.Value) Finding {
	if len(v.Elems()) == 0 || len(v.Elems()) > maxWords {
		return refuse("the command has no words, or too many")
	}
	args := make([]shellWord, len(v.Elems()))
	size := 0
	for i, e := range v.Elems() {
		if e.Kind() != canon.String {
			return refuse("a word of the command is no text")
		}
		args[i].text = e.Text()
		if size += len(e.Text()); size > MaxShell || strings.ContainsRune(e.Text(), 0) {
			return refuse("the command is too long, or has a NUL")
		}
	}
	w := shellWalk{found: Finding{Class: sallyport.Read}}
	w.command(args)
	return w.found.done()
}

// shellWord is a word of a command as the program gets it. A glob may become
// any number of words, which all begin as it does.
type shellWord struct {
	text string
	glob bool
}

type shellWalk struct {
	found    Finding
	commands int
	moved    bool // a cd stands before
}

func (w *shellWalk) widen(why string, kinds ...sallyport.Kind) {
	w.found.effect(sallyport.Act, why, kinds...)
}

// statement reports false when a limit is reached.
func (w *shellWalk) statement(s *syntax.Stmt, depth int) bool {
	if w.commands++; w.commands > maxCommands || depth > maxShellDepth {
		return false
	}
	if s.Background || s.Coprocess || s.Disown {
		w.widen("a job in the background")
	}
	for _, r := range s.Redirs {
		w.redirect(r)
	}
	switch cmd := s.Cmd.(type) {
	case *syntax.CallExpr:
		w.call(cmd)
	case *syntax.BinaryCmd:
		return w.binary(cmd, depth)
	case nil:
		// A redirection by itself opens files.
	default:
		w.widen("a command that is not a simple one")
	}
	return true
}

// binary goes through a chain of |, && and || from its left. The chain leans
// to the left and is as deep as it is long.
func (w *shellWalk) binary(cmd *syntax.BinaryCmd, depth int) bool {
	var right []*syntax.Stmt
	for {
		right = append(right, cmd.Y)
		next, ok := cmd.X.Cmd.(*syntax.BinaryCmd)
		if !ok || len(cmd.X.Redirs) > 0 || cmd.X.Background || len(right) > maxCommands {
			right = append(right, cmd.X)
			break
		}
		cmd = next
	}
	if len(right) > maxCommands {
		return false
	}
	for i := len(right) - 1; i >= 0; i-- {
		if !w.statement(right[i], depth+1) {
			return false
		}
	}
	return true
}

// redirect lets streams be joined or thrown away, and files be read.
func (w *shellWalk) redirect(r *syntax.Redirect) {
	target, ok := literal(r.Word)
	switch {
	case !ok || r.Hdoc != nil || target.glob || r.N != nil && strings.Trim(r.N.Value, "0123456789") != "":
		w.widen("a redirection that is not to a plain file")
	case (r.Op == syntax.RdrOut || r.Op == syntax.AppOut || r.Op == syntax.RdrAll) && target.text == "/dev/null":
	case r.Op == syntax.DplOut && (target.text == "1" || target.text == "2"):
	case r.Op == syntax.RdrIn && !strings.HasPrefix(target.text, "/dev/"):
		w.operand(target.text)
	default:
		w.widen("a redirection to a file")
	}
}

func (w *shellWalk) call(cmd *syntax.CallExpr) {
	if len(cmd.Assigns) > 0 {
		w.widen("an assignment")
	}
	if len(cmd.Args) > maxWords {
		w.widen("a command of too many words")
		return
	}
	args := make([]shellWord, 0, len(cmd.Args))
	for _, word := range cmd.Args {
		a, ok := literal(word)
		if !ok {
			w.widen("a word that the shell expands")
			return
		}
		args = append(args, a)
	}
	if len(args) > 0 {
		w.command(args)
	}
}

// command looks a program and its words up.
func (w *shellWalk) command(args []shellWord) {
	name := args[0].text
	for _, dir := range []string{"/bin/", "/usr/bin/"} {
		if bare, ok := strings.CutPrefix(name, dir); ok {
			name = bare
		}
	}
	if args[0].glob || strings.Contains(name, "/") {
		w.widen("a program by its path")
		return
	}
	if len(w.found.Resources) <= MaxResources {
		w.found.Resources = append(w.found.Resources, name)
	}
	// A folder that somebody else filled may be a bare repository, whose
	// configuration names programs for git status to run.
	if name == "git" && w.moved {
		w.widen("git in a folder that the line has gone to")
	}
	w.moved = w.moved || name == "cd"
	p := program(name)
	rest := args[1:]
	// git log, git diff: the subcommand is part of the name.
	if p == nil && len(rest) > 0 && !rest[0].glob {
		if p = program(name + " " + rest[0].text); p != nil {
			rest = rest[1:]
		}
	}
	if p == nil {
		w.widen("the program "+quoted(name)+" is not known to only read", programKinds[name]...)
		return
	}
	if why := p.accepts(rest); why != "" {
		w.widen(quoted(name) + ": " + why)
		return
	}
	w.found.effect(p.class, quoted(name)+" changes what can be changed back")
	for _, a := range rest {
		w.operand(a.text)
	}
}

// programKinds says what well-known programs do beside being act.
var programKinds = func() map[string][]sallyport.Kind {
	m := map[string][]sallyport.Kind{}
	for kind, names := range map[sallyport.Kind]string{
		sallyport.Deletion:   "rm shred srm unlink truncate wipefs mkfs dd",
		sallyport.Privilege:  "sudo su doas chmod chown chgrp setfacl chattr useradd usermod userdel passwd visudo setcap",
		sallyport.External:   "curl wget ssh scp sftp rsync nc ncat socat telnet ftp mail mailx sendmail dig nslookup host aws gcloud az gh",
		sallyport.Deployment: "kubectl helm terraform ansible ansible-playbook systemctl service docker podman",
		sallyport.Secret:     "env printenv gpg pass security secret-tool op vault",
	} {
		for _, name := range strings.Fields(names) {
			m[name] = append(m[name], kind)
		}
	}
	return m
}()

// operand widens for files that are known to hold secrets.
func (w *shellWalk) operand(text string) {
	if len(text) > MaxPath {
		return
	}
	lower := strings.ToLower(text)
	secret := strings.Contains(lower, "/etc/shadow") || strings.Contains(lower, "/etc/gshadow") || strings.Contains(lower, "/etc/sudoers")
	for _, part := range strings.FieldsFunc(lower, func(c rune) bool { return c == '/' || c == ':' || c == '=' }) {
		secret = secret || secretFiles[part] || strings.HasPrefix(part, ".env.") || strings.HasPrefix(part, "id_rsa") ||
			strings.HasPrefix(part, "id_ed25519") || strings.HasPrefix(part, "id_ecdsa") || strings.HasSuffix(part, ".pem") ||
			strings.HasSuffix(part, ".kdbx") || strings.HasSuffix(part, ".p12") || strings.HasSuffix(part, "_history")
	}
	if secret {
		w.widen("a file that holds secrets", sallyport.Secret)
	}
}

// secretFiles are names of files and folders that hold secrets everywhere.
var secretFiles = func() map[string]bool {
	m := map[string]bool{}
	for _, name := range strings.Fields(`.ssh .gnupg .netrc .pgpass .my.cnf .aws .azure .kube .docker .git-credentials .npmrc .pypirc .env .htpasswd
		.vault-token environ gcloud keyrings kcore secrets serviceaccount`) {
		m[name] = true
	}
	return m
}()

// literal returns a word that the shell passes on as it stands, or as the
// names of files that match it.
func literal(word *syntax.Word) (w shellWord, ok bool) {
	var b strings.Builder
	for i, part := range word.Parts {
		switch p := part.(type) {
		case *syntax.Lit:
			if !plain(&b, p.Value, i == 0, &w.glob) {
				return w, false
			}
		case *syntax.SglQuoted:
			if p.Dollar {
				return w, false
			}
			b.WriteString(p.Value)
		case *syntax.DblQuoted:
			if p.Dollar {
				return w, false
			}
			for _, in := range p.Parts {
				lit, ok := in.(*syntax.Lit)
				if !ok || !unescape(&b, lit.Value) {
					return w, false
				}
			}
		default:
			return w, false
		}
	}
	w.text = b.String()
	// What a glob becomes must not be taken for a flag.
	if w.glob && !startsPlain(w.text) {
		return w, false
	}
	return w, true
}

func startsPlain(s string) bool {
	return s != "" && (s[0] == '.' || s[0] == '/' || s[0] == '_' || alnum(s[0]))
}

func alnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// plain writes an unquoted part. Whatever one of the shells might expand is
// not plain: tildes and equal signs at the start, braces, history.
func plain(b *strings.Builder, s string, first bool, glob *bool) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		at0 := first && i == 0
		switch {
		case alnum(c) || strings.IndexByte("_-./,:@%+", c) >= 0 || c >= 0x80:
		case c == '\\' && i+1 < len(s) && s[i+1] > ' ' && s[i+1] < 0x7f:
			i++
			c = s[i]
		case c == '=' || c == '^':
			if at0 {
				return false
			}
		case c == '~':
			if at0 || i > 0 && (s[i-1] == '=' || s[i-1] == ':') || i == 0 {
				return false
			}
		case c == '*' || c == '?' || c == '[' || c == ']':
			*glob = true
		case c == '!':
			if !at0 || len(s) > 1 {
				return false
			}
		default:
			return false
		}
		b.WriteByte(c)
	}
	return true
}

// unescape writes a part in double quotes (POSIX 2.2.3). Bash reads a lone
// dollar sign as itself; zsh may not. An exclamation mark is history where the
// shell is interactive.
func unescape(b *strings.Builder, s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && s[i+1] == '\n':
			i++
			continue
		case c == '\\' && i+1 < len(s) && strings.IndexByte("$`\"\\", s[i+1]) >= 0:
			i++
		case c == '$' || c == '`' || c == '!' && i+1 < len(s) && s[i+1] > ' ':
			return false
		}
		b.WriteByte(s[i])
	}
	return true
}
