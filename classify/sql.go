package classify

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/sallyport-dev/sallyport"
)

// pg is the one parser of the process.
var pg postgres

// SQL classes one PostgreSQL statement. It is of class read when every node
// of its parse tree is known to only read, every function is a built-in that
// is immutable or stable, and every operator and type a built-in: see
// pgnames.txt. INSERT is write; whatever overwrites, deletes, defines, locks,
// sets or calls is act.
//
// A statement is refused when it does not parse, when it is none or several,
// and beyond a limit. The text is read as UTF-8 with
// standard_conforming_strings on, PostgreSQL's default.
func SQL(text string) Finding {
	switch {
	case len(text) > MaxSQL:
		return refuse("the statement is too long")
	case strings.ContainsRune(text, 0):
		return refuse("the statement has a NUL, behind which the server does not read")
	}
	out, err := pg.parse(text)
	if err != nil {
		return refuse("the statement is not understood: " + err.Error())
	}
	var tree struct {
		Stmts []struct {
			Stmt map[string]any `json:"stmt"`
		} `json:"stmts"`
	}
	if err := json.Unmarshal(out, &tree); err != nil {
		return refuse("the statement is not understood: it nests too deep")
	}
	switch len(tree.Stmts) {
	case 0:
		return refuse("there is no statement")
	case 1:
	default:
		return refuse("there are several statements; one call is one statement")
	}
	w := sqlWalk{found: Finding{Class: sallyport.Read}}
	if err := w.node(tree.Stmts[0].Stmt); err != nil {
		return refuse(err.Error())
	}
	for typ, fields := range tree.Stmts[0].Stmt { // the one
		obj, _ := fields.(map[string]any)
		if w.found.Relations, err = relations(typ, obj); err != nil {
			return refuse(err.Error())
		}
	}
	// Where standard_conforming_strings is off, a string goes on behind this.
	if strings.Contains(text, `\'`) {
		w.widen("a backslash before a quote, which servers read in two ways")
	}
	return w.found.done()
}

// sqlWalk goes through a parse tree. What the rules do not name widens.
type sqlWalk struct {
	found    Finding
	nodes    int
	depth    int
	planning bool     // inside of EXPLAIN: effects do not happen
	ctes     []string // names of WITH that are in scope
}

var errLarge = errors.New("the statement is too large or nests too deep")

func (w *sqlWalk) widen(why string, kinds ...sallyport.Kind) {
	w.found.effect(sallyport.Act, why, kinds...)
}

// happens is an effect of a statement that is run, not only planned.
func (w *sqlWalk) happens(c sallyport.Class, why string, kinds ...sallyport.Kind) {
	if !w.planning {
		w.found.effect(c, why, kinds...)
	}
}

// node visits {"Type": {fields}}; an empty object is a null.
func (w *sqlWalk) node(n map[string]any) error {
	if len(n) == 0 {
		return nil
	}
	if len(n) > 1 {
		return errors.New("the parser's tree is out of order")
	}
	for typ, fields := range n { // the one
		obj, ok := fields.(map[string]any)
		if !ok {
			return errors.New("the parser's tree is out of order")
		}
		return w.visit(typ, obj)
	}
	return nil
}

// nodes visits a node, or a list of them.
func (w *sqlWalk) each(v any) error {
	switch v := v.(type) {
	case map[string]any:
		return w.node(v)
	case []any:
		for _, e := range v {
			if err := w.each(e); err != nil {
				return err
			}
		}
		return nil
	}
	return errors.New("the parser's tree is out of order")
}

