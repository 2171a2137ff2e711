package classify

import (
	"errors"
	"maps"
	"slices"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/catalog"
)

// relations finds the privileges that PostgreSQL asks for when it runs a
// statement, for each relation that the statement names (the manual's pages of
// SELECT, INSERT, UPDATE, DELETE, MERGE, COPY, TRUNCATE and LOCK). What it
// asks for beyond tables it leaves out: owning something, sequences,
// functions, and what lies behind a view.
//
// Whether an unqualified column is one of the table that is written to, and so
// needs select, cannot be seen where other tables are in reach. Then it counts
// as one.
func relations(typ string, obj map[string]any) ([]catalog.Relation, error) {
	w := relWalk{found: map[string][]string{}}
	if err := w.visit(typ, obj); err != nil {
		return nil, err
	}
	if w.nodes > maxVisits {
		return nil, errLarge
	}
	var list []catalog.Relation
	for _, name := range slices.Sorted(maps.Keys(w.found)) {
		verbs := w.found[name]
		slices.Sort(verbs)
		list = append(list, catalog.Relation{Name: name, Verbs: verbs})
	}
	return list, nil
}

// relWalk goes through a parse tree and gathers privileges by relation.
type relWalk struct {
	found        map[string][]string
	ctes         []string // names of WITH that are in scope
	nodes, depth int
}

// spent counts a node, which may be visited more than once. What goes on when
// there have been too many does not matter: then the statement is refused.
func (w *relWalk) spent(v any) bool {
	switch v.(type) {
	case []any, map[string]any:
		w.nodes++
	}
	return w.nodes > maxVisits
}

func (w *relWalk) need(rangeVar map[string]any, verbs ...string) {
	var parts []string
	for _, k := range []string{"catalogname", "schemaname", "relname"} {
		if p, _ := rangeVar[k].(string); p != "" {
			parts = append(parts, p)
		}
	}
	if len(parts) > 0 && len(verbs) > 0 {
		name := sallyport.JoinName(parts...)
		for _, v := range verbs {
			if !slices.Contains(w.found[name], v) {
				w.found[name] = append(w.found[name], v)
			}
		}
	}
}

// any visits whatever hangs below a field: a node {"Type": {fields}}, the
// fields of a node whose type the parser leaves out, or a list.
func (w *relWalk) any(v any) error {
	w.depth++
	defer func() { w.depth-- }()
	if w.spent(v) || w.depth > 4*maxDepth {
		return errLarge
	}
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if err := w.any(e); err != nil {
				return err
			}
		}
	case map[string]any:
		if typ, obj, ok := wrapped(v); ok {
			return w.visit(typ, obj)
		}
		return w.fields(v)
	}
	return nil
}

func (w *relWalk) fields(obj map[string]any, but ...string) error {
	for _, k := range slices.Sorted(maps.Keys(obj)) {
		if !slices.Contains(but, k) {
			if err := w.any(obj[k]); err != nil {
				return err
			}
		}
	}
	return nil
}

// wrapped takes {"Type": {fields}} apart. Fields begin with a small letter.
func wrapped(v map[string]any) (string, map[string]any, bool) {
	if len(v) != 1 {
		return "", nil, false
	}
	for typ, fields := range v {
		if obj, ok := fields.(map[string]any); ok && typ != "" && typ[0] >= 'A' && typ[0] <= 'Z' {
			return typ, obj, true
		}
	}
	return "", nil, false
}

