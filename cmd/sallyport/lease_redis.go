package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/redis"
)

// RedisLease mints ACL users of Redis.
type RedisLease struct {
	// Addresses are host:port, or the path of a socket, of every node.
	Addresses []string `yaml:"addresses"`
	// TLS is used if it is there: "tls: {}" for the authorities of the system.
	TLS *LeaseTLS `yaml:"tls"`
	// User is who makes users; default "default".
	User string `yaml:"user"`
	// Password is where User's is kept.
	Password string `yaml:"password"`
	// Keys and Channels are patterns; "*" is all.
	Keys     []string `yaml:"keys"`
	Channels []string `yaml:"channels"`
	// Classes are rules such as "+get" that replace those of a class.
	Classes map[sallyport.Class][]string `yaml:"classes"`
}

func (c *RedisLease) open(r rootSources) (lease.Backend, error) {
	field := "leases." + r.name + ".redis"
	password, err := r.source(field+".password", c.Password)
	if err != nil {
		return nil, err
	}
	conf := redis.Config{Addresses: c.Addresses, User: c.User, Password: password, Keys: c.Keys, Channels: c.Channels, Classes: c.Classes}
	if c.TLS != nil {
		if conf.TLS, err = c.TLS.config(r, field+".tls"); err != nil {
			return nil, err
		}
	}
	b, err := redis.New(conf)
	if err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: field, Err: err, Fix: "docs/leases/redis.md has an example"}
	}
	return b, nil
}

// LeaseTLS is how the gateway checks the server that it mints at.
type LeaseTLS struct {
	// CA is a file of certificates in PEM; default: the system's.
	CA string `yaml:"ca"`
	// ServerName is the name in the server's certificate; default: the host of
	// the address.
	ServerName string `yaml:"server_name"`
}

func (c *LeaseTLS) config(r rootSources, field string) (*tls.Config, error) {
	conf := &tls.Config{ServerName: c.ServerName, MinVersion: tls.VersionTLS12}
	if c.CA == "" {
		return conf, nil
	}
	pem, err := os.ReadFile(r.path(c.CA))
	if err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: field + ".ca", Err: err, Fix: "name a file of certificates in PEM"}
	}
	conf.RootCAs = x509.NewCertPool()
	if !conf.RootCAs.AppendCertsFromPEM(pem) {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: fmt.Sprintf("%s.ca: %s holds no certificate", field, c.CA), Fix: "name a file of certificates in PEM"}
	}
	return conf, nil
}
