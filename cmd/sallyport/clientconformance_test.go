package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/api"
	"github.com/sallyport-dev/sallyport/sallyporttest"
)

// clientScenarios are those of the suite in which a client has to do with a
// server. Not among them are those of auth/*, in which the server sends the
// client to sign in elsewhere: the gateway signs in at no server, and run, mcp
// and login sign in at a gateway alone. What a gateway is to a client that
// signs in, TestAuthorizationConformance and TestGoHost show.
var clientScenarios = []string{
	"initialize", "tools_call", "elicitation-sep1034-client-defaults", "sse-retry", "request-metadata", "sep-2322-client-request-state",
	"http-standard-headers", "http-custom-headers", "http-invalid-tool-headers", "json-schema-ref-no-deref", "json-schema-2020-12-preservation",
}

// legacyFirst is what the suite finds besides: the gateway meets a server in
// the legacy era, whose messages have none of that, and in the modern one if
// it must.
var legacyFirst = map[string][]string{
	"request-metadata": {
		"sep-2575-client-populates-meta FAILURE", "sep-2575-client-sends-client-info WARNING", "sep-2575-http-client-sends-version-header FAILURE",
	},
	"http-standard-headers": {"sep-2243-client-includes-standard-headers FAILURE"},
}

// The suite finds in the SDK's conformance client, behind the gateway, what it
// finds in the client itself.
func TestClientConformance(t *testing.T) {
	node := sallyporttest.Need(t, "node_modules/.bin/node")
	suite := sallyporttest.Need(t, "node_modules/@modelcontextprotocol/conformance/dist/index.js")
	client := filepath.Join(t.TempDir(), "everything-client")
	if out, err := exec.Command("go", "build", "-o", client, "github.com/modelcontextprotocol/go-sdk/conformance/everything-client").CombinedOutput(); err != nil {
		t.Fatalf("building the conformance client: %v\n%s", err, out)
	}
	score := map[string]map[string][]string{"direct": {}, "through the gateway": {}}
	for _, scenario := range clientScenarios {
		run := func(how, command string) (found []string) {
			out := filepath.Join(t.TempDir(), "results")
			said, err := exec.Command(node, suite, "client", "--command", command, "--scenario", scenario, "--timeout", suiteTimeout, "-o", out).CombinedOutput()
			list := checks(t, out, said)[scenario]
			if len(list) == 0 {
				t.Fatalf("%s, %s: nothing was checked: %v\n%s", scenario, how, err, said)
			}
			score[how][scenario] = list
			for _, c := range list {
				if strings.HasSuffix(c, " FAILURE") || strings.HasSuffix(c, " WARNING") {
					found = append(found, c)
				}
			}
			if failed := slices.ContainsFunc(found, func(c string) bool { return strings.HasSuffix(c, " FAILURE") }); !failed && err != nil {
				found = append(found, fmt.Sprintf("%s: %v: %s", how, err, said))
			}
			return slices.Compact(found)
		}
		// The suite measures time too, of which a busy machine has none.
		var want, got []string
		for try := 1; ; try++ {
			want = append(run("direct", client), legacyFirst[scenario]...)
			slices.Sort(want)
			if got = run("through the gateway", "gateclient "+client); slices.Equal(got, want) || try == 5 {
				break
			}
			t.Logf("%s: again", scenario)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s through the gateway:\n  found    %s\n  not just %s", scenario, strings.Join(got, ", "), strings.Join(want, ", "))
		}
	}
	for _, how := range []string{"direct", "through the gateway"} {
		t.Logf("client, %s: %d scenarios, %s", how, len(score[how]), tally(score[how]))
	}
}

// gateclient CLIENT URL runs a client behind a gateway of its own, whose only
// server is at the URL.
func gateclient() {
	dir, err := os.MkdirTemp("", "sallyport-") // a socket's path is short
	die(err)
	code := throughGate(dir, os.Args[1], os.Args[2])
	die(os.RemoveAll(dir))
	os.Exit(code)
}

func throughGate(dir, client, url string) int {
	for name, text := range map[string]string{
		"sallyport.yaml": fmt.Sprintf("listen: 127.0.0.1:0\ntrust_domain: example.org\nno_base_policies: true\nservers:\n"+
			"  up: { url: %q, client_features: [sampling, elicitation, roots] }\n", url),
		"catalog/up.yaml":          harmless("up", clientTools),
		"policies/all.cedar":       `@id("all") permit (principal, action, resource);`,
		"templates/allow-all.yaml": "purpose: conformance\nttl: 1h\ngrants:\n  - { \"up/*\": any, class: act }\n",
	} {
		path := filepath.Join(dir, name)
		die(os.MkdirAll(filepath.Dir(path), 0o700))
		die(os.WriteFile(path, []byte(text), 0o600))
	}
	command := func(args ...string) *exec.Cmd {
		c := exec.Command("sallyport", args...)
		c.Dir, c.Stdout, c.Stderr = dir, os.Stdout, os.Stderr
		c.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+filepath.Join(dir, ".config"), "SALLYPORT_CONFIG="+filepath.Join(dir, "sallyport.yaml"))
		return c
	}
	serve := command("serve")
	die(serve.Start())
	defer func() {
		_ = serve.Process.Signal(os.Interrupt) // it may be gone, and then ended
		_ = serve.Wait()                       // how it ends is another test's business
	}()
	gate := api.NewClient(filepath.Join(dir, "var", "sallyport.sock"))
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if _, err := gate.Status(context.Background()); err == nil {
			break
		}
		if time.Since(began) > patience {
			return exitFailed
		}
	}
	if command("agent", "add", "bot", "--owner", "lee@example.org", "--purpose", "tests").Run() != nil {
		return exitFailed
	}
	run := command("run", "--agent", "bot", "--template", "allow-all", "--", client, "{url/up}")
	_ = run.Run() // its exit code tells
	return run.ProcessState.ExitCode()
}
