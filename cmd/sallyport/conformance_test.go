package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/sallyporttest"
)

// suiteTimeout is how long the suite waits for a scenario, in milliseconds.
const suiteTimeout = "300000"

// The official conformance suite finds in the SDK's conformance server,
// through the gateway, exactly what it finds in the server itself.
// SALLYPORT_CONFORMANCE_RUNS (scripts/conformance) says how often to look.
func TestConformance(t *testing.T) {
	node := sallyporttest.Need(t, "node_modules/.bin/node")
	suite := sallyporttest.Need(t, "node_modules/@modelcontextprotocol/conformance/dist/index.js")
	runs := 1
	if n, err := strconv.Atoi(os.Getenv("SALLYPORT_CONFORMANCE_RUNS")); err == nil {
		runs = n
	}
	server := filepath.Join(t.TempDir(), "everything-server")
	if out, err := exec.Command("go", "build", "-o", server, "github.com/modelcontextprotocol/go-sdk/conformance/everything-server").CombinedOutput(); err != nil {
		t.Fatalf("building the conformance server: %v\n%s", err, out)
	}
	// A server speaks one era: sessions, or none.
	sessions, stateless := conformanceServer(t, server, false), conformanceServer(t, server, true)
	features := "client_features: [sampling, elicitation, roots]"
	g := serveFiles(t, map[string]string{
		"sallyport.yaml": fmt.Sprintf("listen: 127.0.0.1:0\ntrust_domain: example.org\nno_base_policies: true\nservers:\n"+
			"  sessions: { url: %q, %s }\n  stateless: { url: %q, %s }\n", sessions, features, stateless, features),
		"catalog/sessions.yaml":    harmless("sessions", serverTools),
		"catalog/stateless.yaml":   harmless("stateless", serverTools),
		"policies/all.cedar":       `@id("all") permit (principal, action, resource);`,
		"templates/allow-all.yaml": "purpose: conformance\nttl: 1h\ngrants:\n  - { \"sessions/*\": any, class: act }\n  - { \"stateless/*\": any, class: act }\n",
	})
	for _, c := range []struct{ revision, server, url string }{
		{"2025-11-25", "sessions", sessions}, {"2026-07-28", "stateless", stateless},
	} {
		t.Run(c.revision, func(t *testing.T) {
			// once runs the suite both ways, and says where they differ.
			once := func(i int) (different []string) {
				differ := func(format string, args ...any) {
					different = append(different, fmt.Sprintf("run %d, ", i+1)+fmt.Sprintf(format, args...))
				}
				args := func(url, out string) []string {
					return []string{node, suite, "server", "--url", url, "--requirements", c.revision, "--timeout", suiteTimeout, "-o", out}
				}
				direct, through := filepath.Join(t.TempDir(), "direct"), filepath.Join(t.TempDir(), "through")
				a := args(c.url, direct)
				began := time.Now()
				said, err := exec.Command(a[0], a[1:]...).CombinedOutput()
				if err != nil {
					differ("direct: the suite ended with %v", err)
				}
				want := checks(t, direct, said)
				took := time.Since(began)
				began = time.Now()
				run := append([]string{"run", "--agent", "bot", "--template", "allow-all", "--"}, args("{url/"+c.server+"}", through)...)
				out, err := g.sallyport(run...)
				if err != nil {
					differ("through the gateway: the suite ended with %v", err)
				}
				got := checks(t, through, []byte(out))
				if len(want) < 30 {
					differ("only %d scenarios ran", len(want))
				}
				for _, scenario := range slices.Sorted(maps.Keys(want)) {
					if !slices.Equal(want[scenario], got[scenario]) {
						differ("%s:\n  direct   %s\n  through  %s", scenario, strings.Join(want[scenario], ", "), strings.Join(got[scenario], ", "))
					}
				}
				for scenario := range got {
					if want[scenario] == nil {
						differ("%s ran only through the gateway", scenario)
					}
				}
				t.Logf("%s run %2d  direct %s (%.1f s)  through the gateway %s (%.1f s)", c.revision, i+1, tally(want), took.Seconds(), tally(got), time.Since(began).Seconds())
				return different
			}
			for i := range runs {
				different := once(i)
				// The suite measures time too, of which a busy machine has none. Where the
				// results are counted, none may differ.
				for try := 1; len(different) > 0 && runs == 1 && try < 5; try++ {
					t.Logf("again: %s", strings.Join(different, "\n"))
					different = once(i)
				}
				for _, d := range different {
					t.Error(d)
				}
			}
		})
	}
	// It did not go around the gate.
	out, err := g.sallyport("ledger", "export")
	if n := strings.Count(out, `"kind":"decision"`); err != nil || n < 30 {
		t.Errorf("%d decisions were recorded, %v", n, err)
	}
}

