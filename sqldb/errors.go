package sqldb

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/lease"
)

// failure is what the assistant reads: the statement was refused, by this
// room or by the server.
type failure struct{ text string }

func (f *failure) Error() string { return f.text }

func (f *failure) value() canon.Value {
	return canon.ObjectValue(content(f.text), canon.Member{Name: "isError", Value: canon.BoolValue(true)})
}

func refuse(format string, args ...any) *failure { return &failure{fmt.Sprintf(format, args...)} }

func errTakenBack() error {
	return sallyport.Errorf(sallyport.EUnavailable, "credential_ended", "the task's credential was taken back, so the statement was ended")
}

func errClosed() error {
	return sallyport.Errorf(sallyport.EUnavailable, "closed", "the gateway is stopping, so the statement was ended")
}

// isServers reports whether an error is the server's own word on a statement,
// after which the connection is in step.
func isServers(err error) bool {
	var e *pgconn.PgError
	var f *failure
	return (errors.As(err, &e) || errors.As(err, &f)) && !errors.Is(err, errSession) && !errors.Is(err, errCommit)
}

// explain turns an error of a statement into one that can be shown.
func (s *Server) explain(ctx context.Context, c Call, st statement, err error) error {
	if errors.Is(err, errCommit) && c.Class != sallyport.Read {
		return sallyport.Errorf(sallyport.EUnavailable, "outcome_unknown", "the connection to the database ended while the change was committed: look whether it is there before you repeat it")
	}
	select {
	case <-c.Done: // whatever it looked like
		return errTakenBack()
	default:
	}
	if ctx.Err() != nil {
		if cause := context.Cause(ctx); sallyport.CodeOf(cause) != "internal" {
			return cause
		}
		return &sallyport.Error{Kind: sallyport.EUnavailable, Code: "cancelled", Text: "the call was cancelled, so the statement was ended", Err: context.Cause(ctx)}
	}
	var shown *sallyport.Error
	if errors.As(err, &shown) {
		return shown
	}
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	var e *pgconn.PgError
	if errors.As(err, &e) {
		if e.Code == "57P01" {
			return errTakenBack()
		}
		return s.serverError(c, st, e)
	}
	var large *pgproto3.ExceededMaxBodyLenErr
	switch {
	case errors.As(err, &large):
		return refuse("one row is larger than %d MiB; nothing was changed. Select fewer columns, or left(column, 1000)", maxRow>>20)
	case errors.Is(err, errCopy):
		return refuse("COPY moves data over a protocol that this tool does not speak; use SELECT, or INSERT with several rows")
	case errors.Is(err, errLate):
		return refuse("the statement ran longer than %s and was ended; nothing was changed", s.conf.Timeout)
	}
	return sallyport.Errorf(sallyport.EUnavailable, "connection_lost", "the connection to the database was lost; nothing was changed")
}

// serverError says what the server said, where, and what would help.
func (s *Server) serverError(c Call, st statement, e *pgconn.PgError) *failure {
	x := conn{user: handleOf(c)}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.Code, x.clean(e.Message, maxError))
	if line, col, text := position(st.sql, int(e.Position)); line > 0 {
		fmt.Fprintf(&b, "\n  at     line %d, column %d\n%s", line, col, sallyport.Underline(text, min(col, 80), 1))
	}
	if e.Hint != "" {
		fmt.Fprintf(&b, "\n  hint   %s", x.clean(e.Hint, maxError))
	}
	if fix := s.fix(c, e); fix != "" {
		fmt.Fprintf(&b, "\n  fix    %s", fix)
	}
	return &failure{b.String()}
}

