package sqldb

import (
	"fmt"
	"strings"

	"github.com/sallyport-dev/sallyport/canon"
)

// describe reads the arguments of the tool. It looks at pg_catalog only,
// which every role may read, and so says what may be told itself: nothing of
// a table that is not offered, by no list, comment or foreign key.
func (s *Server) describe(args canon.Value) (statement, error) {
	st := statement{rows: 1, bytes: maxDescribe}
	table := ""
	for _, m := range args.Members() {
		if m.Name != "table" {
			return st, refuse("describe has no argument %q; it takes table", m.Name)
		}
		if table = m.Value.Text(); m.Value.Kind() != canon.String || table == "" || strings.ContainsRune(table, 0) {
			return st, refuse("table is not the name of a table")
		}
	}
	schemas := make([]canon.Value, len(s.conf.Schemas))
	for i, n := range s.conf.Schemas {
		schemas[i] = canon.StringValue(n)
	}
	st.params = [][]byte{canon.ArrayValue(schemas...).Canonical(), nil}
	if s.tables != nil {
		pairs := make([]canon.Value, len(s.tables))
		for i, t := range s.tables {
			pairs[i] = canon.ArrayValue(canon.StringValue(t[0]), canon.StringValue(t[1]))
		}
		st.params[1] = canon.ArrayValue(pairs...).Canonical()
	}
	if table == "" {
		st.sql, st.show = offered+listTables, showTables
		return st, nil
	}
	st.params = append(st.params, []byte(table))
	st.sql = offered + describeTable
	st.show = func(r *result) canon.Value { return showTable(table, r) }
	return st, nil
}

// offered are the tables that may be told of: $1 is a JSON list of schemas,
// $2 a JSON list of [schema, table] or NULL.
const offered = `
with schemas as (
	select name, place from pg_catalog.jsonb_array_elements_text($1::pg_catalog.jsonb) with ordinality as s(name, place)
), offered as (
	select c.oid, c.relkind, c.relispartition, n.nspname::text as schema, c.relname::text as name, s.place,
		pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object('schema', n.nspname, 'name', c.relname,
			'kind', case c.relkind when 'r' then 'table' when 'p' then 'partitioned table' when 'v' then 'view' when 'm' then 'materialized view' else 'foreign table' end,
			'comment', pg_catalog.obj_description(c.oid, 'pg_class'),
			'estimated_rows', case when c.relkind in ('r', 'p', 'm') and c.reltuples >= 0
				and (c.reltuples > 0 or pg_catalog.current_setting('server_version_num')::int4 >= 140000) -- before, 0 was said of what nobody had counted
				then c.reltuples::int8 end)) as said
	from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace join schemas s on s.name = n.nspname
	where c.relkind in ('r', 'p', 'v', 'm', 'f')
		and ($2::pg_catalog.jsonb is null or exists (
			select from pg_catalog.jsonb_array_elements($2::pg_catalog.jsonb) e where e ->> 0 = n.nspname and e ->> 1 = c.relname))
)`

// listTables leaves out partitions, which are read through their table.
var listTables = fmt.Sprintf(`
select coalesce(pg_catalog.jsonb_agg(said order by place, name) filter (where n <= %d), '[]') , coalesce(max(n), 0) > %[1]d
from (select said, place, name, pg_catalog.row_number() over (order by place, name) as n from offered where not relispartition) t`, maxTables)

const describeTable = `
select said || pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
	'columns', (select pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('name', a.attname, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod), 'nullable', not a.attnotnull,
			'default', case when a.attgenerated = '' then pg_catalog.pg_get_expr(d.adbin, d.adrelid) end,
			'generated', case when a.attgenerated <> '' then pg_catalog.pg_get_expr(d.adbin, d.adrelid) when a.attidentity = 'a' then 'always, as identity' when a.attidentity = 'd' then 'by default, as identity' end,
			'comment', pg_catalog.col_description(a.attrelid, a.attnum),
			'values', (select pg_catalog.jsonb_agg(e.enumlabel order by e.enumsortorder) from pg_catalog.pg_enum e where e.enumtypid = a.atttypid)) order by a.attnum)
		from pg_catalog.pg_attribute a left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
		where a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped),
	'primary_key', (select pg_catalog.jsonb_agg(a.attname order by k.n)
		from pg_catalog.pg_constraint c, pg_catalog.unnest(c.conkey) with ordinality as k(attnum, n), pg_catalog.pg_attribute a
		where c.conrelid = t.oid and c.contype = 'p' and a.attrelid = t.oid and a.attnum = k.attnum),
	'foreign_keys', (select pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
			'columns', (select pg_catalog.jsonb_agg(a.attname order by k.n) from pg_catalog.unnest(c.conkey) with ordinality as k(attnum, n), pg_catalog.pg_attribute a
				where a.attrelid = c.conrelid and a.attnum = k.attnum),
			'references', f.schema || '.' || f.name,
			'referenced', (select pg_catalog.jsonb_agg(a.attname order by k.n) from pg_catalog.unnest(c.confkey) with ordinality as k(attnum, n), pg_catalog.pg_attribute a
				where a.attrelid = c.confrelid and a.attnum = k.attnum)) order by c.conname)
		from pg_catalog.pg_constraint c join offered f on f.oid = c.confrelid where c.conrelid = t.oid and c.contype = 'f'),
	'indexes', (select pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('name', i.relname, 'unique', x.indisunique,
			'columns', (select pg_catalog.jsonb_agg(pg_catalog.pg_get_indexdef(x.indexrelid, k, true) order by k) from pg_catalog.generate_series(1, x.indnkeyatts) k),
			'where', pg_catalog.pg_get_expr(x.indpred, x.indrelid, true)) order by i.relname)
		from pg_catalog.pg_index x join pg_catalog.pg_class i on i.oid = x.indexrelid where x.indrelid = t.oid and x.indisvalid)))
from offered t where t.name = $3::text or t.schema || '.' || t.name = $3::text order by t.place, t.name limit 1`

