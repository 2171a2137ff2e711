package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
)

// want is one relation of a Spec: schema is "" where the name has none.
type want struct {
	database, schema, relation string
	verbs                      []string
}

// tableVerbs are the privileges on a table that a grant may name.
var tableVerbs = []string{"select", "insert", "update", "delete", "truncate"}

func readGrants(s lease.Spec) ([]want, error) {
	var wants []want
	for _, g := range s.Grants {
		parts, ok := sallyport.SplitName(g.Object)
		if !ok || len(parts) > 3 {
			return nil, fmt.Errorf("the grant on %q names no table", g.Object)
		}
		w := want{relation: parts[len(parts)-1]}
		if len(parts) > 1 {
			w.schema = parts[len(parts)-2]
		}
		if len(parts) > 2 {
			w.database = parts[0]
		}
		for _, v := range g.Verbs {
			if !slices.Contains(tableVerbs, v) {
				return nil, fmt.Errorf("%q on %s is no privilege of a table (there are: %s)", v, g.Object, strings.Join(tableVerbs, ", "))
			}
			if s.Class == sallyport.Read && v != "select" {
				return nil, fmt.Errorf("a credential of class read gets no %s on %s", v, g.Object)
			}
			if !slices.Contains(w.verbs, v) {
				w.verbs = append(w.verbs, v)
			}
		}
		wants = append(wants, w)
	}
	return wants, nil
}

// grantKey is the first key of the advisory locks that grants on one object
// wait for, the second is the object's OID.
const grantKey = 0x73616c6c // "sall"

// object is something that is granted on.
type object struct {
	oid     uint32
	kind    string // "TABLE", "SEQUENCE", "SCHEMA", "DATABASE"
	name    string // as SQL writes it
	shown   string
	verbs   []string
	missing string // a verb that the administrator may not grant
}

// grants writes the GRANT statements of a role. What PUBLIC may do already,
// and the system's own catalogs, need none. A relation that is not there is
// left out: the statement will fail by itself. With base it also opens the
// database and the schemas of the configuration.
func (b *Backend) grants(ctx context.Context, conn *pgx.Conn, h lease.Handle, wants []want, base bool) (string, error) {
	objects, err := b.relations(ctx, conn, wants)
	if err != nil {
		return "", err
	}
	schemas := []string{}
	if base {
		schemas = append(schemas, b.conf.Schemas...)
	}
	var tables []uint32
	for _, o := range objects {
		tables = append(tables, o.oid)
	}
	around, err := b.around(ctx, conn, schemas, tables, base)
	if err != nil {
		return "", err
	}
	objects = append(objects, around...)
	sequences, err := b.sequences(ctx, conn, objects)
	if err != nil {
		return "", err
	}
	objects = append(objects, sequences...)
	if len(objects) == 0 {
		return "", nil
	}
	var locks []int64
	var sql strings.Builder
	for _, o := range objects {
		if o.missing != "" {
			return "", fmt.Errorf("the administrator may not grant %s on %s: it takes the owner of it, or GRANT OPTION", strings.ToUpper(o.missing), o.shown)
		}
		locks = append(locks, int64(int32(o.oid)))
		fmt.Fprintf(&sql, "GRANT %s ON %s %s TO %s;\n", strings.ToUpper(strings.Join(o.verbs, ", ")), o.kind, o.name, ident(string(h)))
	}
	return lockObjects(locks) + sql.String(), nil
}

// lockObjects waits until nobody of us grants on one of these objects: in one
// order, so that two do not wait for each other, and not for long, since
// whoever can log in can take these locks and keep them. Without them all is
// right too, but two at once make one of them begin again.
func lockObjects(oids []int64) string {
	if len(oids) == 0 {
		return ""
	}
	slices.Sort(oids)
	var sql strings.Builder
	fmt.Fprintf(&sql, "SET LOCAL lock_timeout TO %d;\nDO $$ BEGIN\n", lockWait.Milliseconds())
	for _, oid := range slices.Compact(oids) {
		fmt.Fprintf(&sql, "PERFORM pg_advisory_xact_lock(%d, %d);\n", grantKey, oid)
	}
	sql.WriteString("EXCEPTION WHEN lock_not_available THEN NULL; END $$;\nSET LOCAL lock_timeout TO 0;\n")
	return sql.String()
}