// fix is the smallest change that would help.
func (s *Server) fix(c Call, e *pgconn.PgError) string {
	switch e.Code {
	case "42501": // insufficient_privilege
		if strings.Contains(e.Message, "must be owner") {
			return "this task's role owns nothing, so it cannot define, change or drop what there is; ask the operator"
		}
		return "this task's role may touch only the tables that the statement names, and do only what it says, as far as the operator allows. " +
			"Where a function or a trigger reaches another table, or the table is not allowed at all, only the operator can help"
	case "25006": // read_only_sql_transaction
		return "this call was decided as one that only reads, and so it runs in a read-only transaction"
	case "25001": // active_sql_transaction
		return "the statement cannot run in a transaction, and this tool runs everything in one; it is the operator's to run"
	case "42601": // syntax_error
		if strings.Contains(e.Message, "multiple commands") {
			return "send one statement a call"
		}
	case "57014": // query_canceled
		if strings.Contains(e.Message, "statement timeout") {
			return fmt.Sprintf("it ran for %s; filter by an indexed column (describe lists the indexes), or ask for less", s.conf.Timeout)
		}
	case "55P03": // lock_not_available
		return fmt.Sprintf("somebody else holds a lock on it, and it was waited for %s; try again later", s.conf.LockTimeout)
	case "42P01", "42703": // undefined_table, undefined_column
		return "ask describe for the names that there are; a name with capitals is written in double quotes"
	case "42P18": // indeterminate_datatype
		return "say the type of the parameter: $1::int"
	case "08P01": // protocol_violation: the count of parameters
		if strings.Contains(e.Message, "parameters") {
			return "params has one value for each of $1, $2, ... in the statement"
		}
	case "53300", "53400": // too_many_connections, configuration_limit_exceeded
		return "the database has no free connection; try again later"
	}
	return ""
}

// position is where a character of the statement, counted from 1, stands.
func position(sql string, at int) (line, col int, text string) {
	if at < 1 {
		return 0, 0, ""
	}
	line, col = 1, 1
	start := 0
	for i, r := range sql {
		if at--; at == 0 {
			break
		}
		if col++; r == '\n' {
			line, col, start = line+1, 1, i+1
		}
	}
	text, _, _ = strings.Cut(sql[start:], "\n")
	// A long line is shown from near the place.
	runes := []rune(text)
	if col > 80 {
		runes = runes[min(col-80, len(runes)):]
	}
	return line, col, string(runes[:min(len(runes), 120)])
}

// handleOf is the name of the role that a call runs as.
func handleOf(c Call) string {
	if c.Credential == nil {
		return ""
	}
	if dsn, ok := c.Credential.Part(lease.DSN); ok {
		if conf, err := pgconn.ParseConfig(dsn.UnsafeString()); err == nil {
			return conf.User
		}
	}
	return ""
}

// clean takes the role's name out of a text of the server's, and cuts it.
func (x *conn) clean(s string, limit int) string {
	if x.user != "" {
		s = strings.ReplaceAll(s, `role "`+x.user+`"`, "this task's role")
		s = strings.ReplaceAll(s, x.user, "this task's role")
	}
	if len(s) > limit {
		for limit > 0 && !utf8.RuneStart(s[limit]) {
			limit--
		}
		s = s[:limit] + "…"
	}
	return s
}

// unreachable says why there is no connection, without where to.
func (x *conn) unreachable(err error) error {
	var e *pgconn.PgError
	var errno syscall.Errno
	var n net.Error
	var cert *tls.CertificateVerificationError
	var host x509.HostnameError
	why := "no connection"
	switch {
	case errors.As(err, &e) && (e.Code == "28000" || e.Code == "28P01"):
		return sallyport.Errorf(sallyport.EUnavailable, "credential_refused", "the database does not take the task's credential: it has ended, or the server's pg_hba.conf does not admit it")
	case errors.As(err, &e):
		why = e.Code + ": " + x.clean(e.Message, maxError)
	case errors.As(err, &cert), errors.As(err, &host):
		why = "its certificate does not verify"
	case errors.As(err, &errno):
		why = errno.Error()
	case errors.As(err, &n) && n.Timeout(), errors.Is(err, context.DeadlineExceeded):
		why = "no answer in time"
	}
	return sallyport.Errorf(sallyport.EUnavailable, "unreachable", "the database cannot be reached: %s", why)
}