// said reads the JSON that the server wrote.
func said(v canon.Value) (canon.Value, bool) {
	parsed, err := canon.Parse([]byte(v.Text()), canon.ResultLimits)
	return parsed, err == nil
}

func showTables(r *result) canon.Value {
	if len(r.rows) == 0 {
		return refuse("there is more to say than fits: ask for one table").value()
	}
	tables, ok := said(r.rows[0].Elems()[0])
	if !ok {
		return refuse("the database holds names that cannot be written as JSON").value()
	}
	more := r.rows[0].Elems()[1]
	var b strings.Builder
	fmt.Fprintf(&b, "tables and views: %d; describe one for its columns", len(tables.Elems()))
	if more.Bool() {
		b.Reset()
		fmt.Fprintf(&b, "the first %d tables and views; there are more", maxTables)
	}
	for _, t := range tables.Elems() {
		b.WriteString("\n" + headline(t))
	}
	return toolResult(b.String(), canon.ObjectValue(canon.Member{Name: "tables", Value: tables}, canon.Member{Name: "truncated", Value: more}))
}

func showTable(name string, r *result) canon.Value {
	if len(r.rows) == 0 {
		return refuse("there is no table or view %q among those that can be worked with; describe without table lists them", name).value()
	}
	t, ok := said(r.rows[0].Elems()[0])
	if !ok {
		return refuse("the database holds names that cannot be written as JSON").value()
	}
	var b strings.Builder
	b.WriteString(headline(t))
	for _, c := range list(t, "columns") {
		fmt.Fprintf(&b, "\n  %s %s", get(c, "name"), get(c, "type"))
		if n, _ := c.Get("nullable"); !n.Bool() {
			b.WriteString(" not null")
		}
		for _, part := range []string{"default", "generated"} {
			if v := get(c, part); v != "" {
				fmt.Fprintf(&b, " %s %s", part, v)
			}
		}
		if values := list(c, "values"); values != nil {
			fmt.Fprintf(&b, ", one of %s", join(values))
		}
		if v := get(c, "comment"); v != "" {
			fmt.Fprintf(&b, ": %s", v)
		}
	}
	if key := list(t, "primary_key"); key != nil {
		fmt.Fprintf(&b, "\nprimary key (%s)", join(key))
	}
	for _, f := range list(t, "foreign_keys") {
		fmt.Fprintf(&b, "\nforeign key (%s) references %s (%s)", join(list(f, "columns")), get(f, "references"), join(list(f, "referenced")))
	}
	for _, x := range list(t, "indexes") {
		unique := ""
		if u, _ := x.Get("unique"); u.Bool() {
			unique = "unique "
		}
		fmt.Fprintf(&b, "\n%sindex %s (%s)", unique, get(x, "name"), join(list(x, "columns")))
		if w := get(x, "where"); w != "" {
			fmt.Fprintf(&b, " where %s", w)
		}
	}
	return toolResult(b.String(), canon.ObjectValue(canon.Member{Name: "table", Value: t}))
}

// headline is a table in one line.
func headline(t canon.Value) string {
	s := fmt.Sprintf("%s %s.%s", get(t, "kind"), get(t, "schema"), get(t, "name"))
	if n := get(t, "estimated_rows"); n != "" {
		s += ", about " + n + " rows"
	}
	if c := get(t, "comment"); c != "" {
		s += ": " + c
	}
	return s
}

// get is the text of a member, on one line.
func get(v canon.Value, name string) string {
	m, _ := v.Get(name)
	return oneLine(m.Text())
}

func list(v canon.Value, name string) []canon.Value {
	m, _ := v.Get(name)
	return m.Elems()
}

func join(names []canon.Value) string {
	texts := make([]string, len(names))
	for i, n := range names {
		texts[i] = oneLine(n.Text())
	}
	return strings.Join(texts, ", ")
}