// relations finds the wanted relations as the role's statements will: in the
// schema that is named, or in the system's and then in the configured ones.
func (b *Backend) relations(ctx context.Context, conn *pgx.Conn, wants []want) ([]object, error) {
	if len(wants) == 0 {
		return nil, nil
	}
	var databases, schemas, names, verbs []string
	for _, w := range wants {
		for _, v := range w.verbs {
			databases, schemas, names, verbs = append(databases, w.database), append(schemas, w.schema), append(names, w.relation), append(verbs, v)
		}
	}
	rows, err := conn.Query(ctx, `
		SELECT c.oid, c.relkind = 'S', c.nspname, c.relname, w.verb, has_table_privilege(c.oid, w.verb || ' WITH GRANT OPTION')
		FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS w (database, schema, name, verb)
		CROSS JOIN LATERAL (
			SELECT c.oid, c.relkind, c.relname, n.nspname, n.oid AS schema
			FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE c.relname = w.name AND CASE WHEN w.schema <> '' THEN n.nspname = w.schema ELSE n.nspname = 'pg_catalog' OR n.nspname = ANY ($5::text[]) END
			ORDER BY n.nspname <> 'pg_catalog', array_position($5::text[], n.nspname::text)
			LIMIT 1
		) AS c
		WHERE w.database IN ('', current_database())
		AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.nspname <> 'information_schema' AND c.nspname NOT LIKE 'pg\_%'
		AND NOT has_table_privilege('public', c.oid, w.verb)
		ORDER BY c.oid, w.verb`, databases, schemas, names, verbs, b.conf.Schemas)
	if err != nil {
		return nil, err
	}
	var list []object
	var oid uint32
	var sequence, may bool
	var schema, relation, verb string
	_, err = pgx.ForEachRow(rows, []any{&oid, &sequence, &schema, &relation, &verb, &may}, func() error {
		if len(list) == 0 || list[len(list)-1].oid != oid {
			o := object{oid: oid, kind: "TABLE", name: pgx.Identifier{schema, relation}.Sanitize(), shown: sallyport.JoinName(schema, relation)}
			if sequence {
				o.kind = "SEQUENCE"
			}
			list = append(list, o)
		}
		o := &list[len(list)-1]
		if sequence && verb != "select" && verb != "update" {
			return nil // no privilege of a sequence; the statement will fail
		}
		if !slices.Contains(o.verbs, verb) {
			o.verbs = append(o.verbs, verb)
		}
		if !may {
			o.missing = verb
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(o object) bool { return len(o.verbs) == 0 }), nil
}

// around lists the schemas that relations are in, those that are named, and
// the database: as far as PUBLIC may not use them already.
func (b *Backend) around(ctx context.Context, conn *pgx.Conn, schemas []string, tables []uint32, database bool) ([]object, error) {
	rows, err := conn.Query(ctx, `
		SELECT n.oid, 'SCHEMA', nspname::text, 'usage', has_schema_privilege(n.oid, 'USAGE WITH GRANT OPTION') FROM pg_namespace n
		WHERE (nspname = ANY ($1) OR n.oid IN (SELECT relnamespace FROM pg_class WHERE oid = ANY ($2))) AND NOT has_schema_privilege('public', n.oid, 'USAGE')
		UNION ALL
		SELECT d.oid, 'DATABASE', datname::text, 'connect', has_database_privilege(d.oid, 'CONNECT WITH GRANT OPTION') FROM pg_database d
		WHERE $3 AND datname = current_database() AND NOT has_database_privilege('public', d.oid, 'CONNECT')`, schemas, tables, database)
	if err != nil {
		return nil, err
	}
	return collectObjects(rows)
}

// sequences lists those that the defaults of the tables that are inserted
// into take their numbers from, behind views too. Identity columns need none.
func (b *Backend) sequences(ctx context.Context, conn *pgx.Conn, objects []object) ([]object, error) {
	var tables []uint32
	for _, o := range objects {
		if o.kind == "TABLE" && slices.Contains(o.verbs, "insert") {
			tables = append(tables, o.oid)
		}
	}
	if len(tables) == 0 {
		return nil, nil
	}
	rows, err := conn.Query(ctx, `
		WITH RECURSIVE t (oid) AS (
			SELECT unnest($1::oid[])
			UNION
			SELECT d.refobjid FROM t JOIN pg_class v ON v.oid = t.oid AND v.relkind = 'v'
			JOIN pg_rewrite r ON r.ev_class = v.oid JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
		)
		SELECT DISTINCT s.oid, 'SEQUENCE', n.nspname || '.' || s.relname, 'usage', CASE WHEN s.relkind = 'S' THEN has_sequence_privilege(s.oid, 'USAGE WITH GRANT OPTION') END, n.nspname::text, s.relname::text
		FROM t JOIN pg_attrdef a ON a.adrelid = t.oid
		JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid AND d.refclassid = 'pg_class'::regclass
		JOIN pg_class s ON s.oid = d.refobjid AND s.relkind = 'S' JOIN pg_namespace n ON n.oid = s.relnamespace
		WHERE CASE WHEN s.relkind = 'S' THEN NOT has_sequence_privilege('public', s.oid, 'USAGE') END
		ORDER BY s.oid`, tables)
	if err != nil {
		return nil, err
	}
	return collectObjects(rows)
}

// collectObjects reads rows of oid, kind, name, verb, whether the
// administrator may grant it, and the parts of the name where it has several.
func collectObjects(rows pgx.Rows) ([]object, error) {
	defer rows.Close()
	var list []object
	for rows.Next() {
		var o object
		var verb string
		var may bool
		into := []any{&o.oid, &o.kind, &o.shown, &verb, &may}
		parts := make([]string, len(rows.FieldDescriptions())-len(into))
		for i := range parts {
			into = append(into, &parts[i])
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		if len(parts) == 0 {
			parts = []string{o.shown}
		}
		o.name, o.shown, o.verbs = pgx.Identifier(parts).Sanitize(), sallyport.JoinName(parts...), []string{verb}
		if !may {
			o.missing = verb
		}
		list = append(list, o)
	}
	return list, rows.Err()
}

// checkTemplate refuses a role that would give a lease more than data: SET
// ROLE takes over a role's attributes. For class read it must not be able to
// write to any table of the database, count a sequence on or create anything either.
func checkTemplate(ctx context.Context, conn *pgx.Conn, template string, class sallyport.Class) error {
	var powers, admin string
	var pass, parameters bool
	// From PostgreSQL 16 on, CREATEROLE alone makes nobody a member.
	err := conn.QueryRow(ctx, `
		SELECT coalesce(string_agg(m.rolname, ', ') FILTER (WHERE m.rolsuper OR m.rolcreaterole OR m.rolcreatedb OR m.rolreplication OR m.rolbypassrls
			OR m.rolname = current_user OR m.rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files', 'pg_signal_backend', 'pg_checkpoint',
				'pg_create_subscription', 'pg_use_reserved_connections', 'pg_signal_autovacuum_worker')
			OR $2 AND m.rolname IN ('pg_write_all_data', 'pg_maintain', 'pg_database_owner')), ''),
			current_user::text, current_setting('server_version_num')::int < 160000 OR pg_has_role(r.oid, 'MEMBER WITH ADMIN OPTION'), to_regclass('pg_catalog.pg_parameter_acl') IS NOT NULL
		FROM pg_roles r JOIN pg_roles m ON m.oid = r.oid OR pg_has_role(r.oid, m.oid, 'MEMBER') WHERE r.rolname = $1 GROUP BY r.oid`,
		template, class == sallyport.Read).Scan(&powers, &admin, &pass, &parameters)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("there is no role %s for class %s", sallyport.JoinName(template), class)
	case err != nil:
		return err
	case powers != "":
		return fmt.Errorf("the role %s gives more than class %s may have: it is, or is a member of, %s", sallyport.JoinName(template), class, powers)
	case !pass:
		return fmt.Errorf("the administrator may make nobody a member of the role %[1]s: GRANT %[1]s TO %[2]s WITH ADMIN OPTION", sallyport.JoinName(template), sallyport.JoinName(admin))
	}
	if parameters { // from PostgreSQL 15 on
		var parameter string
		if err := conn.QueryRow(ctx, `
			SELECT coalesce(min(p.parname), '') FROM pg_roles r, pg_parameter_acl p, aclexplode(p.paracl) a
			WHERE r.rolname = $1 AND a.grantee <> 0 AND pg_has_role(r.oid, a.grantee, 'MEMBER') AND ($2 OR a.privilege_type = 'ALTER SYSTEM')`,
			template, class == sallyport.Read).Scan(&parameter); err != nil {
			return err
		}
		if parameter != "" {
			return fmt.Errorf("the role %s gives more than class %s may have: it may set the server's parameter %s", sallyport.JoinName(template), class, parameter)
		}
	}
	if class != sallyport.Read {
		return nil
	}
	var writes string
	err = conn.QueryRow(ctx, `
		WITH r AS (SELECT oid FROM pg_roles WHERE rolname = $1)
		SELECT coalesce(min(what), '') FROM (
			SELECT c.oid::regclass::text FROM pg_class c, r
			WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND (
				pg_has_role(r.oid, c.relowner, 'MEMBER')
				OR EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee <> 0 AND pg_has_role(r.oid, a.grantee, 'MEMBER')
					AND (a.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'MAINTAIN') OR c.relkind = 'S' AND a.privilege_type = 'USAGE'))
				OR EXISTS (SELECT FROM pg_attribute t, aclexplode(t.attacl) a WHERE t.attrelid = c.oid AND t.attacl IS NOT NULL AND a.grantee <> 0
					AND pg_has_role(r.oid, a.grantee, 'MEMBER') AND a.privilege_type IN ('INSERT', 'UPDATE')))
			UNION ALL
			SELECT o.what FROM r, (SELECT 'the schema ' || quote_ident(nspname), nspowner, nspacl FROM pg_namespace
				UNION ALL SELECT 'the database ' || quote_ident(datname), datdba, datacl FROM pg_database) o (what, owner, acl)
			WHERE pg_has_role(r.oid, o.owner, 'MEMBER')
				OR EXISTS (SELECT FROM aclexplode(o.acl) a WHERE a.grantee <> 0 AND pg_has_role(r.oid, a.grantee, 'MEMBER') AND a.privilege_type = 'CREATE')
		) AS w (what)`, template).Scan(&writes)
	if err != nil {
		return err
	}
	if writes != "" {
		return fmt.Errorf("the role %s is for class read and may write to %s", sallyport.JoinName(template), writes)
	}
	return nil
}
