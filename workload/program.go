package workload

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// program is the file that a process runs.
type program struct {
	file         file
	path, digest string
}

// file identifies one content of one file: the change time cannot be set
// back by who may write the file.
type file struct {
	dev, ino       uint64
	size           int64
	mtime, mtimeNS int64
	ctime, ctimeNS int64
}

// programs remembers digests. Of one account it reads one file at a time, so
// that a file which is slow to read hinders only its own account.
type programs struct {
	mu      sync.Mutex
	digests map[file]string
	reading map[uint32]chan struct{}
}

func newPrograms() *programs {
	return &programs{digests: map[file]string{}, reading: map[uint32]chan struct{}{}}
}

// of says what a process runs; what cannot be learned is empty.
func (ps *programs) of(ctx context.Context, pid int32, uid uint32) program {
	link := "/proc/" + strconv.Itoa(int(pid)) + "/exe"
	f, err := os.Open(link)
	if err != nil {
		return program{} // another account's, and this one is not root
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return program{}
	}
	var p program
	if p.file, err = fileOf(info); err != nil {
		return program{}
	}
	if path, err := os.Readlink(link); err == nil {
		if there, err := os.Stat(path); err == nil && os.SameFile(there, info) {
			p.path = path
		}
	}
	p.digest = ps.digest(ctx, f, p.file, uid)
	return p
}

func fileOf(info os.FileInfo) (file, error) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return file{}, os.ErrInvalid
	}
	return file{
		dev: s.Dev, ino: s.Ino, size: s.Size,
		mtime: s.Mtim.Sec, mtimeNS: s.Mtim.Nsec, ctime: s.Ctim.Sec, ctimeNS: s.Ctim.Nsec,
	}, nil
}

func (ps *programs) digest(ctx context.Context, f *os.File, key file, uid uint32) string {
	if key.size > maxExecutable {
		return ""
	}
	ps.mu.Lock()
	turn := ps.reading[uid]
	if turn == nil {
		turn = make(chan struct{}, 1)
		ps.reading[uid] = turn
	}
	ps.mu.Unlock()
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return ""
	}
	ps.mu.Lock()
	d, ok := ps.digests[key]
	ps.mu.Unlock()
	if ok {
		return d
	}
	h := sha256.New()
	if n, err := io.Copy(h, io.LimitReader(f, maxExecutable+1)); err != nil || n != key.size {
		return ""
	}
	// Written meanwhile: then nobody knows what was hashed.
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	if now, err := fileOf(info); err != nil || now != key {
		return ""
	}
	d = "sha256:" + hex.EncodeToString(h.Sum(nil))
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if len(ps.digests) >= maxDigests {
		clear(ps.digests)
	}
	ps.digests[key] = d
	return d
}
