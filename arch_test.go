package sallyport_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sallyport-dev/sallyport"

// rooms says which rooms each room may import, and why the line is drawn
// there. A room that is not listed may not exist; ARCHITECTURE.md shows the
// same picture and is compared below.
var rooms = map[string]struct {
	may string // own rooms, separated by spaces; "*" is any but cmd
	why string
}{
	".":                     {"", "the words are understood without knowing any room"},
	"canon":                 {".", "what is hashed must not depend on what is decided"},
	"secret":                {"", "a secret is kept from every sink without knowing what it opens"},
	"custody":               {". secret", "what is sealed is sealed without knowing what it opens"},
	"identity":              {". canon", "who somebody is does not depend on what they want"},
	"identity/identitytest": {". identity", "real evidence in two lines, for the tests of other rooms"},
	"task":                  {". canon", "a mandate is agreed to before any tool, policy or transport is known"},
	"lexicon":               {". canon", "words are general; no server or task is known"},
	"catalog":               {". canon lexicon", "facts about a tool must not bend to the task that calls it"},
	"classify":              {". canon catalog task", "what a statement does is found without knowing who decides; the parsers stay out of the catalog, which everybody imports"},
	"flow":                  {". canon secret task catalog lexicon", "where values came from is known without knowing who decides"},
	"policy":                {". canon", "the organisation's rules are evaluated on values, not on live objects"},
	"pdp":                   {". canon task catalog flow policy", "the decision is pure: no state, ledger or transport can be reached from it"},
	"state":                 {". canon task", "what is durable knows nothing of who decided it"},
	"ledger":                {". canon flow pdp state", "records are made of decisions, and read back without the gateway"},
	"approval":              {". canon task state ledger", "an answer is recorded; it decides nothing"},
	"lease":                 {". canon secret state ledger", "a credential is minted and taken back without knowing what was decided"},
	"lease/github":          {". lease secret", "one kind of credential, and nothing of the others"},
	"lease/static":          {". lease secret custody", "a kept key is handed out; custody alone can open it"},
	"lease/vault":           {". lease secret", "one kind of credential, and nothing of the others"},
	"lease/leasetest":       {". canon secret state task lease", "what every backend must do, for the tests of each"},
	"lease/kubernetes":      {". lease secret", "a token is asked for without knowing what for"},
	"lease/mysql":           {". lease secret", "a user of a database is made without knowing what for"},
	"lease/oauth2":          {". canon identity secret lease", "a token is asked for without knowing what for; its proofs are those of identity"},
	"lease/sts":             {". lease secret", "a role is assumed without knowing what for"},
	"lease/postgres":        {". lease secret", "one kind of credential, minted where it is checked"},
	"lease/rabbitmq":        {". lease secret", "a user of a broker of messages is made without knowing what for"},
	"lease/redis":           {". lease secret", "a user of a cache is made without knowing what for"},
	"lease/ssh":             {". lease secret", "a certificate is signed without knowing what for"},
	"sqldb":                 {". canon secret lease", "a database is served without knowing who decides what may be asked of it"},
	"gateway":               {". canon secret identity task lexicon catalog classify flow policy pdp state ledger approval lease", "the one place where the rooms meet"},
	"pep/mcp":               {". canon secret identity gateway", "a transport can only ask; its quirks stay here"},
	"rate":                  {"", "how often is counted without knowing what for"},
	"outbound":              {".", "a fetch is guarded before anything is known of what it is for"},
	"workload":              {". canon identity", "an SVID is served on the caller's process alone, whatever the caller wants"},
	"login":                 {". canon secret identity state ledger gateway rate", "a human signs in before anything is asked of them"},
	"oauth":                 {". canon identity task catalog state ledger gateway login outbound rate", "tokens are handed out on evidence and consent; no call is decided here"},
	"api":                   {". canon identity task catalog policy state approval gateway oauth workload lease", "serves the gateway; transports are not its business"},
	"demo":                  {"", "the support desk is a stranger to the gateway"},
	"sallyporttest":         {"*", "the real thing, for tests"},
	"cmd/sallyport":         {"*", "wiring"},
}

func TestArchitecture(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "./...").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		room := roomOf(f[0])
		seen[room] = true
		rule, ok := rooms[room]
		if !ok {
			t.Errorf("%s is no room of the design: add it here with the reason, or put the code where its reader looks for it", room)
			continue
		}
		for _, imp := range f[1:] {
			if imp != module && !strings.HasPrefix(imp, module+"/") {
				continue
			}
			to := roomOf(imp)
			switch {
			case strings.HasPrefix(to, "cmd/"):
				t.Errorf("%s imports %s: nobody imports cmd", room, to)
			case rule.may != "*" && !slices.Contains(strings.Fields(rule.may), to):
				t.Errorf("%s imports %s, but may only import %q: %s", room, to, rule.may, rule.why)
			}
		}
	}
	for room := range rooms {
		if !seen[room] {
			t.Errorf("the room %s is listed and does not exist", room)
		}
	}
}

func roomOf(path string) string {
	if path == module {
		return "."
	}
	return strings.TrimPrefix(path, module+"/")
}

// ARCHITECTURE.md shows the rooms as they are.
func TestArchitecturePage(t *testing.T) {
	page, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	for room, rule := range rooms {
		name := room
		if room == "." {
			name = "sallyport"
		}
		may := strings.ReplaceAll(strings.ReplaceAll(rule.may, "*", "anything but cmd"), ". ", "sallyport ")
		if may == "." {
			may = "sallyport"
		}
		row := "| `" + name + "` | " + may + " |"
		if !strings.Contains(string(page), row) {
			t.Errorf("ARCHITECTURE.md lacks the row %q", row)
		}
	}
}

// The decision can reach no clock, disk, network or randomness: I1.
func TestI1_DecisionImportsNoWorld(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{range .Imports}}{{.}} {{end}}`, "./pdp").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, imp := range strings.Fields(string(out)) {
		if slices.Contains([]string{"os", "net", "net/http", "math/rand", "math/rand/v2", "crypto/rand", "io", "os/exec", "syscall", "sync", "log", "log/slog", "database/sql"}, imp) {
			t.Errorf("pdp imports %s", imp)
		}
	}
	src, err := exec.Command("grep", "-rnE", `time\.(Now|Since|Until|Sleep|After|Tick)`, "pdp", "--include=*.go", "--exclude=*_test.go").Output()
	if len(src) > 0 {
		t.Errorf("pdp looks at the clock (%v):\n%s", err, src)
	}
}