func (w *relWalk) visit(typ string, obj map[string]any) error {
	scope := len(w.ctes)
	defer func() { w.ctes = w.ctes[:scope] }()
	if with, ok := obj["withClause"].(map[string]any); ok {
		if err := w.with(with); err != nil {
			return err
		}
	}
	target, _ := obj["relation"].(map[string]any)
	switch typ {
	case "RangeVar":
		if schema, _ := obj["schemaname"].(string); schema != "" || !slices.Contains(w.ctes, str(obj["relname"])) {
			w.need(obj, "select")
		}
		return nil
	case "RangeTableSample":
		return w.fields(obj) // relation is wrapped here
	case "SelectStmt":
		if err := w.locks(obj); err != nil {
			return err
		}
		// The branches of a set operation are selects without a wrapping.
		for _, branch := range []string{"larg", "rarg"} {
			if b, ok := obj[branch].(map[string]any); ok {
				if err := w.visit("SelectStmt", b); err != nil {
					return err
				}
			}
		}
		return w.fields(obj, "withClause", "larg", "rarg", "lockingClause", "intoClause")
	case "InsertStmt":
		w.need(target, "insert")
		reads := w.returns(target, obj)
		if c, ok := obj["onConflictClause"].(map[string]any); ok {
			// The columns of the conflict are read, and so is what excluded names.
			reads = reads || c["infer"] != nil || w.reads(target, false, c["targetList"], c["whereClause"])
			if c["action"] == "ONCONFLICT_UPDATE" {
				w.need(target, "update")
			}
		}
		if reads {
			w.need(target, "select")
		}
		return w.fields(obj, "withClause", "relation")
	case "UpdateStmt", "DeleteStmt":
		w.need(target, map[string]string{"UpdateStmt": "update", "DeleteStmt": "delete"}[typ])
		if w.reads(target, false, obj["targetList"], obj["whereClause"]) || w.returns(target, obj) {
			w.need(target, "select")
		}
		return w.fields(obj, "withClause", "relation")
	case "MergeStmt":
		clauses, _ := obj["mergeWhenClauses"].([]any)
		for _, e := range clauses {
			n, _ := e.(map[string]any)
			_, clause, _ := wrapped(n)
			switch clause["commandType"] {
			case "CMD_INSERT":
				w.need(target, "insert")
			case "CMD_UPDATE":
				w.need(target, "update")
			case "CMD_DELETE":
				w.need(target, "delete")
			}
		}
		if w.reads(target, false, obj["joinCondition"], clauses) || w.returns(target, obj) {
			w.need(target, "select")
		}
		return w.fields(obj, "withClause", "relation")
	case "CopyStmt":
		if from, _ := obj["is_from"].(bool); from {
			w.need(target, "insert")
			if w.reads(target, false, obj["whereClause"]) {
				w.need(target, "select")
			}
		} else {
			w.need(target, "select")
		}
		return w.fields(obj, "relation")
	case "TruncateStmt":
		for _, r := range ranges(obj["relations"]) {
			w.need(r, "truncate")
		}
		return nil
	case "LockStmt":
		// From ROW EXCLUSIVE (3) on, update is one of those that will do.
		verb := "update"
		if mode, _ := obj["mode"].(float64); mode == 1 {
			verb = "select"
		}
		for _, r := range ranges(obj["relations"]) {
			w.need(r, verb)
		}
		return nil
	case "ExplainStmt", "DeclareCursorStmt", "PrepareStmt", "CreateTableAsStmt":
		return w.any(obj["query"])
	}
	if isStatement(typ) {
		return nil // what it needs is no privilege on a table
	}
	return w.fields(obj)
}

func isStatement(typ string) bool { return len(typ) > 4 && typ[len(typ)-4:] == "Stmt" }

// with visits the queries of WITH, as sqlWalk does.
func (w *relWalk) with(obj map[string]any) error {
	list, _ := obj["ctes"].([]any)
	recursive, _ := obj["recursive"].(bool)
	var all []string
	for _, e := range list {
		n, _ := e.(map[string]any)
		_, cte, ok := wrapped(n)
		if !ok {
			return errors.New("the parser's tree is out of order")
		}
		all = append(all, str(cte["ctename"]))
	}
	if recursive {
		w.ctes = append(w.ctes, all...)
	}
	for i, e := range list {
		if err := w.any(e); err != nil {
			return err
		}
		if !recursive {
			w.ctes = append(w.ctes, all[i])
		}
	}
	return nil
}

// locks: FOR UPDATE and its kin need update on the tables of FROM that they
// name, or on all, also inside of subqueries in FROM.
func (w *relWalk) locks(obj map[string]any) error {
	clauses, _ := obj["lockingClause"].([]any)
	for _, e := range clauses {
		n, _ := e.(map[string]any)
		_, clause, ok := wrapped(n)
		if !ok {
			return errors.New("the parser's tree is out of order")
		}
		var names []string
		for _, r := range ranges(clause["lockedRels"]) {
			names = append(names, str(r["relname"]))
		}
		w.lock(obj["fromClause"], names)
	}
	return nil
}

// lock visits an item of FROM, or several; names is nil for all of them.
func (w *relWalk) lock(from any, names []string) {
	if w.spent(from) {
		return
	}
	switch v := from.(type) {
	case []any:
		for _, e := range v {
			w.lock(e, names)
		}
	case map[string]any:
		typ, obj, ok := wrapped(v)
		if !ok {
			return
		}
		named := names == nil || slices.Contains(names, alias(obj))
		switch typ {
		case "RangeVar":
			if named && (str(obj["schemaname"]) != "" || !slices.Contains(w.ctes, str(obj["relname"]))) {
				w.need(obj, "update")
			}
		case "RangeTableSample":
			w.lock(obj["relation"], names)
		case "JoinExpr":
			w.lock(obj["larg"], names)
			w.lock(obj["rarg"], names)
		case "RangeSubselect":
			if n, ok := obj["subquery"].(map[string]any); ok && named {
				if _, sub, ok := wrapped(n); ok {
					w.lock(sub["fromClause"], nil)
				}
			}
		}
	}
}

