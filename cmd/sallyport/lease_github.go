package main

import (
	"os"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/github"
)

// GitHubLease mints installation access tokens of a GitHub App.
type GitHubLease struct {
	// API is the base of an enterprise server's: https://HOST/api/v3.
	API string `yaml:"api"`
	// CA is a file of certificates in PEM; default: the system's.
	CA string `yaml:"ca"`
	// App is the App's client id, or its id.
	App          string `yaml:"app"`
	Installation int64  `yaml:"installation"`
	// Key is where the App's private key is kept.
	Key string `yaml:"key"`
	// Repositories are names without their owner; default: all.
	Repositories []string                              `yaml:"repositories"`
	Permissions  map[sallyport.Class]map[string]string `yaml:"permissions"`
}

func (c *GitHubLease) open(r rootSources) (lease.Backend, error) {
	field := "leases." + r.name + ".github"
	bad := func(err error, fix string) error {
		return &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: field, Err: err, Fix: fix}
	}
	key, err := r.source(field+".key", c.Key)
	if err != nil {
		return nil, err
	}
	conf := github.Config{API: c.API, App: c.App, Installation: c.Installation, Key: key, Repositories: c.Repositories, Permissions: c.Permissions}
	if c.CA != "" {
		if conf.CA, err = os.ReadFile(r.path(c.CA)); err != nil {
			return nil, bad(err, "ca: PATH of a PEM file")
		}
	}
	b, err := github.New(conf)
	if err != nil {
		return nil, bad(err, "docs/leases/github.md has an example")
	}
	return b, nil
}