// visit goes through a node whose type is known. Statements of no rule are
// not gone into.
func (w *sqlWalk) visit(typ string, obj map[string]any) error {
	w.depth++
	defer func() { w.depth-- }()
	if w.nodes++; w.nodes > maxNodes || w.depth > maxDepth {
		return errLarge
	}
	rules, ok := pgNodes()[typ]
	if !ok {
		w.unknown(typ)
		return nil
	}
	scope := len(w.ctes)
	defer func() { w.ctes = w.ctes[:scope] }()
	// WITH comes before what it names.
	if with, ok := obj["withClause"].(map[string]any); ok {
		if err := w.with(with); err != nil {
			return err
		}
	}
	switch typ {
	case "ExplainStmt":
		return w.explain(obj)
	case "RangeVar":
		w.table(obj)
	case "ColumnRef":
		w.column(obj)
	case "FuncCall":
		w.function(names(obj["funcname"]))
	case "A_Expr":
		// BETWEEN has no operator of its own; it is >= and <=.
		if kind, _ := obj["kind"].(string); !strings.Contains(kind, "BETWEEN") {
			w.operator(names(obj["name"]))
		}
	case "SubLink":
		w.operator(names(obj["operName"]))
	case "SortBy":
		w.operator(names(obj["useOp"]))
	case "A_Indirection":
		// (x).f is the field f of x, or else the function f called with x.
		for _, name := range names(obj["indirection"]) {
			w.function([]string{name})
		}
	case "TypeName":
		w.typeName(obj)
	case "RangeTableSample":
		if m := names(obj["method"]); len(m) != 1 || m[0] != "bernoulli" && m[0] != "system" {
			w.widen("the sampling method " + quoted(sallyport.JoinName(m...)))
		}
	case "InsertStmt":
		w.happens(sallyport.Write, "INSERT adds rows")
		if c, ok := obj["onConflictClause"].(map[string]any); ok && c["action"] != "ONCONFLICT_NOTHING" {
			w.happens(sallyport.Act, "ON CONFLICT DO UPDATE overwrites rows", sallyport.Deletion)
		}
		w.targets(obj["cols"])
	case "UpdateStmt":
		w.targets(obj["targetList"])
		w.happens(sallyport.Act, "UPDATE overwrites rows", sallyport.Deletion)
	case "DeleteStmt":
		w.happens(sallyport.Act, "DELETE removes rows", sallyport.Deletion)
	}
	for _, field := range slices.Sorted(maps.Keys(obj)) {
		v := obj[field]
		if field == "withClause" {
			continue
		}
		rule, ok := rules[field]
		if !ok {
			w.widen(cmp.Or(pgClauses[field], "the "+field+" of "+typ))
			continue
		}
		if err := w.field(rule, v); err != nil {
			return err
		}
	}
	return nil
}

func (w *sqlWalk) field(rule string, v any) error {
	switch rule {
	case "":
		switch v.(type) {
		case string, float64, bool:
			return nil
		}
		w.widen("a value that should be plain")
		return nil
	case "*":
		return w.each(v)
	}
	obj, ok := v.(map[string]any)
	if !ok {
		return errors.New("the parser's tree is out of order")
	}
	return w.visit(rule, obj)
}

// with visits the queries of WITH. Each is seen by what comes behind it; with
// RECURSIVE, by all of them.
func (w *sqlWalk) with(obj map[string]any) error {
	list, _ := obj["ctes"].([]any)
	recursive, _ := obj["recursive"].(bool)
	var all []string
	for _, e := range list {
		n, _ := e.(map[string]any)
		cte, _ := n["CommonTableExpr"].(map[string]any)
		name, ok := cte["ctename"].(string)
		if !ok {
			return errors.New("the parser's tree is out of order")
		}
		all = append(all, name)
	}
	if recursive {
		w.ctes = append(w.ctes, all...)
	}
	for i, e := range list {
		if err := w.node(e.(map[string]any)); err != nil {
			return err
		}
		if !recursive {
			w.ctes = append(w.ctes, all[i])
		}
	}
	return nil
}

// explain: ANALYZE runs the statement; without it the statement is planned,
// and planning runs stable functions.
func (w *sqlWalk) explain(obj map[string]any) error {
	runs := false
	options, _ := obj["options"].([]any)
	for _, o := range options {
		n, _ := o.(map[string]any)
		d, _ := n["DefElem"].(map[string]any)
		name, _ := d["defname"].(string)
		switch name {
		case "analyze":
			runs = true // whatever its argument says
		case "verbose", "costs", "settings", "buffers", "wal", "timing", "summary", "format", "generic_plan", "memory":
		default:
			w.widen("the option " + quoted(name) + " of EXPLAIN")
		}
	}
	was := w.planning
	w.planning = was || !runs
	defer func() { w.planning = was }()
	return w.each(obj["query"])
}

