package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/custody"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/vault"
	"github.com/sallyport-dev/sallyport/secret"
)

// maxRoot bounds a root credential in bytes: the longest are chains of
// certificates with a key.
const maxRoot = 64 << 10

// VaultConfig is a connection to Vault or OpenBao: where it is, and who the
// gateway is there.
type VaultConfig struct {
	Address   string `yaml:"address"`
	CA        string `yaml:"ca"` // PEM file; default: the system's authorities
	Namespace string `yaml:"namespace"`

	Token   string        `yaml:"token"` // env:, file: or systemd:, as all here
	AppRole *VaultAppRole `yaml:"approle"`
	JWT     *VaultJWT     `yaml:"jwt"`
}

// VaultAppRole logs in with AppRole.
type VaultAppRole struct {
	RoleID   string `yaml:"role_id"`
	SecretID string `yaml:"secret_id"`
	Mount    string `yaml:"mount"` // default: approle
}

// VaultJWT logs in with the methods jwt and kubernetes.
type VaultJWT struct {
	Role  string `yaml:"role"`
	Token string `yaml:"token"`
	Mount string `yaml:"mount"` // default: jwt
}

// newRootSources reads root credentials for a config. The connection that
// vault: references share is made with the first of them.
func newRootSources(c *Config) rootSources {
	r := rootSources{path: c.resolve, data: filepath.Dir(c.storePath())}
	var shared *vault.Client
	r.vault = func() (*vault.Client, error) {
		if shared != nil {
			return shared, nil
		}
		if c.Vault == nil {
			return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: c.path + ": no vault is configured", Fix: "vault: { address: https://vault.example.org:8200, token: file:PATH }"}
		}
		v, err := r.connect("vault", c.Vault)
		if err != nil {
			return nil, err
		}
		shared = v
		return v, nil
	}
	r.connect = func(field string, v *VaultConfig) (*vault.Client, error) { return v.client(c, field, r.source) }
	// Everything that is sealed is sealed by one box.
	r.box = sync.OnceValues(func() (*custody.Box, error) { return r.custodyBox(c) })
	r.custody = func() (*custody.Store, error) {
		b, err := r.box()
		if err != nil {
			return nil, err
		}
		return custody.NewStore(filepath.Join(r.data, "custody"), b), nil
	}
	r.source = func(field, ref string) (lease.Source, error) { return c.rootSource(field, ref, r.vault) }
	return r
}

// custodyBox seals with the key that the config names, or with one in the data
// directory that is made when it is first used.
func (r rootSources) custodyBox(c *Config) (*custody.Box, error) {
	if c.Custody == "" {
		return custody.NewBox(custody.KeyFile(filepath.Join(filepath.Dir(c.storePath()), "custody.key"))), nil
	}
	read, err := r.source("custody", c.Custody)
	if err != nil {
		return nil, err
	}
	keys := func() (secret.Value, error) { return read(context.Background()) }
	if strings.HasPrefix(c.Custody, "vault:") {
		keys = remembered(read)
	}
	return custody.NewBox(keys, keys), nil
}

// custodyWait bounds one look for the custody key at Vault.
const custodyWait = 5 * time.Second

// remembered asks Vault for the custody key when it is first needed, and keeps
// it: with a Vault that is down, what is sealed can still be revoked. Of many
// who need it at once, one asks for all.
func remembered(read lease.Source) custody.Keys {
	var flight singleflight.Group
	var key atomic.Pointer[secret.Value]
	return func() (secret.Value, error) {
		if key.Load() == nil {
			_, err, _ := flight.Do("", func() (any, error) {
				if key.Load() != nil {
					return nil, nil
				}
				ctx, cancel := context.WithTimeout(context.Background(), custodyWait)
				defer cancel()
				v, err := read(ctx)
				if err == nil {
					key.Store(&v)
				}
				return nil, err
			})
			if err != nil {
				return secret.Value{}, err
			}
		}
		return secret.New(key.Load().UnsafeBytes()), nil // whoever uses it zeroes it
	}
}

// client makes the connection. The credentials for it are found by source,
// and do not come from Vault themselves.
func (v *VaultConfig) client(c *Config, field string, source func(field, ref string) (lease.Source, error)) (*vault.Client, error) {
	bad := func(fix, text string) error {
		return &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: c.path + ": " + field + ": " + text, Fix: fix}
	}
	root := func(name, ref string) (lease.Source, error) {
		if strings.HasPrefix(ref, "vault:") {
			return nil, bad(name+": file:PATH", "what opens Vault cannot stand in Vault")
		}
		return source(field+"."+name, ref)
	}
	conn := vault.Connection{Address: v.Address, Namespace: v.Namespace}
	var err error
	if v.CA != "" {
		if conn.CA, err = os.ReadFile(c.resolve(v.CA)); err != nil {
			return nil, bad("ca: PATH of a PEM file", "the CA file cannot be read: "+err.Error())
		}
	}
	if v.Token != "" {
		if conn.Auth.Token, err = root("token", v.Token); err != nil {
			return nil, err
		}
	}
	if a := v.AppRole; a != nil {
		conn.Auth.RoleID, conn.Auth.Mount = a.RoleID, a.Mount
		if conn.Auth.SecretID, err = root("approle.secret_id", a.SecretID); err != nil {
			return nil, err
		}
	}
	if j := v.JWT; j != nil {
		conn.Auth.Role, conn.Auth.Mount = j.Role, j.Mount
		if conn.Auth.JWT, err = root("jwt.token", j.Token); err != nil {
			return nil, err
		}
	}
	client, err := vault.NewClient(conn)
	if err != nil {
		return nil, bad("address, and one of token, approle and jwt", err.Error())
	}
	return client, nil
}

