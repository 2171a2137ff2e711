package login

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"sync"
	"time"
)

var b64 = base64.RawURLEncoding.Strict()

// random returns 256 bits in base64url.
func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: it aborts the program
	return b64.EncodeToString(b[:])
}

// sealer keeps what belongs to a begun sign-in in the browser that began it:
// encrypted and authenticated, so that nobody fills the gateway's memory by
// beginning sign-ins, and nobody but that browser can finish one.
type sealer struct {
	aead cipher.AEAD
	now  func() time.Time

	mu   sync.Mutex
	used map[string]time.Time // id to when it lapses by itself
}

func newSealer(secret []byte, now func() time.Time) (*sealer, error) {
	if len(secret) < 32 {
		return nil, errors.New("the secret has less than 32 bytes")
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "sallyport-login-seal-v1", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &sealer{aead: aead, now: now, used: map[string]time.Time{}}, err
}

// sealed is what stands in the cookie.
type sealed struct {
	ID      string          `json:"i"`
	Expires int64           `json:"e"` // Unix seconds
	Value   json.RawMessage `json:"v"`
}

// seal writes v for one purpose; it opens for no other, and not after ttl.
func (s *sealer) seal(purpose string, v any, ttl time.Duration) (string, error) {
	value, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(sealed{random(), s.now().Add(ttl).Unix(), value})
	if err != nil {
		return "", err
	}
	return b64.EncodeToString(s.aead.Seal(nil, nil, text, []byte(purpose))), nil
}

// open reads what seal wrote for the same purpose, and returns the id under
// which spend uses it up.
func (s *sealer) open(purpose, text string, v any) (sealed, bool) {
	var in sealed
	raw, err := b64.DecodeString(text)
	if err != nil {
		return sealed{}, false
	}
	plain, err := s.aead.Open(nil, nil, raw, []byte(purpose))
	if err != nil || json.Unmarshal(plain, &in) != nil || json.Unmarshal(in.Value, v) != nil {
		return sealed{}, false
	}
	return in, s.now().Before(time.Unix(in.Expires, 0))
}

// spend reports whether a sealed value is used for the first time. When more
// are remembered than may be, it says no: then the sign-in has to wait.
func (s *sealer) spend(in sealed) bool {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.used[in.ID]; ok || in.ID == "" {
		return false
	}
	if len(s.used) >= maxUsed {
		for id, until := range s.used {
			if !now.Before(until) {
				delete(s.used, id)
			}
		}
		if len(s.used) >= maxUsed {
			return false
		}
	}
	s.used[in.ID] = time.Unix(in.Expires, 0)
	return true
}