// table notes a table, unless WITH has named it.
func (w *sqlWalk) table(obj map[string]any) {
	rel, _ := obj["relname"].(string)
	schema, _ := obj["schemaname"].(string)
	catalog, _ := obj["catalogname"].(string)
	if schema == "" && slices.Contains(w.ctes, rel) {
		return
	}
	var parts []string
	for _, p := range []string{catalog, schema, rel} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if name := sallyport.JoinName(parts...); !slices.Contains(w.found.Resources, name) && len(w.found.Resources) <= MaxResources {
		w.found.Resources = append(w.found.Resources, name)
	}
	if (schema == "" || schema == "pg_catalog") && builtin().secret[rel] {
		w.widen("the table "+quoted(rel)+" holds secrets or samples of other tables", sallyport.Secret)
	}
}

func (w *sqlWalk) column(obj map[string]any) {
	fields, _ := obj["fields"].([]any)
	if len(fields) == 0 {
		return
	}
	last, _ := fields[len(fields)-1].(map[string]any)
	name := "*"
	if s := names(last); len(s) == 1 {
		name = s[0]
	}
	w.columnName(name)
}

// targets notes the columns that are written to.
func (w *sqlWalk) targets(v any) {
	list, _ := v.([]any)
	for _, e := range list {
		n, _ := e.(map[string]any)
		t, _ := n["ResTarget"].(map[string]any)
		if name, ok := t["name"].(string); ok {
			w.columnName(name)
		}
	}
}

func (w *sqlWalk) columnName(name string) {
	if !slices.Contains(w.found.Columns, name) && len(w.found.Columns) <= MaxResources {
		w.found.Columns = append(w.found.Columns, name)
	}
}

func (w *sqlWalk) function(name []string) {
	if n, ok := ofCatalog(name); !ok || !builtin().function[n] {
		w.widen("the function " + quoted(sallyport.JoinName(name...)) + " is not known to only read")
	}
}

func (w *sqlWalk) operator(name []string) {
	if len(name) == 0 {
		return
	}
	// LIKE and its kin, whose names the parser gives, and plain operators.
	if n, ok := ofCatalog(name); !ok || !builtin().operator[n] {
		w.widen("the operator " + quoted(sallyport.JoinName(name...)) + " is no built-in")
	}
}

func (w *sqlWalk) typeName(obj map[string]any) {
	name := names(obj["names"])
	if n, ok := ofCatalog(name); !ok || !builtin().typ[n] {
		w.widen("the type " + quoted(sallyport.JoinName(name...)) + " is no built-in")
	}
}

// unknown widens for a node that no rule names.
func (w *sqlWalk) unknown(typ string) {
	what, isStatement := strings.CutSuffix(typ, "Stmt")
	if !isStatement {
		w.widen("the expression " + typ + " is not known to only read")
		return
	}
	var kinds []sallyport.Kind
	switch {
	case strings.HasPrefix(what, "Grant"), strings.HasPrefix(what, "AlterDefaultPriv"), strings.HasSuffix(what, "Role"), what == "RoleSet",
		what == "AlterRoleSet", what == "AlterOwner", strings.HasSuffix(what, "Policy"), what == "SecLabel", what == "ReassignOwned":
		kinds = append(kinds, sallyport.Privilege)
	case strings.HasPrefix(what, "Drop"), what == "Truncate", what == "Merge", what == "Dropdb":
		kinds = append(kinds, sallyport.Deletion)
	case what == "Copy", what == "Load", what == "CreateForeignServer", what == "CreateSubscription", what == "ImportForeignSchema":
		kinds = append(kinds, sallyport.External)
	}
	w.widen("the statement "+strings.ToUpper(what)+" is not known to only read", kinds...)
}

// ofCatalog returns the name of a thing of PostgreSQL's own schema, which is
// searched first.
func ofCatalog(name []string) (string, bool) {
	switch {
	case len(name) == 1:
		return name[0], true
	case len(name) == 2 && name[0] == "pg_catalog":
		return name[1], true
	}
	return "", false
}

// names reads a String node, or those among a list of nodes.
func names(v any) []string {
	switch v := v.(type) {
	case map[string]any:
		if s, ok := v["String"].(map[string]any); ok {
			text, _ := s["sval"].(string)
			return []string{text}
		}
	case []any:
		var all []string
		for _, e := range v {
			all = append(all, names(e)...)
		}
		return all
	}
	return nil
}

