package main

import (
	"fmt"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/postgres"
)

// PostgresLease mints roles of PostgreSQL: docs/leases/postgres.md.
type PostgresLease struct {
	// Admin is where the connection string of a role that may create roles is
	// kept.
	Admin string `yaml:"admin"`
	// Database is what the credential is for; default: that of the string.
	Database string `yaml:"database"`
	// Schemas are where names without a schema are looked up; default public.
	Schemas []string `yaml:"schemas"`
	// Roles has, for a class, the role that its leases are members of.
	Roles map[sallyport.Class]string `yaml:"roles"`
	// Connections of one lease at most; default 4.
	Connections int `yaml:"connections"`
	// StatementTimeout of its sessions; default 30s.
	StatementTimeout duration `yaml:"statement_timeout"`
	// Clean are the databases that may be cleaned of it; default: all.
	Clean []string `yaml:"clean"`
}

func (c *PostgresLease) open(r rootSources) (lease.Backend, error) {
	field := "leases." + r.name + ".postgres"
	bad := func(err error, format string, args ...any) error {
		return &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: field + fmt.Sprintf(format, args...), Err: err, Fix: "docs/leases/postgres.md has an example"}
	}
	if c.Admin == "" {
		return nil, bad(nil, ".admin is missing: where the connection string of a role that may create roles is kept")
	}
	for _, list := range [][]string{c.Schemas, c.Clean} {
		for _, name := range list {
			if name == "" {
				return nil, bad(nil, ": an empty name in a list")
			}
		}
	}
	for class, role := range c.Roles {
		if role == "" {
			return nil, bad(nil, ".roles.%s names no role", class)
		}
	}
	if c.Connections < 0 || c.Connections > 1000 {
		return nil, bad(nil, ".connections is between 1 and 1000")
	}
	admin, err := r.source(field+".admin", c.Admin)
	if err != nil {
		return nil, err
	}
	b, err := postgres.New(postgres.Config{
		Admin: admin, Database: c.Database, Schemas: c.Schemas, Roles: c.Roles, ConnLimit: c.Connections,
		StatementTimeout: time.Duration(c.StatementTimeout), Databases: c.Clean,
	})
	if err != nil {
		return nil, bad(err, "")
	}
	return b, nil
}
