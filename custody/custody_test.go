package custody_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/custody"
	"github.com/sallyport-dev/sallyport/secret"
)

// goldenKey is the key of testdata/golden.age, and of nothing else.
const goldenKey = "AGE-SECRET-KEY-1WWMQ0AM66MFWVE8T6020JMVCDU39XWDG5RFEH309P8S606AHYGFQGUJ6TW"

func keys(lines ...string) custody.Keys {
	return func() (secret.Value, error) { return secret.Text(strings.Join(lines, "\n")), nil }
}

func newKey(t testing.TB) string {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id.String()
}

func box(lines ...string) *custody.Box { return custody.NewBox(keys(lines...), keys(lines...)) }

func seal(t testing.TB, b *custody.Box, name, text string) []byte {
	t.Helper()
	sealed, err := b.Seal(name, secret.Text(text))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if sallyport.CodeOf(err) != code {
		t.Errorf("the error is %v, not of code %s", err, code)
	}
}

// What was sealed by this version is opened by every later one.
func TestGolden(t *testing.T) {
	sealed, err := os.ReadFile("testdata/golden.age")
	if err != nil {
		t.Fatal(err)
	}
	v, err := box(goldenKey).Open("lease/sp_golden", sealed)
	if err != nil || v.UnsafeString() != "golden secret" {
		t.Errorf("%q %v", v.UnsafeString(), err)
	}
	// The form, as the package's comment says it.
	id, err := age.ParseX25519Identity(goldenKey)
	if err != nil {
		t.Fatal(err)
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), id)
	if err != nil {
		t.Fatal(err)
	}
	var plain bytes.Buffer
	if _, err := plain.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	if want := "sallyport-custody-v1\x00\x00\x0flease/sp_goldengolden secret"; plain.String() != want {
		t.Errorf("the envelope is %q", plain.String())
	}
}

func TestSealAndOpen(t *testing.T) {
	b := box(newKey(t))
	for _, text := range []string{"", "s", strings.Repeat("long ", 10_000), "\x00\xff\n"} {
		v, err := b.Open("a", seal(t, b, "a", text))
		if err != nil || v.UnsafeString() != text {
			t.Errorf("%d bytes come back as %d: %v", len(text), v.Len(), err)
		}
	}
	a, c := seal(t, b, "a", "same"), seal(t, b, "a", "same")
	if bytes.Equal(a, c) {
		t.Error("what is the same looks the same sealed")
	}
	_, err := b.Seal("a", secret.Text(strings.Repeat("x", custody.MaxSecret+1)))
	wantCode(t, err, "custody_size")
	_, err = b.Seal("", secret.Text("x"))
	wantCode(t, err, "custody_size")
}

// What was sealed under one name opens under no other, even where the two
// could be cut differently.
func TestBoundToItsName(t *testing.T) {
	b := box(newKey(t))
	sealed := seal(t, b, "key/a", "bsecret")
	for _, name := range []string{"key/b", "key/ab", "key/", "", "key/a\x00"} {
		_, err := b.Open(name, sealed)
		wantCode(t, err, "custody_sealed")
	}
}

// No changed byte goes unnoticed.
func TestChanged(t *testing.T) {
	b := box(newKey(t))
	sealed := seal(t, b, "a", "secret")
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if v, err := b.Open("a", bad); err == nil {
			t.Errorf("byte %d was changed and it opens: %d bytes", i, v.Len())
		}
	}
	for n := range sealed {
		if _, err := b.Open("a", sealed[:n]); err == nil {
			t.Errorf("%d of %d bytes open", n, len(sealed))
		}
	}
	if _, err := b.Open("a", append(bytes.Clone(sealed), 0)); err == nil {
		t.Error("a byte more opens")
	}
	_, err := b.Open("a", make([]byte, 1<<20))
	wantCode(t, err, "custody_sealed")
}

// An age file for the right key that is no envelope is refused.
func TestNotAnEnvelope(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "secret", "sallyport-custody-v1\x00", "sallyport-custody-v1\x00\xff\xffa"} {
		var out bytes.Buffer
		w, err := age.Encrypt(&out, id.Recipient())
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err = errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		_, err = box(id.String()).Open("a", out.Bytes())
		wantCode(t, err, "custody_sealed")
	}
}

