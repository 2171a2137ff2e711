package mcp

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/sallyport-dev/sallyport/gateway"
)

const sshAuthSock = "SSH_AUTH_SOCK"

// sshAgent serves one key to one child over a socket in its HOME. Only this
// process has the key: the child can have things signed, for as long as the
// credential is good.
type sshAgent struct {
	path   string
	listen net.Listener
	keys   *lentKey

	mu    sync.Mutex // guards what follows
	conns map[net.Conn]bool
	over  bool
}

func newSSHAgent(dir string, lent *gateway.Lent) (*sshAgent, error) {
	c := lent.Credential
	pem, err := part(c, partKey)
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParseRawPrivateKey([]byte(pem))
	if err != nil {
		return nil, unfit("the part %s of its credential is no SSH key without a passphrase", partKey)
	}
	line, err := part(c, partCert)
	if err != nil {
		return nil, err
	}
	public, comment, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	cert, ok := public.(*ssh.Certificate)
	if err != nil || !ok {
		return nil, unfit("the part %s of its credential is no SSH certificate", partCert)
	}
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: key, Certificate: cert, Comment: comment}); err != nil {
		return nil, unfit("the parts %s and %s of its credential do not belong together", partKey, partCert)
	}
	a := &sshAgent{path: filepath.Join(dir, "agent.sock"), keys: &lentKey{ring: ring.(agent.ExtendedAgent), done: lent.Done}, conns: map[net.Conn]bool{}}
	if a.listen, err = net.Listen("unix", a.path); err == nil {
		err = os.Chmod(a.path, 0o600) // HOME itself is the child's user's alone
	}
	if err != nil {
		a.stop()
		return nil, &upstreamError{word: wordUnreachable, text: "could not be given an ssh-agent", err: err}
	}
	go a.serve()
	return a, nil
}

func (a *sshAgent) serve() {
	for {
		c, err := a.listen.Accept()
		if err != nil {
			return // stopped
		}
		a.mu.Lock()
		if a.over || len(a.conns) >= maxAgentConns || a.keys.refused.Load() > maxAgentRefused {
			a.mu.Unlock()
			c.Close()
			continue
		}
		a.conns[c] = true
		a.mu.Unlock()
		go func() {
			_ = agent.ServeAgent(a.keys, patient{c, a.keys}) // it ends when the client does
			c.Close()
			a.mu.Lock()
			delete(a.conns, c)
			a.mu.Unlock()
		}()
	}
}

// stop ends the agent and whoever talks to it. A nil agent has ended.
func (a *sshAgent) stop() {
	if a == nil {
		return
	}
	if a.listen != nil {
		a.listen.Close()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	for c := range a.conns {
		c.Close()
	}
}

// lentKey is an agent that lists and signs, until the credential is taken
// back, and lets nobody change anything.
type lentKey struct {
	ring    agent.ExtendedAgent
	done    <-chan struct{}
	refused atomic.Int32
}

// patient is a client's connection until the agent has refused too often:
// each refusal is a line in the log.
type patient struct {
	net.Conn
	k *lentKey
}

func (p patient) Read(b []byte) (int, error) {
	if p.k.refused.Load() > maxAgentRefused {
		return 0, errReadOnly
	}
	return p.Conn.Read(b)
}

var (
	errReadOnly = errors.New("this agent is read-only")
	errOver     = errors.New("the credential was taken back")
)

func (k *lentKey) good() error {
	select {
	case <-k.done:
		k.refused.Add(1)
		return errOver
	default:
		return nil
	}
}

func (k *lentKey) List() ([]*agent.Key, error) {
	if err := k.good(); err != nil {
		return nil, err
	}
	return k.ring.List()
}

func (k *lentKey) Sign(key ssh.PublicKey, data []byte) (*ssh.Signature, error) {
	return k.SignWithFlags(key, data, 0)
}

func (k *lentKey) SignWithFlags(key ssh.PublicKey, data []byte, flags agent.SignatureFlags) (*ssh.Signature, error) {
	if err := k.good(); err != nil {
		return nil, err
	}
	return k.ring.SignWithFlags(key, data, flags)
}

func (k *lentKey) refuse() error {
	k.refused.Add(1)
	return errReadOnly
}

func (k *lentKey) Signers() ([]ssh.Signer, error) { return nil, k.refuse() }
func (k *lentKey) Add(agent.AddedKey) error       { return k.refuse() }
func (k *lentKey) Remove(ssh.PublicKey) error     { return k.refuse() }
func (k *lentKey) RemoveAll() error               { return k.refuse() }
func (k *lentKey) Lock([]byte) error              { return k.refuse() }
func (k *lentKey) Unlock([]byte) error            { return k.refuse() }
func (k *lentKey) Extension(string, []byte) ([]byte, error) {
	return nil, agent.ErrExtensionUnsupported
}
