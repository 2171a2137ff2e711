package custody

import (
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/secret"
)

// Store keeps keys that were given to the gateway, for servers and APIs that
// mint none. Each is two files: NAME.age is sealed, NAME.json is its Key. The
// hosts are part of the name that the first is sealed under: who changes them
// in the second gets nothing out. Every file is replaced as a whole; a crash in
// between leaves an old date, or a Key without a secret, which counts as none.
type Store struct {
	dir string
	*Box
}

// Key is what is known of a kept key. It holds no secret.
type Key struct {
	Name    string    `json:"name"`
	Hosts   []string  `json:"hosts"` // where it may be sent, sorted
	Created time.Time `json:"created"`
	Rotated time.Time `json:"rotated"` // Created until it is first replaced
}

var keyName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// GoodName reports whether a key can have the name: lower-case letters, digits
// and -, at most 40.
func GoodName(name string) bool { return keyName.MatchString(name) }

// NewStore keeps keys in a directory, which is made with the first.
func NewStore(dir string, b *Box) *Store { return &Store{dir, b} }

// Put takes a key into custody. EConflict: there is one of this name.
func (s *Store) Put(name string, hosts []string, v secret.Value, now time.Time) error {
	if !GoodName(name) {
		return badName()
	}
	k := Key{Name: name, Hosts: slices.Sorted(slices.Values(hosts)), Created: now.UTC().Truncate(time.Second)}
	k.Rotated = k.Created
	if _, err := os.Lstat(s.file(name, ".age")); err == nil {
		return &sallyport.Error{Kind: sallyport.EConflict, Code: "custody_exists", Text: "there is a key " + name + " already", Fix: "replace it with secrets rotate, or remove it first"}
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	if err := s.orphaned(); err != nil {
		return err
	}
	sealed, err := s.Seal(k.binding(), v)
	if err != nil {
		return err
	}
	if err := s.describe(k); err != nil {
		return err
	}
	err = writeNew(s.file(name, ".age"), sealed)
	if errors.Is(err, fs.ErrExist) {
		return &sallyport.Error{Kind: sallyport.EConflict, Code: "custody_exists", Text: "there is a key " + name + " already", Fix: "replace it with secrets rotate, or remove it first"}
	}
	return err
}

// orphaned refuses to make a new key of its own where something is sealed
// with one that is gone.
func (s *Store) orphaned() error {
	v, err := s.open()
	v.Zero()
	if !errors.Is(err, fs.ErrNotExist) {
		return nil // there is one, or sealing says what is wrong with it
	}
	if found, _ := filepath.Glob(filepath.Join(s.dir, "*.age")); len(found) > 0 {
		return &sallyport.Error{Kind: sallyport.EConflict, Code: "custody_key", Text: "the custody key is gone, and keys are sealed with it", Fix: "bring it back from a copy, or remove them with secrets rm", Err: err}
	}
	return nil
}

// Rotate replaces the value of a key; its hosts stay.
func (s *Store) Rotate(name string, v secret.Value, now time.Time) error {
	k, err := s.Describe(name)
	if err != nil {
		return err
	}
	if err := s.orphaned(); err != nil {
		return err
	}
	sealed, err := s.Seal(k.binding(), v)
	if err != nil {
		return err
	}
	if err := replace(s.file(name, ".age"), sealed); err != nil {
		return err
	}
	k.Rotated = now.UTC().Truncate(time.Second)
	return s.describe(k)
}

// Get opens a key.
func (s *Store) Get(name string) (Key, secret.Value, error) {
	k, err := s.Describe(name)
	if err != nil {
		return k, secret.Value{}, err
	}
	sealed, err := readFile(s.file(name, ".age"), maxSealed)
	if err != nil {
		return k, secret.Value{}, err
	}
	v, err := s.Open(k.binding(), sealed)
	return k, v, err
}

// Describe says what is known of a key, without opening it.
func (s *Store) Describe(name string) (Key, error) {
	if !GoodName(name) {
		return Key{}, badName()
	}
	text, err := readFile(s.file(name, ".json"), 64<<10)
	if err == nil {
		_, err = os.Lstat(s.file(name, ".age"))
	}
	if errors.Is(err, fs.ErrNotExist) {
		e := sallyport.Errorf(sallyport.ENotFound, "custody_none", "there is no key %s in custody", name)
		e.Fix = "sallyport secrets put " + name + " --host HOST < FILE"
		return Key{}, e
	}
	if err != nil {
		return Key{}, err
	}
	var k Key
	if err := json.Unmarshal(text, &k); err != nil || k.Name != name {
		return Key{}, sallyport.Errorf(sallyport.EInvalid, "custody_sealed", "%s does not describe the key %s", s.file(name, ".json"), name)
	}
	return k, nil
}

// List describes all keys, by name. The error joins those of keys that cannot
// be described.
func (s *Store) List() ([]Key, error) {
	found, err := filepath.Glob(filepath.Join(s.dir, "*.age"))
	var keys []Key
	for _, path := range found {
		k, kerr := s.Describe(strings.TrimSuffix(filepath.Base(path), ".age"))
		if kerr != nil {
			err = errors.Join(err, kerr)
			continue
		}
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b Key) int { return cmp.Compare(a.Name, b.Name) })
	return keys, err
}

// Remove forgets a key. The file system may keep its sealed bytes.
func (s *Store) Remove(name string) error {
	if !GoodName(name) {
		return badName()
	}
	err := os.Remove(s.file(name, ".age"))
	if errors.Is(err, fs.ErrNotExist) {
		return sallyport.Errorf(sallyport.ENotFound, "custody_none", "there is no key %s in custody", name)
	}
	if err == nil {
		if err = os.Remove(s.file(name, ".json")); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	return errors.Join(err, syncDir(s.dir))
}

// binding is the name that a key is sealed under: a host has no space.
func (k Key) binding() string { return "key/" + k.Name + " for " + strings.Join(k.Hosts, " ") }

func (s *Store) describe(k Key) error {
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return replace(s.file(k.Name, ".json"), append(text, '\n'))
}

func (s *Store) file(name, kind string) string { return filepath.Join(s.dir, name+kind) }

func badName() error {
	return sallyport.Errorf(sallyport.EInvalid, "custody_name", "a key's name has lower-case letters, digits and -, and at most 40 of them")
}
