// Package sqldb is the MCP server that is built in for a PostgreSQL database:
// one tool runs one statement, one describes tables.
//
// Three walls stand between a statement and the data, each without knowing of
// the others. The gateway decides the statement before it comes here, from
// its parse tree. The role that it runs as is minted for the task and may do
// what the statement was decided for, no more. And a statement of class read
// runs in a read-only transaction. What this room adds by itself: one
// statement a call (PostgreSQL's extended query protocol, section 54.2.3 of
// its manual, takes no more), each in a transaction of its own, results of
// bounded size however large the table, and an end that comes at once when
// the credential is taken back.
package sqldb

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/lease"
)

// Config is one database. The zero Config is good.
type Config struct {
	// Database is which one of the server; "": that of the credential.
	Database string
	// Schemas are where names without one are looked for, in this order, and
	// what describe tells of; none: public.
	Schemas []string
	// Tables are all that describe tells of, as "table" (in any of Schemas) or
	// "schema.table"; none: those of Schemas. What may be read and written the
	// role says, not this list.
	Tables []string
	// Rows and Bytes bound a result; 0: DefaultRows, DefaultBytes.
	Rows, Bytes int
	// Timeout bounds a statement and LockTimeout each of its waits for a
	// lock; 0: DefaultTimeout, DefaultLockTimeout.
	Timeout, LockTimeout time.Duration
}

// Call is one call of a tool that was decided.
type Call struct {
	Tool string
	Args canon.Value
	// Class of the decision. A read runs in a read-only transaction.
	Class sallyport.Class
	// Lease names the credential: connections are kept for the next call of
	// the same one. The Credential has its DSN.
	Lease      sallyport.ID
	Credential *lease.Credential
	// Done is closed when the credential is taken back; nil: never.
	Done <-chan struct{}
}

// Server serves the tools of one database. Its methods may be called at once.
type Server struct {
	conf   Config
	tables [][2]string // schema and name, where Config.Tables says some
	closed chan struct{}

	watchers sync.WaitGroup // one for each pool

	mu    sync.Mutex
	pools map[sallyport.ID]*pool
}

// New checks the config. Nothing is connected before the first call.
func New(c Config) (*Server, error) {
	if len(c.Schemas) == 0 {
		c.Schemas = []string{"public"}
	}
	bad := func(format string, args ...any) error {
		return &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: "sql: " + fmt.Sprintf(format, args...)}
	}
	for _, name := range slices.Concat(c.Schemas, c.Tables) {
		if name == "" || strings.ContainsRune(name, 0) {
			return nil, bad("a schema or table has no name")
		}
	}
	for _, n := range []struct {
		name   string
		v      *int
		or, at int
	}{{"rows", &c.Rows, DefaultRows, MaxRows}, {"bytes", &c.Bytes, DefaultBytes, MaxBytes}} {
		if *n.v == 0 {
			*n.v = n.or
		}
		if *n.v < 1 || *n.v > n.at {
			return nil, bad("%s is from 1 to %d, not %d", n.name, n.at, *n.v)
		}
	}
	for _, d := range []struct {
		name string
		v    *time.Duration
		or   time.Duration
	}{{"timeout", &c.Timeout, DefaultTimeout}, {"lock_timeout", &c.LockTimeout, DefaultLockTimeout}} {
		if *d.v == 0 {
			*d.v = d.or
		}
		if *d.v < time.Millisecond || *d.v > MaxTimeout {
			return nil, bad("%s is from 1ms to %s, not %s", d.name, MaxTimeout, *d.v)
		}
	}
	s := &Server{conf: c, closed: make(chan struct{}), pools: map[sallyport.ID]*pool{}}
	for _, t := range c.Tables {
		if schema, name, ok := strings.Cut(t, "."); ok {
			s.tables = append(s.tables, [2]string{schema, name})
			continue
		}
		for _, schema := range c.Schemas {
			s.tables = append(s.tables, [2]string{schema, t})
		}
	}
	return s, nil
}

// Close ends what runs and closes every connection.
func (s *Server) Close() error {
	s.mu.Lock()
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	s.mu.Unlock()
	s.watchers.Wait()
	return nil
}

// Tools are the definitions of the tools, as tools/list has them.
func (s *Server) Tools() []canon.Value {
	list := canon.MustParse(strings.NewReplacer("ROWS", strconv.Itoa(s.conf.Rows), "SECONDS", strconv.Itoa(int(s.conf.Timeout.Seconds())),
		"PARAMS", strconv.Itoa(MaxParams), "SQL_BYTES", strconv.Itoa(MaxSQL)).Replace(definitions))
	return list.Elems()
}

