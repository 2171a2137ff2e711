package oauth_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"github.com/sallyport-dev/sallyport/identity"
)

// The Go MCP SDK's client signs in by URL alone: metadata, registration or
// its document, consent, token, refresh.
func TestGoSDKSignsIn(t *testing.T) {
	r := newRig(t)
	r.agent("anything", "*", "triage")
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	defer srv.Close()
	mux.HandleFunc("/", func(w http.ResponseWriter, q *http.Request) { r.server.ServeHTTP(w, q) })
	mux.HandleFunc("GET /.well-known/oauth-protected-resource/mcp", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"resource": srv.URL + "/mcp", "authorization_servers": []string{srv.URL}, "scopes_supported": []string{"task"}})
	})
	r.config.URL, r.config.MTLS = srv.URL, ""
	r.Issuer.SetURL(srv.URL)
	r.restart()
	for name, c := range map[string]struct {
		config   auth.AuthorizationCodeHandlerConfig
		redirect string
	}{
		"registered": {auth.AuthorizationCodeHandlerConfig{DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{
			Metadata: &oauthex.ClientRegistrationMetadata{ClientName: "SDK", RedirectURIs: []string{"http://127.0.0.1:4711/callback"}},
		}}, "http://127.0.0.1:4711/callback"},
		"by its document": {auth.AuthorizationCodeHandlerConfig{ClientIDMetadataDocumentConfig: &auth.ClientIDMetadataDocumentConfig{URL: clientID}}, redirect},
	} {
		t.Run(name, func(t *testing.T) {
			c.config.RedirectURL, c.config.RequestRefreshToken = c.redirect, true
			c.config.AuthorizationCodeFetcher = func(_ context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
				u, err := url.Parse(args.URL)
				if err != nil {
					return nil, err
				}
				q := u.Query()
				q.Set("template", "triage") // what the person picks
				back, err := url.Parse(r.consents(q.Encode(), "allow", map[string]string{"slot.ticket": "T-1"}).Header.Get("Location"))
				if err != nil {
					return nil, err
				}
				return &auth.AuthorizationResult{Code: back.Query().Get("code"), State: back.Query().Get("state"), Iss: back.Query().Get("iss")}, nil
			}
			h, err := auth.NewAuthorizationCodeHandler(&c.config)
			if err != nil {
				t.Fatal(err)
			}
			ctx := context.Background()
			req := httptest.NewRequest("POST", srv.URL+"/mcp", nil)
			w := httptest.NewRecorder()
			w.Header().Set("WWW-Authenticate", `Bearer scope="task"`)
			w.WriteHeader(http.StatusUnauthorized)
			if err := h.Authorize(ctx, req, w.Result()); err != nil {
				t.Fatal(err)
			}
			source, err := h.TokenSource(ctx)
			if err != nil {
				t.Fatal(err)
			}
			token, err := source.Token()
			if err != nil || token.RefreshToken == "" {
				t.Fatal(token, err)
			}
			who, err := r.Verify(identity.Evidence{Scheme: "Bearer", Token: token.AccessToken, Method: "POST", URL: srv.URL + "/mcp"})
			if err != nil || who.Binding() != identity.BindingNone {
				t.Errorf("%v, %v", who, err)
			}
		})
	}
}