// maxRefName bounds the name in env: and systemd:.
const maxRefName = 128

var (
	envName        = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	credentialName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
)

// rootSource reads a reference to a root credential. What is no reference is
// taken for a secret, and never repeated.
func (c *Config) rootSource(field, ref string, vaultClient func() (*vault.Client, error)) (lease.Source, error) {
	refuse := func(text, fix string) (lease.Source, error) {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: c.path + ": " + field + ": " + text, Fix: fix}
	}
	scheme, rest, ok := strings.Cut(ref, ":")
	switch {
	case ref == "":
		return refuse("it is missing", field[strings.LastIndexByte(field, '.')+1:]+": env:NAME, file:PATH, systemd:NAME or vault:PATH#FIELD")
	case ok && scheme == "env" && len(rest) <= maxRefName && envName.MatchString(rest):
		read := func(context.Context) (secret.Value, error) { return fromEnv(field, rest) }
		return atStart(refuse, read, "set it for the gateway, or write file:PATH")
	case ok && scheme == "file" && rest != "":
		path := c.resolve(rest)
		read := func(context.Context) (secret.Value, error) { return fromFile(field, path, true) }
		return atStart(refuse, read, "write the secret to it, then chmod 600 "+path)
	case ok && scheme == "systemd" && len(rest) <= maxRefName && credentialName.MatchString(rest):
		read := func(context.Context) (secret.Value, error) {
			dir := os.Getenv("CREDENTIALS_DIRECTORY")
			if dir == "" {
				return secret.Value{}, rootError(field, "systemd gave this process no credentials", nil)
			}
			// Their mode is systemd's business: the directory is the unit's alone.
			return fromFile(field, filepath.Join(dir, rest), false)
		}
		return atStart(refuse, read, "LoadCredential="+rest+":PATH in the unit")
	case ok && scheme == "vault":
		path, name, ok := strings.Cut(rest, "#")
		if !ok || name == "" || path == "" || strings.HasPrefix(path, "//") {
			return refuse("it is not vault:PATH#FIELD", field[strings.LastIndexByte(field, '.')+1:]+": vault:secret/data/db#password")
		}
		client, err := vaultClient()
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) (secret.Value, error) {
			v, err := client.ReadField(ctx, path, name)
			if err != nil {
				return v, rootError(field, "it cannot be read from Vault", err)
			}
			return v, nil
		}, nil
	}
	return refuse("a secret does not stand in the config, and this is no reference to one",
		"move it to a file of mode 0600 and write file:PATH, or to the environment and write env:NAME; then change it, for it was readable here")
}

// atStart reads a root credential once, so that what is missing is said at the
// start. What Vault holds is not read then: Vault may start later.
func atStart(refuse func(text, fix string) (lease.Source, error), read lease.Source, fix string) (lease.Source, error) {
	v, err := read(context.Background())
	if err != nil {
		var e *sallyport.Error
		if errors.As(err, &e) {
			text := e.Text[strings.Index(e.Text, ": ")+2:] // refuse names the field
			if e.Err != nil {
				text += ": " + e.Err.Error()
			}
			if e.Fix != "" {
				fix = e.Fix
			}
			return refuse(text, fix)
		}
		return refuse(err.Error(), fix)
	}
	v.Zero()
	return read, nil
}

func rootError(field, text string, err error) error {
	return &sallyport.Error{Kind: sallyport.EUnavailable, Code: "root_credential", Text: field + ": " + text, Err: err}
}

func fromEnv(field, name string) (secret.Value, error) {
	v := os.Getenv(name)
	if v == "" {
		// A secret that was put behind env: by mistake is not repeated.
		if name != strings.ToUpper(name) {
			name = "variable of that name"
		}
		return secret.Value{}, rootError(field, "the environment has no "+name, nil)
	}
	if len(v) > maxRoot {
		return secret.Value{}, rootError(field, "it is too long", nil)
	}
	return secret.Text(v), nil
}

// fromFile reads a secret from a file that only its owner may read, without
// the newline that editors put at the end.
func fromFile(field, path string, alone bool) (secret.Value, error) {
	fail := func(text string, err error) (secret.Value, error) {
		var p *os.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return secret.Value{}, rootError(field, text, err)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO would wait for a writer
	if err != nil {
		return fail(path+" cannot be read", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return fail(path+" cannot be read", err)
	case !info.Mode().IsRegular():
		return fail(path+" is no file", nil)
	case alone && info.Mode().Perm()&0o077 != 0:
		return secret.Value{}, &sallyport.Error{Kind: sallyport.EUnavailable, Code: "root_credential", Text: fmt.Sprintf("%s: others may read %s (mode %04o)", field, path, info.Mode().Perm()), Fix: "chmod 600 " + path}
	case info.Size() > maxRoot:
		return fail(path+" is too long for a secret", nil)
	}
	b := make([]byte, 0, info.Size()+1)
	buf := bytes.NewBuffer(b)
	if _, err := io.Copy(buf, io.LimitReader(f, maxRoot+1)); err != nil {
		return fail(path+" cannot be read", err)
	}
	v := buf.Bytes()
	switch {
	case len(v) > maxRoot:
		clear(v)
		return fail(path+" is too long for a secret", nil)
	case bytes.HasSuffix(v, []byte("\r\n")):
		v = v[:len(v)-2]
	case bytes.HasSuffix(v, []byte("\n")):
		v = v[:len(v)-1]
	}
	if len(v) == 0 {
		return fail(path+" is empty", nil)
	}
	return secret.New(v), nil
}
