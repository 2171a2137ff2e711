package oauth2

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/secret"
)

// Custody keeps users' refresh tokens. Store returns when the token would
// survive a crash, and replaces what was there. Load and Delete of what is not
// there are errors of kind ENotFound. One user's token of one source is never
// used twice at once; the methods may be called at once for others.
type Custody interface {
	Load(ctx context.Context, source, user string) (secret.Value, error)
	Store(ctx context.Context, source, user string, v secret.Value) error
	Delete(ctx context.Context, source, user string) error
	// List has a user's connections, or all of them for "".
	List(ctx context.Context, user string) ([]Connection, error)
}

// Connection says that there is a refresh token.
type Connection struct {
	Source string    `json:"source"`
	User   string    `json:"user"`
	Stored time.Time `json:"stored"` // when the token came; a server that rotates gives one with each use
}

// Dir is a Custody of one sealed file for each connection. Source and user
// stand in it unsealed.
type Dir struct {
	path string
	s    lease.Sealer
}

// NewDir makes a Dir of a directory, which is made if it is not there.
func NewDir(path string, s lease.Sealer) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EUnavailable, Code: "data_dir", Text: "the directory " + path + " of connections cannot be made", Err: err}
	}
	return &Dir{path, s}, nil
}

// connectionFile is what a file of a Dir holds.
type connectionFile struct {
	V int `json:"v"`
	Connection
	Sealed []byte `json:"sealed"`
}

func (d *Dir) file(source, user string) string {
	h := sha256.Sum256([]byte(source + "\x00" + user))
	return filepath.Join(d.path, hex.EncodeToString(h[:])+".json")
}

// sealName binds what is sealed to whose it is: a file that is put in
// another's place does not open.
func sealName(source, user string) string { return "connection\x00" + source + "\x00" + user }

func (d *Dir) read(path string) (connectionFile, error) {
	var f connectionFile
	b, err := identity.ReadKeyFile(path)
	if err != nil {
		return f, err
	}
	if json.Unmarshal(b, &f) != nil || f.V != 1 || d.file(f.Source, f.User) != path {
		return f, sallyport.Errorf(sallyport.EInvalid, "bad_connection", "the file %s holds no connection", path)
	}
	return f, nil
}

// Load implements Custody.
func (d *Dir) Load(_ context.Context, source, user string) (secret.Value, error) {
	f, err := d.read(d.file(source, user))
	if err != nil {
		return secret.Value{}, err
	}
	return d.s.Open(sealName(source, user), f.Sealed)
}

// Store implements Custody.
func (d *Dir) Store(_ context.Context, source, user string, v secret.Value) error {
	sealed, err := d.s.Seal(sealName(source, user), v)
	if err != nil {
		return err
	}
	b, err := json.Marshal(connectionFile{1, Connection{source, user, time.Now().UTC().Truncate(time.Second)}, sealed})
	if err != nil {
		return err
	}
	return identity.WriteKeyFile(d.file(source, user), b, true)
}

// Delete implements Custody.
func (d *Dir) Delete(_ context.Context, source, user string) error {
	err := os.Remove(d.file(source, user))
	if errors.Is(err, fs.ErrNotExist) {
		return sallyport.Errorf(sallyport.ENotFound, "not_connected", "%s is not connected to %s", user, source)
	}
	return err
}

// List implements Custody. A file that cannot be read is an error: a list that
// leaves something out would say that it is gone.
func (d *Dir) List(_ context.Context, user string) ([]Connection, error) {
	paths, err := filepath.Glob(filepath.Join(d.path, "*.json"))
	if err != nil {
		return nil, err
	}
	var out []Connection
	for _, p := range paths {
		f, err := d.read(p)
		if sallyport.CodeOf(err) == "key_missing" {
			continue // it went just now
		}
		if err != nil {
			return nil, err
		}
		if user == "" || f.User == user {
			out = append(out, f.Connection)
		}
	}
	slices.SortFunc(out, func(a, b Connection) int {
		if c := strings.Compare(a.Source, b.Source); c != 0 {
			return c
		}
		return strings.Compare(a.User, b.User)
	})
	return out, nil
}
