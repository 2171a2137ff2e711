package oauth

import (
	"net/http"
	"slices"
)

// metadata serves the authorization server's metadata (RFC 8414). The same
// document stands where OpenID Connect looks, for clients that look only
// there: it offers no ID tokens.
func (s *Server) metadata(w http.ResponseWriter, _ *http.Request) {
	u := s.c.URL
	methods := s.authMethods()
	doc := map[string]any{
		"issuer":                                                   u,
		"authorization_endpoint":                                   u + "/oauth/authorize",
		"token_endpoint":                                           u + "/oauth/token",
		"registration_endpoint":                                    u + "/oauth/register",
		"introspection_endpoint":                                   u + "/oauth/introspect",
		"revocation_endpoint":                                      u + "/oauth/revoke",
		"device_authorization_endpoint":                            u + "/oauth/device_authorization",
		"jwks_uri":                                                 u + "/oauth/jwks",
		"scopes_supported":                                         s.scopes(),
		"response_types_supported":                                 []string{"code"},
		"response_modes_supported":                                 []string{"query"},
		"grant_types_supported":                                    []string{GrantCode, GrantRefresh, GrantTokenExchange, GrantDevice, GrantJWTBearer},
		"code_challenge_methods_supported":                         []string{"S256"},
		"token_endpoint_auth_methods_supported":                    methods,
		"token_endpoint_auth_signing_alg_values_supported":         algorithmNames(),
		"introspection_endpoint_auth_methods_supported":            methods,
		"introspection_endpoint_auth_signing_alg_values_supported": algorithmNames(),
		"revocation_endpoint_auth_methods_supported":               methods,
		"revocation_endpoint_auth_signing_alg_values_supported":    algorithmNames(),
		"dpop_signing_alg_values_supported":                        []string{"ES256", "EdDSA"},
		"authorization_details_types_supported":                    []string{TaskDetail},
		"authorization_response_iss_parameter_supported":           true, // RFC 9207
		"client_id_metadata_document_supported":                    s.c.FetchClient != nil,
		"authorization_grant_profiles_supported":                   []string{"urn:ietf:params:oauth:grant-profile:id-jag"},
	}
	if s.c.MTLS != "" {
		doc["tls_client_certificate_bound_access_tokens"] = true
		doc["mtls_endpoint_aliases"] = map[string]string{ // RFC 8705 section 5
			"token_endpoint":         s.c.MTLS + "/oauth/token",
			"introspection_endpoint": s.c.MTLS + "/oauth/introspect",
			"revocation_endpoint":    s.c.MTLS + "/oauth/revoke",
		}
	}
	send(w, http.StatusOK, doc)
}

// authMethods are the ways in which clients say who they are. The names of the
// SPIFFE ones are those of draft-ietf-oauth-spiffe-client-auth.
func (s *Server) authMethods() []string {
	m := []string{"none", "private_key_jwt", "spiffe_jwt"}
	if s.c.MTLS != "" {
		m = append(m, "spiffe_x509")
	}
	return m
}

// scopes names no template: which there are is nobody's business before they
// signed in.
func (s *Server) scopes() []string { return []string{ScopeTask, ScopeOffline} }

// jwks serves the keys that task tokens and user tokens verify with.
func (s *Server) jwks(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(s.c.Issuer.JWKS()) // the peer is gone if it fails
}

// resource checks the resource parameter (RFC 8707): the endpoint of all
// servers, also if there is none, or of one.
func (s *Server) resource(r string) (string, error) {
	all := s.c.URL + "/mcp"
	if r == "" || r == all {
		return all, nil
	}
	if len(r) > len(all)+1 && r[:len(all)+1] == all+"/" && slices.Contains(s.c.Servers(), r[len(all)+1:]) {
		return r, nil
	}
	return "", refuse("invalid_target", "the resource must be %s, or that with a slash and the name of a server", all)
}