// pgClauses says what people call the clauses that change something.
var pgClauses = map[string]string{
	"intoClause":    "SELECT INTO makes a table",
	"lockingClause": "FOR UPDATE or FOR SHARE locks rows",
}

// pgNodes holds the nodes that are known, and what each field of them is: ""
// a plain value, "*" nodes, else one node of that type. WITH is visited by
// itself.
var pgNodes = sync.OnceValue(func() map[string]map[string]string {
	rules := map[string]map[string]string{}
	for line := range strings.Lines(pgNodeRules) {
		typ, fields, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		rules[typ] = map[string]string{}
		for _, f := range strings.Fields(fields) {
			name, of, _ := strings.Cut(f, "=")
			if n, many := strings.CutSuffix(name, "*"); many {
				name, of = n, "*"
			}
			rules[typ][name] = of
		}
	}
	return rules
})

// Not here, and so act: intoClause, lockingClause, and every node that can
// change something or has not been looked at.
const pgNodeRules = `
SelectStmt: distinctClause* targetList* fromClause* whereClause* groupClause* groupDistinct havingClause* windowClause* valuesLists* sortClause* limitOffset* limitCount* limitOption op all larg=SelectStmt rarg=SelectStmt
InsertStmt: relation=RangeVar cols* selectStmt* onConflictClause=OnConflictClause returningList* override
UpdateStmt: relation=RangeVar targetList* whereClause* fromClause* returningList*
DeleteStmt: relation=RangeVar usingClause* whereClause* returningList*
OnConflictClause: action infer=InferClause targetList* whereClause* location
InferClause: indexElems* whereClause* conname location
IndexElem: name expr* ordering nulls_ordering
ExplainStmt: query* options*
VariableShowStmt: name
CommonTableExpr: ctename aliascolnames* ctematerialized ctequery* search_clause=CTESearchClause cycle_clause=CTECycleClause location
CTESearchClause: search_col_list* search_breadth_first search_seq_column location
CTECycleClause: cycle_col_list* cycle_mark_column cycle_mark_value* cycle_mark_default* cycle_path_column location
ResTarget: name indirection* val* location
ColumnRef: fields* location
A_Star:
A_Const: ival=Integer fval=Float boolval=Boolean sval=String bsval=BitString isnull location
Integer: ival
Float: fval
Boolean: boolval
String: sval
BitString: bsval
ParamRef: number location
A_Expr: kind name* lexpr* rexpr* location
BoolExpr: boolop args* location
NullTest: arg* nulltesttype argisrow location
BooleanTest: arg* booltesttype location
SubLink: subLinkType subLinkId testexpr* operName* subselect* location
CaseExpr: arg* args* defresult* location
CaseWhen: expr* result* location
CoalesceExpr: args* location
MinMaxExpr: op args* location
SQLValueFunction: op typmod location
TypeCast: arg* typeName=TypeName location
TypeName: names* typmods* typemod arrayBounds* location
CollateClause: arg* collname* location
FuncCall: funcname* args* agg_order* agg_filter* over=WindowDef agg_within_group agg_star agg_distinct func_variadic funcformat location
NamedArgExpr: arg* name argnumber location
WindowDef: name refname partitionClause* orderClause* frameOptions startOffset* endOffset* location
SortBy: node* sortby_dir sortby_nulls useOp* location
RangeVar: catalogname schemaname relname inh relpersistence alias=Alias location
Alias: aliasname colnames*
RangeSubselect: lateral subquery* alias=Alias
RangeFunction: lateral ordinality is_rowsfrom functions* alias=Alias coldeflist*
RangeTableSample: relation* method* args* repeatable* location
ColumnDef: colname typeName=TypeName is_local location collClause=CollateClause
JoinExpr: jointype isNatural larg* rarg* usingClause* join_using_alias=Alias quals* alias=Alias rtindex
RowExpr: args* row_format colnames* location
A_ArrayExpr: elements* location
A_Indirection: arg* indirection*
A_Indices: is_slice lidx* uidx*
GroupingSet: kind content* location
GroupingFunc: args* location
SetToDefault: location
List: items*
`
