package oauth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/canon"
)

// b64 is base64url without padding and without trailing bits, so that no id
// can be written in two ways.
var b64 = base64.RawURLEncoding.Strict()

// registeredPrefix starts the client id of a client that registered itself.
// After it come what the client said, and a MAC of it, so that the server
// keeps nothing for strangers.
const registeredPrefix = "dcr."

// register is dynamic client registration (RFC 7591). It writes nothing: the
// client id is the registration. The same words make the same id, also on
// another day and on another port of the loopback, so that an agent can be
// registered for it.
func (s *Server) register(w http.ResponseWriter, r *http.Request) {
	if ct, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || ct != "application/json" {
		s.fail(w, r, refuse("invalid_client_metadata", "the body must be of type application/json"))
		return
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxDocument))
	if err != nil {
		s.fail(w, r, refuse("invalid_client_metadata", "the body has more than %d bytes, or broke off", maxDocument))
		return
	}
	c, err := parseClient(text, maxDocument)
	switch {
	case err != nil:
	case len(c.redirects) == 0:
		err = refuse("invalid_redirect_uri", "a client that registers itself has a redirect URI")
	case c.method == "private_key_jwt" || c.jwks != nil || c.jwksURI != "":
		// Its keys would be as unverified as its name.
		err = refuse("invalid_client_metadata", "a client with keys publishes a client ID metadata document, and uses its URL as client_id")
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	id := s.registrationID(c)
	if len(id) > maxClientID {
		s.fail(w, r, refuse("invalid_client_metadata", "the name and the redirect URIs are too long together"))
		return
	}
	// A shared secret that was asked for is not given: the method that is
	// returned is the one that holds (RFC 7591 section 3.2.1).
	send(w, http.StatusCreated, map[string]any{
		"client_id": id, "client_name": c.name, "redirect_uris": c.redirects, "token_endpoint_auth_method": "none",
		"grant_types": []string{GrantCode, GrantRefresh}, "response_types": []string{"code"},
	})
}

// registrationID makes the client id.
func (s *Server) registrationID(c *client) string {
	uris := make([]canon.Value, len(c.redirects))
	for i, text := range c.redirects {
		if u, ok := redirectURI(text); ok && u.Scheme == "http" {
			text = portless(text, u)
		}
		uris[i] = canon.StringValue(text)
	}
	slices.SortFunc(uris, func(a, b canon.Value) int { return strings.Compare(a.Text(), b.Text()) })
	uris = slices.CompactFunc(uris, canon.Value.Equal)
	text := canon.ObjectValue(
		canon.Member{Name: "n", Value: canon.StringValue(c.name)},
		canon.Member{Name: "r", Value: canon.ArrayValue(uris...)},
	).Canonical()
	return registeredPrefix + b64.EncodeToString(text) + "." + b64.EncodeToString(s.mac(s.keys.client, text))
}

// registered reads a client id that registrationID made.
func (s *Server) registered(id string) (*client, error) {
	bad := refuse("invalid_client", "the client_id was not made by this server: register again")
	body, mac, ok := strings.Cut(strings.TrimPrefix(id, registeredPrefix), ".")
	text, err := b64.DecodeString(body)
	got, err2 := b64.DecodeString(mac)
	if !ok || err != nil || err2 != nil || !hmac.Equal(got, s.mac(s.keys.client, text)) {
		return nil, bad
	}
	v, err := canon.Parse(text, canon.RequestLimits)
	if err != nil {
		return nil, bad
	}
	name, _ := v.Get("n")
	uris, _ := v.Get("r")
	h := sha256.Sum256(text)
	c := &client{id: id, stable: "dcr:" + b64.EncodeToString(h[:15]), name: name.Text(), method: "none"}
	for _, u := range uris.Elems() {
		c.redirects = append(c.redirects, u.Text())
	}
	return c, nil
}

func (s *Server) mac(key, text []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(text)
	return h.Sum(nil)[:16]
}
