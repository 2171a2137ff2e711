package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/api"
	"github.com/sallyport-dev/sallyport/identity"
)

// TestAGatewayGetsNoEvidenceForAnother: a gateway that says it is another one
// does not get an agent's assertion for that one's name.
func TestAGatewayGetsNoEvidenceForAnother(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	path := defaultKeyFile("example.org", "bot")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	key, err := identity.NewAgentKey("example.org", "bot")
	if err != nil {
		t.Fatal(err)
	}
	if err := identity.SaveAgentKey(path, key); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var asked []string
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.URL.Path)
		mu.Unlock()
		_ = json.NewEncoder(w).Encode(api.Status{Domain: "example.org", Issuer: "https://gate.example.org", User: "dana"})
	}))
	defer evil.Close()
	plain := func(*http.Request) error { return nil }
	s := starter{agent: "bot", template: "look"}
	_, err = s.startWith(t.Context(), api.NewRemote(evil.URL, plain), &signIn{gateway: evil.URL, key: key, http: http.DefaultClient}, "")
	var e *sallyport.Error
	if !errors.As(err, &e) || e.Code != "other_issuer" {
		t.Errorf("%v", err)
	}
	if !slices.Equal(asked, []string{"/v1/status"}) {
		t.Errorf("it was asked for %v", asked)
	}
}

// TestIDTokensAreForTheClient: whatever other audiences there are, the first is
// the client id, which an ID token must be for.
func TestIDTokensAreForTheClient(t *testing.T) {
	for _, audience := range []stringList{nil, {"api"}, {"api", "gate"}, {"gate", "api"}} {
		o := OIDCConfig{Issuer: "https://login.example.org", ClientID: "gate", Audience: audience}
		if got := o.provider().Audience; got[0] != "gate" || len(slices.Compact(slices.Sorted(slices.Values(got)))) != len(got) {
			t.Errorf("%v becomes %v", audience, got)
		}
	}
}
