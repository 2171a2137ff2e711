package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"github.com/sallyport-dev/sallyport/sallyporttest"
)

const goHostRedirect = "http://127.0.0.1:4711/callback"

// impatient is a host's transport that takes every token for one that is about
// to expire, and so renews it for each request.
type impatient struct {
	mu     sync.Mutex
	grants []string // grant_type of each token request
}

func (i *impatient) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path != "/oauth/token" {
		return http.DefaultTransport.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	i.grants = append(i.grants, form.Get("grant_type"))
	i.mu.Unlock()
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	var answer map[string]any
	err = json.NewDecoder(resp.Body).Decode(&answer)
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	answer["expires_in"] = 1
	text, err := json.Marshal(answer)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	resp.Header.Del("Content-Length")
	return resp, err
}

// TestGoHost: a host of the official Go SDK signs in with nothing but the URL,
// as a client that registers itself and as one that a document describes, and
// renews its tokens without its user.
func TestGoHost(t *testing.T) {
	// The document lies on a server of this machine, whose certificate the
	// gateway is told to trust.
	var document string
	hosted := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/client.json" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"client_id": document, "client_name": "Host by its document", "redirect_uris": []string{goHostRedirect},
			"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"}, "token_endpoint_auth_method": "none",
		})
	}))
	defer hosted.Close()
	document = hosted.URL + "/client.json"
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: hosted.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", roots)
	h := openHouse(t)
	for name, c := range map[string]struct {
		config auth.AuthorizationCodeHandlerConfig
		shown  []string // on the consent page
	}{
		"registered": {auth.AuthorizationCodeHandlerConfig{DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{
			Metadata: &oauthex.ClientRegistrationMetadata{ClientName: "Host of its own words", RedirectURIs: []string{goHostRedirect}},
		}}, []string{"Host of its own words", "nowhere: it described itself"}},
		"by its document": {auth.AuthorizationCodeHandlerConfig{
			ClientIDMetadataDocumentConfig: &auth.ClientIDMetadataDocumentConfig{URL: document},
		}, []string{"Host by its document", document}},
	} {
		t.Run(name, func(t *testing.T) {
			asked, renewing := 0, &impatient{}
			c.config.RedirectURL, c.config.RequestRefreshToken, c.config.Client = goHostRedirect, true, &http.Client{Transport: renewing}
			c.config.AuthorizationCodeFetcher = func(_ context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
				asked++
				browser := sallyporttest.Browser(t)
				browser.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
					if strings.HasPrefix(r.URL.String(), goHostRedirect) {
						return http.ErrUseLastResponse // the host takes it from here
					}
					return nil
				}
				resp, page := answerConsent(t, browser, h.idp.SignIn(browser, args.URL, "dana"), "allow", map[string]string{"ticket": "4711"})
				resp.Body.Close()
				for _, s := range c.shown {
					if !strings.Contains(page, s) {
						t.Errorf("the consent page does not say %s:\n%s", s, page)
					}
				}
				back, err := resp.Location()
				if err != nil {
					return nil, err
				}
				q := back.Query()
				return &auth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}, nil
			}
			handler, err := auth.NewAuthorizationCodeHandler(&c.config)
			if err != nil {
				t.Fatal(err)
			}
			client := mcp.NewClient(&mcp.Implementation{Name: "go-host", Version: "1"}, nil)
			session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: h.url + "/mcp", OAuthHandler: handler, DisableStandaloneSSE: true}, nil)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				r, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "desk__look", Arguments: map[string]any{"ticket": "4711"}})
				if err != nil || r.IsError {
					t.Fatalf("%v %+v", err, r)
				}
				if text, ok := r.Content[0].(*mcp.TextContent); !ok || text.Text != `look {"ticket":"4711"}` {
					t.Errorf("the host got %+v", r.Content[0])
				}
			}
			if err := session.Close(); err != nil {
				t.Error(err)
			}
			renewals := slices.DeleteFunc(slices.Clone(renewing.grants), func(g string) bool { return g != "refresh_token" })
			if asked != 1 || len(renewals) < 3 || renewing.grants[0] != "authorization_code" {
				t.Errorf("the person was asked %d times; the tokens came by %v", asked, renewing.grants)
			}
		})
	}
}
