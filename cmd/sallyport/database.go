package main

import (
	"context"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/pep/mcp"
	"github.com/sallyport-dev/sallyport/sqldb"
)

// database is the built-in server of one database, as the MCP door calls it.
type database struct{ *sqldb.Server }

// newDatabase makes the server that a config describes. What it does not say
// of schemas is as its lease has it, so that a name means the same to both.
func newDatabase(c *Config, s ServerConfig) (database, error) {
	conf := sqldb.Config{Schemas: s.Schemas, Tables: s.Tables, Rows: s.MaxRows, Bytes: s.MaxBytes}
	if l := c.Leases[s.Lease].Postgres; l != nil {
		conf.Database = l.Database
		if len(conf.Schemas) == 0 {
			conf.Schemas = l.Schemas
		}
	}
	db, err := sqldb.New(conf)
	return database{db}, err
}

// Call runs a tool with the credential of its call.
func (d database) Call(ctx context.Context, c mcp.LocalCall) (canon.Value, error) {
	if c.Lent == nil {
		return canon.Value{}, sallyport.Errorf(sallyport.EUnavailable, "no_credential", "there is no credential for the database")
	}
	return d.Server.Call(ctx, sqldb.Call{
		Tool: c.Tool, Args: c.Args, Class: c.Class, Lease: c.Lent.Lease, Credential: c.Lent.Credential, Done: c.Lent.Done,
	})
}