// No annotation says what query does: its statement does.
const definitions = `[
{
 "name": "query",
 "title": "Run one SQL statement",
 "description": "Runs one PostgreSQL statement and returns its rows. Each call is one statement in a transaction of its own that is committed if it succeeds; nothing of a session stays for the next call. The statement may touch the tables that it names and do what it says, if that is allowed to this task: SELECT is the easiest to allow, then INSERT; everything else may need a person's approval. Put values into params and write $1, $2, ... for them in the statement instead of quoting them. At most ROWS rows come back: count, group or filter in SQL, and page with WHERE on a key, ORDER BY and LIMIT. Ask describe for the names of tables and columns first.",
 "inputSchema": {
  "type": "object",
  "properties": {
   "sql": {"type": "string", "minLength": 1, "maxLength": SQL_BYTES, "description": "One PostgreSQL statement, with $1, $2, ... for the values in params"},
   "params": {"type": "array", "maxItems": PARAMS, "items": {"type": ["string", "number", "boolean", "null"]}, "description": "The values for $1, $2, ... in this order. Dates, arrays and other types are written as text: 2026-01-31, {1,2}"},
   "max_rows": {"type": "integer", "minimum": 1, "maximum": ROWS, "description": "Return at most this many rows"}
  },
  "required": ["sql"],
  "additionalProperties": false
 },
 "outputSchema": {
  "type": "object",
  "properties": {
   "columns": {"type": "array", "description": "Name and type of each column, in order; two may have the same name", "items": {"type": "object", "properties": {"name": {"type": "string"}, "type": {"type": "string"}}, "required": ["name", "type"], "additionalProperties": false}},
   "rows": {"type": "array", "description": "Each row is an array with a value for each column: null, a boolean, an integer, or text as PostgreSQL writes it", "items": {"type": "array", "items": {"type": ["string", "integer", "boolean", "null"]}}},
   "row_count": {"type": "integer", "description": "How many rows are here"},
   "truncated": {"type": "boolean", "description": "There are more rows than are here"},
   "affected": {"type": "integer", "description": "How many rows were inserted, updated, deleted or merged"},
   "notice": {"type": "string", "description": "What the server, or this tool, said beside the result"}
  },
  "required": ["columns", "rows", "row_count", "truncated"],
  "additionalProperties": false
 }
},
{
 "name": "describe",
 "title": "Describe tables",
 "description": "Without table: lists the tables and views of this database that there are to work with, with comments and an estimate of their rows. With table: its columns with types, its keys and its indexes. Use it before writing a statement.",
 "inputSchema": {
  "type": "object",
  "properties": {
   "table": {"type": "string", "minLength": 1, "maxLength": 200, "description": "A table or view as the list names it, with or without its schema: orders or public.orders"}
  },
  "additionalProperties": false
 },
 "outputSchema": {
  "type": "object",
  "properties": {
   "tables": {"type": "array", "items": {"$ref": "#/$defs/table"}},
   "truncated": {"type": "boolean", "description": "There are more tables than are here"},
   "table": {"$ref": "#/$defs/table"}
  },
  "additionalProperties": false,
  "$defs": {
   "table": {
    "type": "object",
    "properties": {
     "schema": {"type": "string"},
     "name": {"type": "string"},
     "kind": {"type": "string", "enum": ["table", "partitioned table", "view", "materialized view", "foreign table"]},
     "comment": {"type": "string"},
     "estimated_rows": {"type": "integer"},
     "columns": {"type": "array", "items": {"type": "object", "properties": {
      "name": {"type": "string"}, "type": {"type": "string"}, "nullable": {"type": "boolean"}, "default": {"type": "string"}, "generated": {"type": "string"},
      "comment": {"type": "string"}, "values": {"type": "array", "items": {"type": "string"}, "description": "All values of an enumeration"}
     }, "required": ["name", "type", "nullable"], "additionalProperties": false}},
     "primary_key": {"type": "array", "items": {"type": "string"}},
     "foreign_keys": {"type": "array", "items": {"type": "object", "properties": {
      "columns": {"type": "array", "items": {"type": "string"}}, "references": {"type": "string"}, "referenced": {"type": "array", "items": {"type": "string"}}
     }, "required": ["columns", "references", "referenced"], "additionalProperties": false}},
     "indexes": {"type": "array", "items": {"type": "object", "properties": {
      "name": {"type": "string"}, "unique": {"type": "boolean"}, "columns": {"type": "array", "items": {"type": "string"}}, "where": {"type": "string"}
     }, "required": ["name", "unique", "columns"], "additionalProperties": false}}
    },
    "required": ["schema", "name", "kind"],
    "additionalProperties": false
   }
  }
 },
 "annotations": {"readOnlyHint": true, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false}
}
]`

