package postgres

import (
	"context"
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"github.com/sallyport-dev/sallyport/secret"
)

// admin is the administrator's connection string, read.
type admin struct {
	conn *pgx.ConnConfig
	// shared are those of its settings that hold for whoever connects.
	shared url.Values
}

// sharedSettings are those settings.
var sharedSettings = []string{"channel_binding", "connect_timeout", "gssencmode", "sslmode", "sslnegotiation", "sslrootcert", "sslsni", "ssl_max_protocol_version", "ssl_min_protocol_version", "target_session_attrs"}

var errString = errors.New("the administrator's secret is no connection string of PostgreSQL, such as postgres://name:password@host/database or host=NAME user=NAME password=PASSWORD")

// admin reads the administrator's connection string, for a database; "" is
// the one that it names.
func (b *Backend) admin(ctx context.Context, database string) (*admin, error) {
	s, err := b.conf.Admin(ctx)
	if err != nil {
		return nil, err
	}
	text := strings.TrimSpace(s.UnsafeString())
	c, err := pgx.ParseConfig(text)
	if err != nil {
		return nil, errString // err has parts of the string in it
	}
	shared, err := settings(text)
	if err != nil {
		return nil, errString
	}
	if database != "" {
		c.Database = database
	}
	if c.Database == "" {
		c.Database = c.User
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connTimeout
	}
	// Nobody's schema comes before the server's own, and no setting of the role
	// or the database changes what these statements do.
	c.RuntimeParams = map[string]string{
		"application_name": "sallyport", "search_path": "pg_catalog, pg_temp", "client_min_messages": "error", "standard_conforming_strings": "on",
		"default_transaction_isolation": "read committed", "default_transaction_read_only": "off", "statement_timeout": "0", "DateStyle": "ISO",
	}
	// A statement that is given up is cancelled, and what became of it is
	// waited for: a role must not appear after its minting has failed.
	c.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: cancelWait}
	}
	return &admin{c, shared}, nil
}

// hosts lists the host and port of every server that the string names.
func (a *admin) hosts() (list [][2]string) {
	add := func(host string, port uint16) {
		if h := [2]string{host, strconv.Itoa(int(port))}; !slices.Contains(list, h) {
			list = append(list, h)
		}
	}
	add(a.conn.Host, a.conn.Port)
	for _, f := range a.conn.Fallbacks {
		add(f.Host, f.Port)
	}
	return list
}

func isSocket(host string) bool { return strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") }

// address is host:port of the first server, or the directory of its socket.
func (a *admin) address() string {
	h := a.hosts()[0]
	if isSocket(h[0]) {
		return h[0]
	}
	return net.JoinHostPort(h[0], h[1])
}

// dsn is the connection string of another user.
func (a *admin) dsn(user string, password secret.Value) secret.Value {
	q := url.Values{}
	for k, v := range a.shared {
		q[k] = v
	}
	u := url.URL{Scheme: "postgresql", User: url.UserPassword(user, password.UnsafeString()), Path: "/" + a.conn.Database}
	hosts := a.hosts()
	if slices.ContainsFunc(hosts, func(h [2]string) bool { return isSocket(h[0]) }) {
		var names, ports []string
		for _, h := range hosts {
			names, ports = append(names, h[0]), append(ports, h[1])
		}
		q.Set("host", strings.Join(names, ","))
		q.Set("port", strings.Join(ports, ","))
	} else {
		var all []string
		for _, h := range hosts {
			all = append(all, net.JoinHostPort(h[0], h[1]))
		}
		u.Host = strings.Join(all, ",")
	}
	u.RawQuery = q.Encode()
	return secret.Text(u.String())
}

// settings reads those settings of a connection string that are shared.
func settings(text string) (url.Values, error) {
	all := map[string]string{}
	if strings.HasPrefix(text, "postgres://") || strings.HasPrefix(text, "postgresql://") {
		_, query, _ := strings.Cut(text, "?")
		q, err := url.ParseQuery(query)
		if err != nil {
			return nil, err
		}
		for k := range q {
			all[k] = q.Get(k)
		}
	} else if err := keywords(text, all); err != nil {
		return nil, err
	}
	shared := url.Values{}
	for _, k := range sharedSettings {
		if v := all[k]; v != "" {
			shared.Set(k, v)
		}
	}
	return shared, nil
}

// keywords reads "key=value key = 'a \' value'" (libpq, section 34.1.1.1).
func keywords(text string, into map[string]string) error {
	const space = " \t\r\n\v\f"
	for {
		key, rest, ok := strings.Cut(strings.TrimLeft(text, space), "=")
		if !ok {
			if strings.Trim(key, space) != "" {
				return errString
			}
			return nil
		}
		rest = strings.TrimLeft(rest, space)
		quoted := strings.HasPrefix(rest, "'")
		i := 0
		if quoted {
			i = 1
		}
		var value strings.Builder
		for ; i < len(rest); i++ {
			c := rest[i]
			if quoted && c == '\'' || !quoted && strings.IndexByte(space, c) >= 0 {
				break
			}
			if c == '\\' && i+1 < len(rest) {
				i++
				c = rest[i]
			}
			value.WriteByte(c)
		}
		if quoted {
			if i == len(rest) {
				return errString
			}
			i++
		}
		into[strings.Trim(key, space)] = value.String()
		text = rest[i:]
	}
}
