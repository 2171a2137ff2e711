package identity

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/sallyport-dev/sallyport"
)

// ReadKeyFile reads a key file of at most 64 KiB. A file that others could read
// or write, that belongs to somebody else, or that is a link, is refused: it
// may already have been copied or replaced. One that is not there is an error
// of kind ENotFound, code key_missing.
func ReadKeyFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &sallyport.Error{Kind: sallyport.ENotFound, Code: "key_missing", Text: "there is no key file " + path, Err: err}
		}
		return nil, &sallyport.Error{Kind: sallyport.EUnavailable, Code: "key_unreadable", Text: "the key file " + path + " cannot be opened", Err: err}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EUnavailable, Code: "key_unreadable", Text: "the key file " + path + " cannot be read", Err: err}
	}
	bad := func(text, fix string) error {
		e := sallyport.Errorf(sallyport.EForbidden, "key_permissions", "the key file %s %s", path, text)
		e.Fix = fix
		return e
	}
	switch owner, ok := info.Sys().(*syscall.Stat_t); {
	case !info.Mode().IsRegular():
		return nil, bad("is not a plain file", "")
	case info.Mode().Perm()&^0o600 != 0:
		return nil, bad(fmt.Sprintf("has the mode %04o", info.Mode().Perm()), "if nobody else has read it, run chmod 600 "+path+"; otherwise make a new key")
	case !ok || int(owner.Uid) != os.Geteuid():
		return nil, bad("belongs to another user", "run as its owner, or make a key of your own")
	case info.Size() > maxKeyFile:
		return nil, bad("is too large for a key", "")
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EUnavailable, Code: "key_unreadable", Text: "the key file " + path + " cannot be read", Err: err}
	}
	return b, nil
}

// WriteKeyFile writes a key file with mode 0600, whole or not at all, and waits
// until it is on disk. Unless replace is set, a file that is there already
// stays, and is an error of kind EConflict, code key_exists.
func WriteKeyFile(path string, b []byte, replace bool) error {
	fail := func(err error) error {
		if errors.Is(err, fs.ErrExist) {
			return &sallyport.Error{Kind: sallyport.EConflict, Code: "key_exists", Text: "there is already a file " + path, Fix: "choose another name, or remove it if its key is of no use any more"}
		}
		return &sallyport.Error{Kind: sallyport.EUnavailable, Code: "key_unwritable", Text: "the key file " + path + " cannot be written", Err: err}
	}
	// CreateTemp uses O_EXCL and 0600.
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*")
	if err != nil {
		return fail(err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fail(err)
	}
	if replace {
		err = os.Rename(f.Name(), path)
	} else {
		err = os.Link(f.Name(), path) // fails if path exists
	}
	if err != nil {
		return fail(err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fail(err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fail(err)
	}
	return nil
}
