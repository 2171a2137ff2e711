package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/sallyporttest"
)

// The official conformance suite finds nothing wrong with the authorization
// server. A person signs in at the OpenID provider and consents to a task for
// the suite, which registered itself.
func TestAuthorizationConformance(t *testing.T) {
	node := sallyporttest.Need(t, "node_modules/.bin/node")
	suite := sallyporttest.Need(t, "node_modules/@modelcontextprotocol/conformance/dist/index.js")
	h := openHouse(t)
	for name, resource := range map[string]string{"with a resource": h.url + "/mcp", "of one server": h.url + "/mcp/desk", "without a resource": ""} {
		t.Run(name, func(t *testing.T) {
			_, port, _ := strings.Cut(freeAddress(t), ":")
			out := t.TempDir()
			args := []string{suite, "authorization", "--url", h.url, "--client-id", h.registered(t, "http://127.0.0.1:"+port+"/callback"), "--port", port, "-o", out}
			if resource != "" {
				args = append(args, "--resource", resource)
			}
			cmd := exec.Command(node, args...)
			var said, failed bytes.Buffer
			cmd.Stderr = &failed
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// It says where to go before it listens for who comes back.
			where, listens := "", false
			for in := bufio.NewScanner(io.TeeReader(stdout, &said)); in.Scan(); {
				if strings.HasPrefix(in.Text(), h.url+"/oauth/authorize?") {
					where = in.Text()
				}
				listens = listens || strings.HasPrefix(in.Text(), "Callback server started")
				if where != "" && listens {
					browser := sallyporttest.Browser(t)
					back, _ := answerConsent(t, browser, h.idp.SignIn(browser, where, "dana"), "allow", map[string]string{"ticket": "4711"})
					back.Body.Close()
					where, listens = "", false
				}
			}
			err = cmd.Wait()
			said.Write(failed.Bytes())
			got := checks(t, out, said.Bytes())
			if want := []string{"authorization-code-grant", "authorization-server-metadata-endpoint"}; err != nil || !slices.Equal(slices.Sorted(maps.Keys(got)), want) {
				t.Errorf("%v; the scenarios that ran: %v\n%s", err, slices.Sorted(maps.Keys(got)), said.String())
			}
			for scenario, list := range got {
				for _, c := range list {
					if !strings.HasSuffix(c, " SUCCESS") {
						t.Errorf("%s: %s\n%s", scenario, c, said.String())
					}
				}
			}
			t.Logf("authorization server: %d scenarios, %s", len(got), tally(got))
		})
	}
}

// registered is a client that registered itself (RFC 7591).
func (h *house) registered(t *testing.T, redirect string) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"client_name": "Conformance", "redirect_uris": []string{redirect}, "token_endpoint_auth_method": "none"})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(h.url+"/oauth/register", "application/json", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var c struct {
		ID string `json:"client_id"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&c); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	return c.ID
}
