package mcp

import (
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"github.com/sallyport-dev/sallyport/canon"
)

// LocalDoor lets unmodified clients of this machine in: a reverse proxy for
// the loopback interface that adds a task's token and a proof of possession
// to each request. Whoever knows its path acts for the task, so the path
// cannot be guessed, and is given to the task's own process only.
type LocalDoor struct {
	prefix string
	proxy  *httputil.ReverseProxy
}

// Door makes a LocalDoor to the gateway at target. authorized sends a request
// whose method and URL are final, with the task's token and the proof of it.
func Door(target *url.URL, authorized http.RoundTripper) *LocalDoor {
	d := &LocalDoor{prefix: "/" + strings.ToLower(rand.Text())}
	d.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target) // the gateway checks its own Host
		},
		Transport:     authorized,
		FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() == nil {
				slog.Warn("mcp: local door", "error", err)
			}
			w.WriteHeader(http.StatusBadGateway)
		},
		ModifyResponse: func(r *http.Response) error {
			r.Header.Del("Set-Cookie")
			return nil
		},
	}
	return d
}

// Path is the path under which the gateway's own paths are found, without a
// trailing slash: Path()+"/mcp" is the gateway's /mcp.
func (d *LocalDoor) Path() string { return d.prefix }

// ServeHTTP passes a request of a local client on.
func (d *LocalDoor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, d.prefix)
	if _, known := resourceName(path); !ok || !known {
		http.NotFound(w, r)
		return
	}
	u := url.URL{Host: r.Host}
	if !isLoopback(u.Hostname()) {
		http.Error(w, "only the names of this machine are served", http.StatusForbidden)
		return
	}
	if origins := r.Header.Values("Origin"); len(origins) > 0 {
		o, err := url.Parse(origins[0])
		if len(origins) > 1 || err != nil || !isLoopback(o.Hostname()) {
			http.Error(w, "this origin is not allowed", http.StatusForbidden)
			return
		}
	}
	for _, name := range []string{"Authorization", "Dpop", "Cookie", "Origin", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Upgrade"} {
		r.Header.Del(name)
	}
	if r.Method == http.MethodPost {
		// Read whole before anything is answered (see readBody).
		body, bad := readBody(w, r)
		if bad != nil {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(bad.status)
			_, _ = w.Write(bad.body(canon.Value{})) // a client that is gone needs no answer
			return
		}
		setBody(r, body)
	}
	r.URL.Path, r.URL.RawPath, r.URL.RawQuery = path, "", ""
	d.proxy.ServeHTTP(w, r)
}