// reads reports whether an expression may read a column of the target, which
// is the nearest to it. hidden: a subquery has a table of the target's name.
func (w *relWalk) reads(target map[string]any, hidden bool, exprs ...any) bool {
	for _, e := range exprs {
		if w.spent(e) {
			return true
		}
		switch v := e.(type) {
		case []any:
			if w.reads(target, hidden, v...) {
				return true
			}
		case map[string]any:
			typ, obj, ok := wrapped(v)
			if !ok {
				obj = v
			}
			switch typ {
			case "ColumnRef":
				if refersTo(target, hidden, obj) {
					return true
				}
				continue
			case "SelectStmt":
				// Its own * is of its own tables.
				hidden := hidden || slices.Contains(aliases(obj["fromClause"]), alias(target))
				if w.reads(target, hidden, withoutStars(obj)...) {
					return true
				}
				continue
			}
			for _, k := range slices.Sorted(maps.Keys(obj)) {
				if w.reads(target, hidden, obj[k]) {
					return true
				}
			}
		}
	}
	return false
}

// returns reports whether RETURNING may read a column of the target: by its
// name, or from PostgreSQL 18 on as old or new, where no other table is called
// so.
func (w *relWalk) returns(target, obj map[string]any) bool {
	list := obj["returningList"]
	if list == nil {
		return false
	}
	others := aliases([]any{obj["fromClause"], obj["usingClause"], obj["sourceRelation"]})
	for _, name := range []string{"old", "new"} {
		if !slices.Contains(others, name) && w.reads(map[string]any{"relname": name}, false, list) {
			return true
		}
	}
	return w.reads(target, false, list)
}

// refersTo reports whether a column reference may be of the target.
func refersTo(target map[string]any, hidden bool, ref map[string]any) bool {
	fields, _ := ref["fields"].([]any)
	qualifier := names(fields)
	if len(fields) == len(qualifier) && len(qualifier) > 0 {
		qualifier = qualifier[:len(qualifier)-1] // the column; * has no name
	}
	switch len(qualifier) {
	case 0:
		return true
	case 1:
		return !hidden && (qualifier[0] == alias(target) || qualifier[0] == "excluded")
	}
	return qualifier[len(qualifier)-1] == str(target["relname"])
}

// withoutStars are the fields of a SELECT, but for a * among what it selects.
func withoutStars(obj map[string]any) []any {
	var all []any
	for _, k := range slices.Sorted(maps.Keys(obj)) {
		list, ok := obj[k].([]any)
		if k != "targetList" || !ok {
			all = append(all, obj[k])
			continue
		}
		for _, e := range list {
			n, _ := e.(map[string]any)
			_, res, _ := wrapped(n)
			val, _ := res["val"].(map[string]any)
			if _, ref, ok := wrapped(val); ok {
				if fields, ok := ref["fields"].([]any); ok && len(fields) == 1 && len(names(fields)) == 0 {
					continue
				}
			}
			all = append(all, e)
		}
	}
	return all
}

// aliases are the names that the items of FROM go by.
func aliases(from any) []string {
	switch v := from.(type) {
	case []any:
		var all []string
		for _, e := range v {
			all = append(all, aliases(e)...)
		}
		return all
	case map[string]any:
		typ, obj, ok := wrapped(v)
		if !ok {
			return nil
		}
		if typ == "JoinExpr" {
			return append(append(aliases(obj["larg"]), aliases(obj["rarg"])...), alias(obj))
		}
		if typ == "RangeTableSample" {
			return aliases(obj["relation"])
		}
		return []string{alias(obj)}
	}
	return nil
}

// alias is the name that an item of FROM or a target goes by.
func alias(obj map[string]any) string {
	if a, ok := obj["alias"].(map[string]any); ok {
		if _, inner, ok := wrapped(a); ok {
			a = inner
		}
		return str(a["aliasname"])
	}
	return str(obj["relname"])
}

// ranges are the tables of a list.
func ranges(v any) []map[string]any {
	list, _ := v.([]any)
	var all []map[string]any
	for _, e := range list {
		n, _ := e.(map[string]any)
		if typ, obj, ok := wrapped(n); ok && typ == "RangeVar" {
			all = append(all, obj)
		}
	}
	return all
}

func str(v any) string {
	s, _ := v.(string)
	return s
}
