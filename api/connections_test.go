package api_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/api"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
)

// saying notes what it is asked.
type saying struct{ got *[]string }

func (s saying) Begin(_ context.Context, source, user, _ string) (api.Connecting, error) {
	*s.got = append(*s.got, "begin "+source+" "+user)
	return api.Connecting{}, nil
}

func (s saying) Finish(_ context.Context, handle, user string, _ api.ConnectAnswer) (string, error) {
	*s.got = append(*s.got, "finish "+handle+" "+user)
	return "crm", nil
}

func (s saying) List(_ context.Context, user string) ([]api.Connection, error) {
	*s.got = append(*s.got, "list "+user)
	return nil, nil
}

func (s saying) Disconnect(_ context.Context, source, user string, _ bool) (bool, error) {
	*s.got = append(*s.got, "end "+source+" "+user)
	return true, nil
}

// Nobody connects, sees or disconnects another but an operator.
func TestConnectionsAreTheCallers(t *testing.T) {
	var got []string
	c := api.Config{
		Directory: gateway.NewDirectory(nil, time.Now), Connections: saying{&got}, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		People: api.People{Domain: "test.example", Operators: []string{"ops@test.example"}, Groups: func(string) []string { return nil }},
	}
	as := func(person string) http.Handler {
		return api.NewServer(c).HTTP(func(*http.Request) (identity.Person, error) {
			return identity.LocalPerson(person, "test", time.Now().Add(time.Hour)), nil
		})
	}
	for _, x := range []struct {
		person, method, path, body string
		status                     int
		want                       string
	}{
		{"dana@test.example", "POST", "/v1/connections", `{"source":"crm","redirect_uri":"x"}`, 200, "begin crm dana@test.example"},
		{"dana@test.example", "POST", "/v1/connections", `{"source":"crm","redirect_uri":"x","user":"dana@test.example"}`, 200, "begin crm dana@test.example"},
		{"dana@test.example", "POST", "/v1/connections", `{"source":"crm","redirect_uri":"x","user":"sam@test.example"}`, 403, ""},
		{"dana@test.example", "POST", "/v1/connections", `{"source":"crm","token":"x"}`, 400, ""},
		{"dana@test.example", "POST", "/v1/connections/h", `{"code":"c","state":"s"}`, 200, "finish h dana@test.example"},
		{"dana@test.example", "POST", "/v1/connections/h", `{"code":"c","state":"s","user":"sam"}`, 403, ""},
		{"dana@test.example", "GET", "/v1/connections", "", 200, "list dana@test.example"},
		{"dana@test.example", "GET", "/v1/connections?all=true", "", 200, "list dana@test.example"},
		{"dana@test.example", "GET", "/v1/connections?user=sam@test.example", "", 403, ""},
		{"dana@test.example", "DELETE", "/v1/connections/crm", "", 200, "end crm dana@test.example"},
		{"dana@test.example", "DELETE", "/v1/connections/crm?user=sam@test.example", "", 403, ""},
		{"ops@test.example", "POST", "/v1/connections", `{"source":"crm","redirect_uri":"x","user":"sam"}`, 200, "begin crm sam@test.example"},
		{"ops@test.example", "POST", "/v1/connections/h", `{"code":"c","state":"s","user":"sam@test.example"}`, 200, "finish h sam@test.example"},
		{"ops@test.example", "GET", "/v1/connections?all=true", "", 200, "list "},
		{"ops@test.example", "DELETE", "/v1/connections/crm?user=sam@test.example", "", 200, "end crm sam@test.example"},
	} {
		got = nil
		w := httptest.NewRecorder()
		as(x.person).ServeHTTP(w, httptest.NewRequest(x.method, x.path, strings.NewReader(x.body)))
		if w.Code != x.status || strings.Join(got, ";") != x.want {
			t.Errorf("%s %s %s %s: %d %q %s", x.person, x.method, x.path, x.body, w.Code, got, w.Body)
		}
	}
	c.Connections = nil
	w := httptest.NewRecorder()
	if as("dana@test.example").ServeHTTP(w, httptest.NewRequest("GET", "/v1/connections", nil)); w.Code != http.StatusConflict {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
