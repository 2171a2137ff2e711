package ssh

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport"
)

// krl is a key revocation list in the format of OpenSSH's PROTOCOL.krl: one
// section of serial numbers, of any authority. The numbers are the 60 bits of
// lease ids, so that they meet no other authority's that counts from one.
//
// Gateways may share a file: a change is read, made and renamed into place
// under a lock of its directory. A reader sees one list or the next.
type krl struct{ path string }

const (
	// forget is how long a serial number stays in the list after its lease
	// was made: the certificate was signed within mintable, lives for MaxTTL,
	// and clocks differ.
	forget = time.Hour

	krlMagic    = 0x5353484b524c0a00 // "SSHKRL\n\x00"
	krlFormat   = 1
	krlComment  = "sallyport leases; written by the gateway"
	sectionCert = 1
	serialList  = 0x20
	maxKRL      = 8 << 20 // bytes: a million certificates in an hour
)

// What a list consists of, on the wire.
type krlHeader struct {
	Magic              uint64
	Format             uint32
	Version, Generated uint64
	Flags              uint64
	Reserved, Comment  string
	Rest               []byte `ssh:"rest"`
}

type krlSection struct {
	Kind byte
	Data string
}

type krlCerts struct {
	CA, Reserved string
	Kind         byte
	Serials      string
}

var errForeign = &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: "it is a revocation list of somebody else, or none",
	Fix: "name a file of the gateway's own; a server reads one list, so join others to a copy of it"}

// change drops what has expired and adds a serial number, or only makes a list
// where none is.
func (k *krl) change(ctx context.Context, serial uint64, create bool) error {
	dir, err := os.Open(filepath.Dir(k.path))
	if err != nil {
		return err
	}
	defer dir.Close() // unlocks
	for {
		err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	version, serials, err := k.read()
	if create && err == nil {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if serial != 0 {
		serials = append(serials, serial)
	}
	slices.Sort(serials)
	serials = slices.Compact(serials)
	// The numbers begin with the time that they were made.
	oldest := time.Now().Add(-forget)
	serials = slices.DeleteFunc(serials, func(n uint64) bool { return madeAt(n).Before(oldest) })
	return k.write(ctx, dir, version+1, serials)
}

// madeAt is when the lease of a serial number was made.
func madeAt(n uint64) time.Time {
	body := make([]byte, 12)
	for i := range body {
		body[i] = crockford[n>>(5*(11-i))&31]
	}
	return sallyport.ID("l_" + string(body)).Time()
}

// read returns the list's version and serial numbers; fs.ErrNotExist where
// there is none, errForeign where it is not one that write wrote.
func (k *krl) read() (uint64, []uint64, error) {
	f, err := os.Open(k.path)
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKRL+1))
	if err != nil {
		return 0, nil, err
	}
	var h krlHeader
	if len(text) > maxKRL || ssh.Unmarshal(text, &h) != nil || h.Magic != krlMagic || h.Format != krlFormat || h.Comment != krlComment {
		return 0, nil, errForeign
	}
	if len(h.Rest) == 0 {
		return h.Version, nil, nil
	}
	var s krlSection
	var c krlCerts
	if ssh.Unmarshal(h.Rest, &s) != nil || s.Kind != sectionCert || ssh.Unmarshal([]byte(s.Data), &c) != nil ||
		c.CA != "" || c.Kind != serialList || len(c.Serials)%8 != 0 {
		return 0, nil, errForeign
	}
	serials := make([]uint64, 0, len(c.Serials)/8)
	for b := []byte(c.Serials); len(b) > 0; b = b[8:] {
		serials = append(serials, binary.BigEndian.Uint64(b))
	}
	return h.Version, serials, nil
}

// write replaces the list, and returns when it is on disk.
func (k *krl) write(ctx context.Context, dir *os.File, version uint64, serials []uint64) error {
	h := krlHeader{Magic: krlMagic, Format: krlFormat, Version: version, Generated: uint64(time.Now().Unix()), Comment: krlComment}
	if len(serials) > 0 {
		var list []byte
		for _, n := range serials {
			list = binary.BigEndian.AppendUint64(list, n)
		}
		h.Rest = ssh.Marshal(krlSection{sectionCert, string(ssh.Marshal(krlCerts{Kind: serialList, Serials: string(list)}))})
	}
	text := ssh.Marshal(h)
	if len(text) > maxKRL {
		return errors.New("it would be longer than 8 MiB")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(k.path), "."+filepath.Base(k.path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone where it was renamed
	defer f.Close()
	// A revocation list is no secret, and a server may read it as another user.
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), k.path); err != nil {
		return err
	}
	return dir.Sync()
}