// Call runs one call. What the database or this tool refuses is a result with
// isError, for the assistant to read. An error is that nothing could be
// asked: there is no credential, or it was taken back, or there is no server.
// Neither names the role, the host or anything of the connection string.
func (s *Server) Call(ctx context.Context, c Call) (canon.Value, error) {
	var st statement
	var err error
	switch c.Tool {
	case "query":
		st, err = s.query(c.Args)
	case "describe":
		st, err = s.describe(c.Args)
		c.Class = sallyport.Read // whatever was decided, it is one
	default:
		return canon.Value{}, sallyport.Errorf(sallyport.ENotFound, "unknown_tool", "there is no tool %q", c.Tool)
	}
	if err == nil {
		var r *result
		if r, err = s.run(ctx, c, st); err == nil {
			return st.show(r), nil
		}
	}
	if f, ok := err.(*failure); ok {
		return f.value(), nil
	}
	return canon.Value{}, err
}

// statement is what a tool has the server run.
type statement struct {
	sql    string
	params [][]byte // text; nil is NULL
	rows   int      // at most
	bytes  int
	show   func(*result) canon.Value
}

// query reads the arguments of the tool.
func (s *Server) query(args canon.Value) (statement, error) {
	st := statement{rows: s.conf.Rows, bytes: s.conf.Bytes, show: (*result).value}
	for _, m := range args.Members() {
		switch m.Name {
		case "sql":
			if m.Value.Kind() != canon.String {
				return st, refuse("sql is not text")
			}
			st.sql = m.Value.Text()
		case "params":
			if m.Value.Kind() != canon.Array || len(m.Value.Elems()) > MaxParams {
				return st, refuse("params is not an array of at most %d values", MaxParams)
			}
			for i, p := range m.Value.Elems() {
				text, ok := param(p)
				if !ok {
					return st, refuse("params[%d] is neither text, a number, true, false nor null: write arrays and objects as text, such as {1,2} or {\"a\":1}", i)
				}
				st.params = append(st.params, text)
			}
		case "max_rows":
			n, err := strconv.Atoi(m.Value.Text())
			if m.Value.Kind() != canon.Number || err != nil || n < 1 {
				return st, refuse("max_rows is not an integer from 1 to %d", s.conf.Rows)
			}
			st.rows = min(n, s.conf.Rows)
		default:
			return st, refuse("query has no argument %q; it takes sql, params and max_rows", m.Name)
		}
	}
	switch {
	case strings.TrimSpace(st.sql) == "":
		return st, refuse("there is no statement in sql")
	case len(st.sql) > MaxSQL:
		return st, refuse("the statement is longer than %d bytes", MaxSQL)
	case strings.ContainsRune(st.sql, 0):
		// It would end the statement in the protocol.
		return st, refuse("the statement has a NUL character")
	}
	if why := misplaced(st.sql); why != "" {
		return st, refuse("%s", why)
	}
	return st, nil
}

// param is the text of a parameter.
func param(v canon.Value) ([]byte, bool) {
	switch v.Kind() {
	case canon.Null:
		return nil, true
	case canon.Bool:
		return strconv.AppendBool(nil, v.Bool()), true
	case canon.Number, canon.String:
		return append([]byte{}, v.Text()...), true
	}
	return nil, false
}

// misplaced says why a statement is none for a tool whose calls have no
// session in common; "" where it may be tried. It only spares an assistant a
// riddle: the server would refuse or undo what stands here, but for PREPARE
// TRANSACTION, which would outlive the call.
func misplaced(sql string) string {
	switch verb := firstWord(sql); verb {
	case "copy":
		return "COPY moves data over a protocol that this tool does not speak; use SELECT, or INSERT with several rows"
	case "listen", "unlisten":
		return strings.ToUpper(verb) + " waits on a session, and no session stays for the next call; ask for changes with SELECT"
	case "begin", "start", "commit", "end", "abort", "rollback", "savepoint", "release":
		return strings.ToUpper(verb) + " has nothing to act on: each call is a transaction of its own, committed if it succeeds. Several changes that belong together are one statement: WITH a AS (INSERT ... RETURNING ...) INSERT ..."
	case "prepare", "execute", "deallocate", "declare", "fetch", "move", "close", "discard":
		return strings.ToUpper(verb) + " needs a session, and no session stays for the next call; send the statement itself, with params"
	}
	return ""
}

// firstWord is the first word of a statement in lower case, behind white
// space and comments.
func firstWord(sql string) string {
	for {
		sql = strings.TrimLeft(sql, " \t\r\n\f\v;(")
		switch {
		case strings.HasPrefix(sql, "--"):
			end := strings.IndexAny(sql, "\n\r")
			if end < 0 {
				return ""
			}
			sql = sql[end:]
			continue
		case strings.HasPrefix(sql, "/*"):
			depth, i := 0, 0
			for ; i < len(sql); i++ {
				if strings.HasPrefix(sql[i:], "/*") {
					depth++
					i++
				} else if strings.HasPrefix(sql[i:], "*/") {
					depth--
					i++
				}
				if depth == 0 {
					break
				}
			}
			sql = sql[min(i+1, len(sql)):]
			continue
		}
		break
	}
	i := strings.IndexFunc(sql, func(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_') })
	if i < 0 {
		i = len(sql)
	}
	return strings.ToLower(sql[:i])
}
