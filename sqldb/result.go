package sqldb

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/sallyport-dev/sallyport/canon"
)

// result is what a statement gave, within its limits.
type result struct {
	columns []column
	rows    []canon.Value // arrays
	seen    int64         // rows that came, with those beyond the limits
	bytes   int
	cut     string // which limit ended it; "" for none
	tag     string // what the server says it did: "INSERT 0 3"
	notices []string
	refused *failure // why it must be rolled back although it ran
}

type column struct {
	name, typ string
	oid       uint32
	modifier  int32
}

func (r *result) truncated() bool { return r.cut != "" }

// types names the types that are PostgreSQL's own.
var types = pgtype.NewMap()

func (r *result) describe(fields []pgproto3.FieldDescription) {
	r.columns = make([]column, len(fields))
	for i, f := range fields {
		r.columns[i] = column{name: string(f.Name), oid: f.DataTypeOID, modifier: f.TypeModifier}
		if t, ok := types.TypeForOID(f.DataTypeOID); ok {
			r.columns[i].typ = t.Name
			if elem, array := strings.CutPrefix(t.Name, "_"); array {
				r.columns[i].typ = elem + "[]"
			}
		}
	}
}

// add takes a row if it is within the limits. After the first that is not,
// none is.
func (r *result) add(values [][]byte, st statement) {
	if r.seen++; r.cut != "" {
		return
	}
	if len(r.rows) >= st.rows {
		r.cut = fmt.Sprintf("only the first %d rows are here", st.rows)
		return
	}
	row := make([]canon.Value, len(values))
	size := 0
	for i, v := range values {
		row[i] = value(r.columns[i].oid, v)
		size += len(row[i].Text()) + valueCost
	}
	switch {
	case r.bytes+size <= st.bytes:
		r.bytes += size
		r.rows = append(r.rows, canon.ArrayValue(row...))
	case len(r.rows) == 0:
		r.cut = fmt.Sprintf("the first row alone is larger than %d bytes: select fewer columns, or left(column, 1000)", st.bytes)
	default:
		r.cut = fmt.Sprintf("only the first %d rows are here, which are nearly %d bytes: select fewer columns, or left(column, 1000)", len(r.rows), st.bytes)
	}
}

// value is a value in PostgreSQL's text form; booleans, and integers that
// every JSON reader takes exactly, are those of JSON.
func value(oid uint32, text []byte) canon.Value {
	if text == nil {
		return canon.Value{}
	}
	s := string(text)
	switch oid {
	case pgtype.BoolOID:
		return canon.BoolValue(s == "t")
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.OIDOID:
		if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= -1<<53 && n <= 1<<53 {
			return canon.MustParse(s)
		}
	case pgtype.ByteaOID:
		if n := (len(s) - len(`\x`)) / 2; n > maxBinary {
			s = fmt.Sprintf("%s… (the first %d of %d bytes)", s[:len(`\x`)+2*maxBinary], maxBinary, n)
		}
	}
	return canon.StringValue(s)
}

// affected is how many rows a statement changed.
func (r *result) affected() (int64, bool) {
	tag := pgconn.NewCommandTag(r.tag)
	if tag.Insert() || tag.Update() || tag.Delete() || strings.HasPrefix(r.tag, "MERGE ") {
		if r.columns != nil {
			return r.seen, true // RETURNING: the tag counts the last chunk alone
		}
		return tag.RowsAffected(), true
	}
	return 0, false
}

// value is the result as MCP has it. The text is a line that says what came
// back, then one JSON array a line: first the names of the columns, then each
// row. Names are not repeated as they are in objects, and null, "null" and a
// text with line ends or separators in it cannot be taken for one another,
// nor a value for a row, as they can in a table drawn with spaces or bars.
func (r *result) value() canon.Value {
	var b strings.Builder
	changed, isChange := r.affected()
	switch {
	case r.columns == nil && isChange:
		fmt.Fprintf(&b, "%s: %s", word(r.tag), count(changed, "row"))
	case r.columns == nil:
		fmt.Fprintf(&b, "%s: done", r.tag)
	case isChange:
		fmt.Fprintf(&b, "%s: %s; %s returned", word(r.tag), count(changed, "row"), count(int64(len(r.rows)), "row"))
	default:
		b.WriteString(count(int64(len(r.rows)), "row"))
	}
	notices := r.notices
	if r.cut != "" {
		notices = append([]string{"truncated: " + r.cut + ". There are more: count, group or filter in SQL, or page with WHERE on a key, ORDER BY and LIMIT"}, notices...)
	}
	if word(r.tag) == "SET" || word(r.tag) == "RESET" {
		notices = append(notices, "this held for this call only; the next starts anew")
	}
	for _, n := range notices {
		b.WriteString("\n" + oneLine(n))
	}
	columns := make([]canon.Value, len(r.columns))
	names := make([]canon.Value, len(r.columns))
	for i, c := range r.columns {
		names[i] = canon.StringValue(c.name)
		columns[i] = canon.ObjectValue(canon.Member{Name: "name", Value: names[i]}, canon.Member{Name: "type", Value: canon.StringValue(c.typ)})
	}
	if r.columns != nil {
		b.WriteByte('\n')
		b.Write(canon.ArrayValue(names...).Canonical())
		for _, row := range r.rows {
			b.WriteByte('\n')
			b.Write(row.Canonical())
		}
	}
	members := []canon.Member{
		{Name: "columns", Value: canon.ArrayValue(columns...)},
		{Name: "rows", Value: canon.ArrayValue(r.rows...)},
		{Name: "row_count", Value: number(int64(len(r.rows)))},
		{Name: "truncated", Value: canon.BoolValue(r.truncated())},
	}
	if isChange {
		members = append(members, canon.Member{Name: "affected", Value: number(changed)})
	}
	if len(notices) > 0 {
		members = append(members, canon.Member{Name: "notice", Value: canon.StringValue(strings.Join(notices, "\n"))})
	}
	return toolResult(b.String(), canon.ObjectValue(members...))
}

// toolResult is a result of tools/call in both of its forms.
func toolResult(text string, structured canon.Value) canon.Value {
	return canon.ObjectValue(content(text), canon.Member{Name: "structuredContent", Value: structured})
}

func content(text string) canon.Member {
	return canon.Member{Name: "content", Value: canon.ArrayValue(canon.ObjectValue(
		canon.Member{Name: "type", Value: canon.StringValue("text")}, canon.Member{Name: "text", Value: canon.StringValue(text)}))}
}

func number(n int64) canon.Value { return canon.MustParse(strconv.FormatInt(n, 10)) }

func word(tag string) string { first, _, _ := strings.Cut(tag, " "); return first }

func count(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// oneLine keeps what others wrote from looking like a line of the tool's.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
