package mcp

import (
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/identity"
)

const (
	mcpPath = "/mcp"
	// metadataPath is where RFC 9728 puts a resource's metadata.
	metadataPath = "/.well-known/oauth-protected-resource"
)

// exchange is one HTTP request of a client.
type exchange struct {
	h    *Handler
	r    *http.Request
	out  *responder
	who  identity.Verified
	room *room
	srv  *server  // nil: all servers behind one endpoint
	sess *session // nil: none
	// modern: the request follows revision 2026-07-28.
	modern bool
	msg    canon.Message
	// token is the progress token of the request, null if there is none.
	token canon.Value
	// bearer is the task's token, which no server's answer may repeat.
	bearer string
}

// ServeHTTP serves /mcp, /mcp/NAME and their resource metadata.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == metadataPath || strings.HasPrefix(r.URL.Path, metadataPath+"/") {
		h.serveMetadata(w, r)
		return
	}
	x := &exchange{h: h, r: r}
	json, stream := accepts(r.Header.Values("Accept"))
	x.out = newResponder(w, stream, h.KeepAlive)
	defer x.out.close()

	name, ok := resourceName(r.URL.Path)
	if !ok {
		x.out.refuse(canon.Value{}, refuse(http.StatusNotFound, codeInvalidRequest, "nothing is served here: use /mcp or /mcp/NAME"))
		return
	}
	if bad := h.checkOrigin(r); bad != nil {
		x.out.refuse(canon.Value{}, bad)
		return
	}
	ev := identity.Evidence{Proof: single(r.Header.Values("Dpop")), Method: r.Method, URL: h.base + r.URL.Path}
	ev.Scheme, ev.Token = credentials(r.Header.Values("Authorization"))
	if r.TLS != nil {
		ev.Certificates = r.TLS.PeerCertificates
	}
	who, err := h.Gateway.Verify(ev)
	if err != nil {
		h.challenge(w, x.out, r.URL.Path, err)
		return
	}
	x.who, x.bearer = who, ev.Token
	if x.room = h.room(who.Task()); x.room == nil {
		// The token is worth nothing any more: whoever signs in by itself should.
		h.challenge(w, x.out, r.URL.Path, sallyport.Errorf(sallyport.EUnauthenticated, "task_ended", "the task has ended"))
		return
	}
	// Streams, and slow calls, of somebody who is known outlive the deadlines of
	// a server meant for requests. A writer that has none is as good.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	if name != "" {
		if x.srv = h.servers[name]; x.srv == nil {
			x.out.refuse(canon.Value{}, refuse(http.StatusNotFound, codeInvalidRequest, "no server of this name is configured"))
			return
		}
	}
	if x.srv != nil && !h.Gateway.Reaches(who, x.srv.Name) {
		// Not even a handshake, or a notification, goes to a server that the
		// task has no grant for.
		h.insufficient(w, x, r.URL.Path)
		return
	}
	x.modern = r.Header.Get(headerVersion) >= modernVersion
	switch r.Method {
	case http.MethodPost:
		switch media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); {
		case err != nil || media != "application/json":
			x.out.refuse(canon.Value{}, refuse(http.StatusUnsupportedMediaType, codeInvalidRequest, "the Content-Type must be application/json"))
		case !json || !stream:
			x.out.refuse(canon.Value{}, refuse(http.StatusNotAcceptable, codeInvalidRequest, "Accept must list application/json and text/event-stream"))
		default:
			x.post(w)
		}
	case http.MethodGet, http.MethodDelete:
		if x.modern {
			x.notAllowed(w, "POST")
			return
		}
		if r.Method == http.MethodDelete {
			x.delete()
		} else if !stream {
			x.out.refuse(canon.Value{}, refuse(http.StatusNotAcceptable, codeInvalidRequest, "Accept must list text/event-stream"))
		} else {
			x.standalone()
		}
	default:
		x.notAllowed(w, "GET, POST, DELETE")
	}
}

func (x *exchange) notAllowed(w http.ResponseWriter, allow string) {
	w.Header().Set("Allow", allow)
	x.out.refuse(canon.Value{}, refuse(http.StatusMethodNotAllowed, codeInvalidRequest, "this HTTP method is not served here"))
}

// resourceName returns the server that a path names, "" for all of them.
func resourceName(path string) (string, bool) {
	if path == mcpPath {
		return "", true
	}
	name, ok := strings.CutPrefix(path, mcpPath+"/")
	return name, ok && serverName(name)
}

