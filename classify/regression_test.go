package classify

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport"
)

var update = flag.Bool("update", false, "write testdata/regression.txt anew")

// regression returns the statements of PostgreSQL's regression tests that the
// parser's module carries in its own tests.
func regression(t testing.TB) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/wasilibs/go-pgquery").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	var all []string
	for _, name := range []string{"libpgquery_fingerprint_test.go", "libpgquery_deparse_test.go", "libpgquery_parse_test.go", "libpgquery_normalize_test.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(strings.TrimSpace(string(out)), name), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			// What stands between the statements (hashes, JSON, import paths)
			// is told by the parser: it is refused.
			if s, err := strconv.Unquote(lit.Value); err == nil && !seen[s] {
				seen[s] = true
				all = append(all, s)
			}
			return true
		})
	}
	return all
}

// writes are the nodes and fields of a parse tree that change something. The
// list is written apart from the rules that class, to hold them to it.
var writes = []string{
	"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "intoClause", "lockingClause", "CopyStmt", "TruncateStmt", "GrantStmt", "GrantRoleStmt",
	"CreateStmt", "CreateTableAsStmt", "AlterTableStmt", "DropStmt", "IndexStmt", "ViewStmt", "RuleStmt", "DoStmt", "CallStmt", "VariableSetStmt",
	"TransactionStmt", "NotifyStmt", "ListenStmt", "UnlistenStmt", "LockStmt", "PrepareStmt", "ExecuteStmt", "DeallocateStmt", "DeclareCursorStmt",
	"FetchStmt", "ClosePortalStmt", "VacuumStmt", "ClusterStmt", "ReindexStmt", "CheckPointStmt", "LoadStmt", "DiscardStmt", "RefreshMatViewStmt",
	"CreateFunctionStmt", "CreateTrigStmt", "CreateSeqStmt", "AlterSeqStmt", "CommentStmt", "SecLabelStmt",
}

// has reports whether a key stands anywhere in a tree.
func has(v any, key string) bool {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if k == key || has(e, key) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(e any) bool { return has(e, key) })
	}
	return false
}

// calls collects the names of all functions that a tree calls.
func calls(v any, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		if f, ok := v["FuncCall"].(map[string]any); ok {
			into[strings.TrimPrefix(strings.Join(names(f["funcname"]), "."), "pg_catalog.")] = true
		}
		for _, e := range v {
			calls(e, into)
		}
	case []any:
		for _, e := range v {
			calls(e, into)
		}
	}
}

// Every statement of the regression tests is classed, none that writes as
// read; how many of which kind are what is golden.
func TestRegressionStatements(t *testing.T) {
	counts := map[string]int{}
	statements, read := 0, 0
	for _, sql := range regression(t) {
		f := SQL(sql)
		if len(sql) > MaxSQL {
			if f.Refused == "" || f.Class != sallyport.Act {
				t.Errorf("%d bytes are not refused", len(sql))
			}
			continue
		}
		out, err := pg.parse(sql)
		if f.Refused != "" {
			if err == nil && f.Class != sallyport.Act {
				t.Errorf("refused, and not act: %q", sql)
			}
			if err != nil {
				continue // no statement
			}
		}
		var tree struct {
			Stmts []struct {
				Stmt map[string]any `json:"stmt"`
			} `json:"stmts"`
		}
		if err := json.Unmarshal(out, &tree); err != nil {
			t.Fatalf("%q: %v", sql, err)
		}
		statements++
		kind := fmt.Sprintf("%d statements", len(tree.Stmts))
		if len(tree.Stmts) == 1 {
			kind = slices.Collect(maps.Keys(tree.Stmts[0].Stmt))[0]
		}
		class := f.Class.String()
		if f.Refused != "" {
			class = "refused"
		}
		counts[kind+" "+class]++
		if f.Class != sallyport.Read {
			continue
		}
		read++
		if kind != "SelectStmt" && kind != "ExplainStmt" && kind != "VariableShowStmt" {
			t.Errorf("a %s is classed read: %q", kind, sql)
		}
		// What EXPLAIN plans is not run.
		if kind != "ExplainStmt" || strings.Contains(string(out), `"defname":"analyze"`) {
			for _, w := range writes {
				if has(tree.Stmts[0].Stmt, w) {
					t.Errorf("%s is classed read: %q", w, sql)
				}
			}
		}
		names := map[string]bool{}
		calls(tree.Stmts[0].Stmt, names)
		for name := range names {
			if !builtin().function[name] {
				t.Errorf("a call of %s is classed read: %q", name, sql)
			}
		}
	}
	if statements < 500 {
		t.Errorf("only %d statements were found", statements)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d statements, %d read\n", statements, read)
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&b, "%s %d\n", k, counts[k])
	}
	golden := filepath.Join("testdata", "regression.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != b.String() {
		t.Errorf("the classes have changed (go test -run TestRegression -update, and look at the difference):\n%s\nwas\n%s", b.String(), want)
	}
}