// A new key stands before the old one, which still opens.
func TestOldKeysOpen(t *testing.T) {
	old, next := newKey(t), newKey(t)
	before := seal(t, box(old), "a", "before")
	both := box("# made in spring", next, "", old)
	if v, err := both.Open("a", before); err != nil || v.UnsafeString() != "before" {
		t.Errorf("the old key does not open: %v", err)
	}
	after := seal(t, both, "a", "after")
	if v, err := box(next).Open("a", after); err != nil || v.UnsafeString() != "after" {
		t.Errorf("the first key did not seal: %v", err)
	}
	_, err := box(old).Open("a", after)
	wantCode(t, err, "custody_sealed")
	_, err = box(next).Open("a", before)
	wantCode(t, err, "custody_sealed")
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	quantum := box(hybrid.String(), old)
	if v, err := quantum.Open("a", seal(t, quantum, "a", "x")); err != nil || v.UnsafeString() != "x" {
		t.Errorf("a hybrid key: %v", err)
	}
}

// An error never holds a part of a key.
func TestBadKeys(t *testing.T) {
	good := newKey(t)
	for _, text := range []string{"", "# nothing", good[:40], strings.ToLower(good[:30]), good + "X", "not a key: hunter2hunter2", strings.Repeat("# more\n", 20_000) + good} {
		_, err := box(text).Seal("a", secret.Text("x"))
		wantCode(t, err, "custody_key")
		if err != nil && (strings.Contains(err.Error(), good[20:40]) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("the error repeats the key: %v", err)
		}
	}
	broken := errors.New("gone")
	_, err := custody.NewBox(func() (secret.Value, error) { return secret.Value{}, broken }, keys(good)).Seal("a", secret.Text("x"))
	if !errors.Is(err, broken) {
		t.Errorf("a key that cannot be read: %v", err)
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "custody.key")
	sealKeys, openKeys := custody.KeyFile(path)
	b := custody.NewBox(sealKeys, openKeys)
	// Opening makes no key: it could open nothing.
	if _, err := b.Open("a", []byte("x")); sallyport.CodeOf(err) != "custody_key" {
		t.Errorf("opening without a key: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("opening made a key")
	}
	// Many at once seal with the same new key.
	var wg sync.WaitGroup
	sealed := make([][]byte, 16)
	for i := range sealed {
		wg.Go(func() { sealed[i], _ = b.Seal("a", secret.Text("x")) })
	}
	wg.Wait()
	for i, s := range sealed {
		if v, err := b.Open("a", s); err != nil || v.UnsafeString() != "x" {
			t.Errorf("the %d. cannot be opened: %v", i, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".new*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	_, err = b.Seal("a", secret.Text("x"))
	wantCode(t, err, "custody_key")
}

func TestStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "custody")
	key := newKey(t)
	s := custody.NewStore(dir, box(key))
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	if ks, err := s.List(); err != nil || len(ks) != 0 {
		t.Errorf("an empty store lists %v %v", ks, err)
	}
	if err := s.Put("bot", []string{"b.example:443", "a.example:443"}, secret.Text("first"), now); err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.Put("bot", nil, secret.Text("second"), now), "custody_exists")
	for _, bad := range []string{"", "../bot", "Bot", ".bot", "a/b", strings.Repeat("a", 41)} {
		wantCode(t, s.Put(bad, nil, secret.Text("x"), now), "custody_name")
		_, _, err := s.Get(bad)
		wantCode(t, err, "custody_name")
		wantCode(t, s.Remove(bad), "custody_name")
	}
	k, v, err := s.Get("bot")
	if err != nil || v.UnsafeString() != "first" || !slices.Equal(k.Hosts, []string{"a.example:443", "b.example:443"}) || !k.Rotated.Equal(now) {
		t.Errorf("%+v %q %v", k, v.UnsafeString(), err)
	}
	later := now.Add(24 * time.Hour)
	if err := s.Rotate("bot", secret.Text("second"), later); err != nil {
		t.Fatal(err)
	}
	k, v, err = s.Get("bot")
	if err != nil || v.UnsafeString() != "second" || !k.Created.Equal(now) || !k.Rotated.Equal(later) {
		t.Errorf("%+v %q %v", k, v.UnsafeString(), err)
	}
	wantCode(t, s.Rotate("none", secret.Text("x"), now), "custody_none")
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, f := range files {
		text, err := os.ReadFile(f)
		info, serr := os.Stat(f)
		if err != nil || serr != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v %v", f, info.Mode(), err, serr)
		}
		if bytes.Contains(text, []byte("second")) {
			t.Errorf("%s holds the secret", f)
		}
	}
	// Who changes where it may go gets nothing out.
	text, err := os.ReadFile(filepath.Join(dir, "bot.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	m["hosts"] = []string{"evil.example:443"}
	changed, _ := json.Marshal(m)
	if err := os.WriteFile(filepath.Join(dir, "bot.json"), changed, 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = s.Get("bot")
	wantCode(t, err, "custody_sealed")
	if err := os.WriteFile(filepath.Join(dir, "bot.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	// Nor who moves it to another name.
	if err := s.Put("other", []string{"a.example:443"}, secret.Text("other"), now); err != nil {
		t.Fatal(err)
	}
	moved, err := os.ReadFile(filepath.Join(dir, "bot.age"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "other.age"), moved, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = s.Get("other")
	wantCode(t, err, "custody_sealed")
	if ks, err := s.List(); err != nil || len(ks) != 2 || ks[0].Name != "bot" || ks[1].Name != "other" {
		t.Errorf("%v %v", ks, err)
	}
	for _, name := range []string{"bot", "other"} {
		if err := s.Remove(name); err != nil {
			t.Error(err)
		}
	}
	wantCode(t, s.Remove("bot"), "custody_none")
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A crash between the two files of a key leaves what can be gone on with.
func TestStoreCutShort(t *testing.T) {
	dir := t.TempDir()
	s := custody.NewStore(dir, box(newKey(t)))
	now := time.Now()
	// Put writes the description first.
	if err := os.WriteFile(filepath.Join(dir, "bot.json"), []byte(`{"name":"bot","hosts":["x"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := s.Get("bot")
	wantCode(t, err, "custody_none")
	if err := s.Put("bot", []string{"a.example:443"}, secret.Text("v"), now); err != nil {
		t.Errorf("put after a crash: %v", err)
	}
	if _, v, err := s.Get("bot"); err != nil || v.UnsafeString() != "v" {
		t.Error(err)
	}
}

// A lost key is not quietly replaced by a new one.
func TestLostKey(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "custody.key")
	s := custody.NewStore(filepath.Join(dir, "custody"), custody.NewBox(custody.KeyFile(path)))
	if err := s.Put("bot", nil, secret.Text("v"), time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.Put("other", nil, secret.Text("v"), time.Now()), "custody_key")
	wantCode(t, s.Rotate("bot", secret.Text("v"), time.Now()), "custody_key")
	if _, err := os.Stat(path); err == nil {
		t.Error("a new key was made")
	}
	if err := s.Remove("bot"); err != nil {
		t.Error(err)
	}
	if err := s.Put("other", nil, secret.Text("v"), time.Now()); err != nil {
		t.Errorf("with nothing sealed a new key is made: %v", err)
	}
}

// Whatever is opened, nothing panics, and what opens was sealed under the name.
func FuzzOpen(f *testing.F) {
	golden, err := os.ReadFile("testdata/golden.age")
	if err != nil {
		f.Fatal(err)
	}
	f.Add("lease/sp_golden", golden)
	f.Add("lease/sp_other", golden)
	f.Add("", []byte("age-encryption.org/v1\n-> X25519 x\n"))
	b := box(goldenKey)
	f.Fuzz(func(t *testing.T, name string, sealed []byte) {
		v, err := b.Open(name, sealed)
		if err == nil && (name != "lease/sp_golden" || v.UnsafeString() != "golden secret" || !bytes.Equal(sealed, golden)) {
			t.Errorf("%q opens as %q", name, v.UnsafeString())
		}
	})
}

func BenchmarkSealOpen(b *testing.B) {
	x := box(newKey(b))
	for b.Loop() {
		if _, err := x.Open("a", seal(b, x, "a", "secret")); err != nil {
			b.Fatal(err)
		}
	}
}