// readBody reads a request's body whole: a server that answers before it has
// read everything would otherwise lose the answer on HTTP/1.1.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	if r.ContentLength > int64(canon.RequestLimits.Bytes) {
		return nil, refuse(http.StatusRequestEntityTooLarge, codeInvalidRequest, "the message is too large")
	}
	body := make([]byte, 0, max(r.ContentLength, 512)+1)
	in := http.MaxBytesReader(w, r.Body, int64(canon.RequestLimits.Bytes))
	for {
		n, err := in.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if err == io.EOF {
			return body, nil
		}
		if err != nil {
			var large *http.MaxBytesError
			if errors.As(err, &large) {
				return nil, refuse(http.StatusRequestEntityTooLarge, codeInvalidRequest, "the message is too large")
			}
			return nil, refuse(http.StatusBadRequest, codeParse, "the message could not be read to its end")
		}
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
	}
}

// checkOrigin refuses requests that a web page may have sent by a name it
// rebound to this address (MCP transports, security warning).
func (h *Handler) checkOrigin(r *http.Request) *refusal {
	if !h.knownHost(r.Host) {
		return refuse(http.StatusForbidden, CodeDenied, "this Host is not served; allowed_hosts names those that are")
	}
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return nil
	}
	origin := strings.ToLower(origins[0])
	_, host, ok := strings.Cut(origin, "://")
	if len(origins) > 1 || !h.origins[origin] && !(ok && strings.HasPrefix(origin, "http") && h.knownHost(host)) {
		return refuse(http.StatusForbidden, CodeDenied, "this Origin is not allowed; allowed_origins names those that are")
	}
	return nil
}

func (h *Handler) knownHost(hostport string) bool {
	hostport = strings.ToLower(hostport)
	if h.hosts[hostport] {
		return true
	}
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return false
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return h.hosts[host]
}

func isLoopback(host string) bool {
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// credentials returns the scheme and token of the only Authorization header,
// "" if there is none or more than one.
func credentials(values []string) (scheme, token string) {
	scheme, token, ok := strings.Cut(single(values), " ")
	if !ok || !strings.EqualFold(scheme, "DPoP") && !strings.EqualFold(scheme, "Bearer") {
		return "", ""
	}
	return scheme, strings.TrimSpace(token)
}

func single(values []string) string {
	if len(values) != 1 {
		return ""
	}
	return values[0]
}

// scopeTask is what a client asks for at the authorization server: a task of a
// template that the user chooses there.
const scopeTask = "task"

// insufficient answers a client whose task has no grant for a server (RFC 6750
// section 3.1): the scopes name the templates with which it would have.
func (h *Handler) insufficient(w http.ResponseWriter, x *exchange, path string) {
	if h.Scopes != nil {
		if scopes := h.Scopes(x.who.Chain()[1].ID, x.srv.Name); len(scopes) > 0 {
			w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="`+strings.Join(scopes, " ")+`", resource_metadata="`+h.base+metadataPath+path+
				`", error_description="the task has no grant for this server"`)
		}
	}
	x.out.refuse(canon.Value{}, refuse(http.StatusForbidden, CodeDenied, "the task has no grant for this server"))
}

// challenge answers evidence that does not verify (RFC 9449 section 7.1, RFC
// 9728 section 5.1).
func (h *Handler) challenge(w http.ResponseWriter, out *responder, path string, err error) {
	r := refuseError(err)
	var e *sallyport.Error
	errors.As(err, &e)
	if e != nil && e.Kind == sallyport.EUnavailable {
		// Other evidence would not help.
		r.status = http.StatusServiceUnavailable
		out.refuse(canon.Value{}, r)
		return
	}
	r.status, r.code = http.StatusUnauthorized, CodeDenied
	bearer, dpop := `error="invalid_token", `, `error="invalid_token", `
	switch {
	case e != nil && e.Code == "token_missing":
		bearer, dpop = "", "" // RFC 6750 section 3.1: who sent nothing is told nothing more
	case e != nil && strings.HasPrefix(e.Code, "proof_"):
		dpop = `error="invalid_dpop_proof", `
	}
	where := `resource_metadata="` + h.base + metadataPath + path + `", scope="` + scopeTask + `"`
	// Bearer stands first: there are clients that read only the first.
	w.Header().Add("WWW-Authenticate", "Bearer "+bearer+where)
	w.Header().Add("WWW-Authenticate", "DPoP "+dpop+`algs="ES256 EdDSA", `+where)
	out.refuse(canon.Value{}, r)
}

// serveMetadata serves the protected resource metadata of RFC 9728. It tells
// nothing of which servers exist.
func (h *Handler) serveMetadata(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, metadataPath)
	if path == "" {
		path = mcpPath
	}
	if _, ok := resourceName(path); !ok {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	issuers := h.AuthorizationServers
	if len(issuers) == 0 {
		issuers = []string{h.base}
	}
	b, err := canon.Marshal(map[string]any{
		"resource":                          h.base + path,
		"authorization_servers":             issuers,
		"bearer_methods_supported":          []string{"header"},
		"dpop_signing_alg_values_supported": []string{"ES256", "EdDSA"},
		"scopes_supported":                  []string{scopeTask},
		"resource_name":                     "Sallyport",
	})
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b) // a client that is gone needs no answer
}
