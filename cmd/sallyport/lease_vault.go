package main

import (
	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/vault"
)

// VaultLease mints with the dynamic secrets engines of Vault and OpenBao.
type VaultLease struct {
	// Connection is another Vault than that of the config.
	Connection *VaultConfig `yaml:"connection"`
	// Role is the token role for the tokens of handles.
	Role     string                       `yaml:"role"`
	Paths    map[sallyport.Class]string   `yaml:"paths"`
	Policies map[sallyport.Class][]string `yaml:"policies"`
	// Method is GET, or PUT with Params.
	Method string            `yaml:"method"`
	Params map[string]string `yaml:"params"`
	// Fields are parts of the credential by the field in Vault's answer.
	Fields map[string]string `yaml:"fields"`
	// Revoke is none for engines that cannot take back what they gave.
	Revoke lease.Revocation `yaml:"revoke"`
	// List: false does without the right to list accessors.
	List      *bool `yaml:"list"`
	MaxTokens int   `yaml:"max_tokens"`
}

func (c *VaultLease) open(r rootSources) (lease.Backend, error) {
	field := "leases." + r.name + ".vault"
	bad := func(text, fix string, err error) error {
		return &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: field + text, Fix: fix, Err: err}
	}
	var client *vault.Client
	var err error
	if c.Connection != nil {
		client, err = r.connect(field+".connection", c.Connection)
	} else {
		client, err = r.vault()
	}
	if err != nil {
		return nil, err
	}
	if c.Method != "" && c.Method != "GET" && c.Method != "PUT" {
		return nil, bad(".method: it is GET or PUT", "method: PUT", nil)
	}
	if c.Method != "PUT" && len(c.Params) > 0 {
		return nil, bad(".params: a GET has none", "method: PUT", nil)
	}
	b, err := vault.New(vault.Config{
		Client: client, Role: c.Role, Paths: c.Paths, Policies: c.Policies, Put: c.Method == "PUT", Params: c.Params, Fields: c.Fields,
		Revoke: c.Revoke, NoList: c.List != nil && !*c.List, MaxTokens: c.MaxTokens,
	})
	if err != nil {
		return nil, bad("", "docs/leases/vault.md has an example", err)
	}
	return b, nil
}
