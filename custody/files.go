package custody

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// replace writes a file of mode 0600 as a whole, through a crash.
func replace(path string, text []byte) error {
	tmp, err := write(path, text)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return syncDir(filepath.Dir(path))
}

// writeNew is replace for a file that must not exist: then fs.ErrExist.
func writeNew(path string, text []byte) error {
	tmp, err := write(path, text)
	if err != nil {
		return err
	}
	err = errors.Join(os.Link(tmp, path), os.Remove(tmp))
	return errors.Join(err, syncDir(filepath.Dir(path)))
}

func write(path string, text []byte) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // of mode 0600
	if err != nil {
		return "", err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func readFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		return nil, fmt.Errorf("custody: %s is too long", path)
	}
	return b, err
}
