package workload

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

// readSecret reads a key file. One that others could read or write, that
// belongs to somebody else, or that is a link, is refused: it may already
// have been copied or replaced.
func readSecret(path string) ([]byte, error) {
	unreadable := func(err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return &sallyport.Error{Kind: sallyport.ENotFound, Code: "key_missing", Text: "there is no key file " + path, Err: err}
		}
		return &sallyport.Error{Kind: sallyport.EUnavailable, Code: "key_unreadable", Text: "the key file " + path + " cannot be read", Err: err}
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, unreadable(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, unreadable(err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || info.Mode().Perm()&^0o600 != 0 || int(owner.Uid) != os.Geteuid() || info.Size() > int64(authorityLimits.Bytes) {
		e := sallyport.Errorf(sallyport.EForbidden, "key_permissions", "the key file %s is not a plain file of this user with mode 0600 (it is %s)", path, info.Mode())
		e.Fix = fmt.Sprintf("if nobody else has read it, run chmod 600 %s as its owner; otherwise remove it and start again", path)
		return nil, e
	}
	b, err := io.ReadAll(io.LimitReader(f, int64(authorityLimits.Bytes)))
	if err != nil {
		return nil, unreadable(err)
	}
	return b, nil
}

// writeSecret writes a key file with mode 0600, whole or not at all, and
// waits until it is on disk.
func writeSecret(path string, b []byte) error {
	fail := func(err error) error {
		return &sallyport.Error{Kind: sallyport.EUnavailable, Code: "key_unwritable", Text: "the key file " + path + " cannot be written", Err: err}
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // O_EXCL, 0600
	if err != nil {
		return fail(err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fail(err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
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
