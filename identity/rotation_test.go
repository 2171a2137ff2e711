package identity

import (
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sallyport-dev/sallyport"
)

// TestRotationLosesNoToken: however keys rotate, are pruned and read again,
// a token counts until it expires and not a second longer, and no more keys
// are kept than there may be.
func TestRotationLosesNoToken(t *testing.T) {
	dirs := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(dirs, "")
		if err != nil {
			t.Fatal(err)
		}
		now := testNow
		open := func() *Issuer {
			i, err := OpenIssuer(dir, "example.org", now)
			if err != nil {
				t.Fatal(err)
			}
			i.SetURL("https://gate.example.org")
			return i
		}
		i := open()
		key, err := NewAgentKey("example.org", "bot")
		if err != nil {
			t.Fatal(err)
		}
		type minted struct {
			token string
			exp   time.Time
		}
		var tokens []minted
		t.Repeat(map[string]func(*rapid.T){
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 400_000).Draw(t, "ms")) * time.Millisecond)
			},
			"mint": func(t *rapid.T) {
				tt := taskToken(key)
				tt.Expires = now.Add(time.Hour)
				s, err := i.MintTaskToken(tt, now)
				if err != nil {
					t.Fatal(err)
				}
				tokens = append(tokens, minted{s, time.Unix(now.Add(MaxTaskTokenTTL).Unix(), 0)})
			},
			"rotate": func(t *rapid.T) {
				if err := i.Rotate(now); err != nil && sallyport.CodeOf(err) != "rotated_too_soon" {
					t.Fatal(err)
				}
			},
			"prune": func(t *rapid.T) {
				if err := i.Prune(now); err != nil {
					t.Fatal(err)
				}
			},
			"restart": func(t *rapid.T) { i = open() },
			"": func(t *rapid.T) {
				if n := len(i.keys); n < 1 || n > maxIssuerKeys || !i.keys[0].retired.IsZero() {
					t.Fatalf("%d keys", n)
				}
				for _, k := range tokens {
					_, err := i.Inspect(k.token, now)
					if alive := now.Before(k.exp); alive != (err == nil) {
						t.Fatalf("a token that ends at %s, at %s: %v", k.exp, now, err)
					}
				}
			},
		})
	})
}