// The tools of the SDK's conformance server, and those that the suite's own
// servers have for clients.
var (
	serverTools = []string{
		"test_simple_text", "test_image_content", "test_audio_content", "test_embedded_resource", "test_multiple_content_types", "test_tool_with_logging",
		"test_tool_with_progress", "test_error_handling", "test_sampling", "test_elicitation", "test_elicitation_sep1034_defaults",
		"test_elicitation_sep1330_enums", "json_schema_2020_12_tool", "test_reconnection", "test_x_mcp_header", "test_missing_capability",
		"test_streaming_elicitation", "test_logging_tool", "test_trigger_tool_change", "test_trigger_prompt_change", "__transient_tool_for_list_changed",
		"test_input_required_result_elicitation", "test_input_required_result_sampling", "test_input_required_result_list_roots",
		"test_input_required_result_request_state", "test_input_required_result_multiple_inputs", "test_input_required_result_multi_round",
		"test_input_required_result_tampered_state", "test_input_required_result_capabilities",
	}
	clientTools = []string{
		"add_numbers", "lookup_user", "test_client_elicitation_defaults", "test_custom_headers", "test_custom_headers_null", "test_headers",
		"test_reconnection", "valid_tool",
	}
)

// harmless is a catalog file that says of tools that they only read: what is
// looked at here is the protocol, not what the gate makes of what was read.
func harmless(server string, tools []string) string {
	var b strings.Builder
	for _, tool := range tools {
		fmt.Fprintf(&b, "%s/%s: { class: read, sensitivity: public, result: { trust: vouched, text: vouched } }\n", server, tool)
	}
	return b.String()
}

// conformanceServer serves on the loopback interface and returns the URL.
func conformanceServer(t *testing.T, bin string, stateless bool) string {
	t.Helper()
	addr := freeAddress(t)
	exited := start(t, exec.Command(bin, "-http", addr, fmt.Sprintf("-stateless=%v", stateless)))
	await(t, exited, func() error {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err
	})
	return "http://" + addr
}

var scenarioDir = regexp.MustCompile(`^(?:(?:authorization-)?server-)?(.*)-[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9-]+Z$`)

// checks reads the results that the suite left: for each scenario the sorted
// list of its checks and how each came out.
func checks(t *testing.T, dir string, said []byte) map[string][]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "checks.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the suite left no results: %v\n%s", err, said)
	}
	out := map[string][]string{}
	for _, f := range files {
		m := scenarioDir.FindStringSubmatch(filepath.Base(filepath.Dir(f)))
		if m == nil {
			t.Fatalf("%s is not the result of a scenario", f)
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var cs []struct{ ID, Status string }
		if err := json.Unmarshal(text, &cs); err != nil {
			t.Fatal(err)
		}
		list := []string{}
		for _, c := range cs {
			list = append(list, c.ID+" "+c.Status)
		}
		slices.Sort(list)
		out[m[1]] = list
	}
	return out
}

// tally counts the checks by how they came out.
func tally(results map[string][]string) string {
	n := map[string]int{}
	for _, list := range results {
		for _, c := range list {
			n[c[strings.LastIndexByte(c, ' ')+1:]]++
		}
	}
	var out []string
	for _, status := range slices.Sorted(maps.Keys(n)) {
		out = append(out, fmt.Sprintf("%d %s", n[status], status))
	}
	return strings.Join(out, " ")
}
