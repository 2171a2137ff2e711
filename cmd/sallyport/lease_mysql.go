package main

import (
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/mysql"
)

// MySQLLease mints users of MariaDB or MySQL.
type MySQLLease struct {
	// Address is host:port, or the path of a socket.
	Address string `yaml:"address"`
	// TLS is used if it is there: "tls: {}" for the authorities of the system.
	TLS *LeaseTLS `yaml:"tls"`
	// User is who makes users, and Password is where its password is kept.
	User     string `yaml:"user"`
	Password string `yaml:"password"`
	// Databases are what credentials are for; the first is the default one.
	Databases []string `yaml:"databases"`
	// Host is from where the users may connect; default "%", anywhere.
	Host string `yaml:"host"`
	// Connections of one user at once; default 4.
	Connections int `yaml:"connections"`
	// StatementTime is the max_statement_time that a session begins with;
	// default 30s.
	StatementTime duration `yaml:"statement_time"`
	// Classes are the privileges of a class on the databases.
	Classes map[sallyport.Class][]string `yaml:"classes"`
}

func (c *MySQLLease) open(r rootSources) (lease.Backend, error) {
	field := "leases." + r.name + ".mysql"
	password, err := r.source(field+".password", c.Password)
	if err != nil {
		return nil, err
	}
	conf := mysql.Config{
		Address: c.Address, User: c.User, Password: password, Databases: c.Databases, Host: c.Host,
		Connections: c.Connections, StatementTime: time.Duration(c.StatementTime), Classes: c.Classes,
	}
	if c.TLS != nil {
		if conf.TLS, err = c.TLS.config(r, field+".tls"); err != nil {
			return nil, err
		}
	}
	b, err := mysql.New(conf)
	if err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: field, Err: err, Fix: "docs/leases/mysql.md has an example"}
	}
	return b, nil
}
