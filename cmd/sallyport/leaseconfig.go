package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/custody"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/vault"
)

// LeaseConfig is a kind of credential that servers use: exactly one backend,
// and how long and for what one of it is minted.
type LeaseConfig struct {
	// TTL is how long a credential lives at most; default 5m.
	TTL duration `yaml:"ttl"`
	// Scope is task (one for what a task does, but one for each act) or call.
	Scope lease.Scope `yaml:"scope"`

	Backends `yaml:",inline"`
}

// Backends are the kinds of credentials there are; one of them is set.
type Backends struct {
	RabbitMQ   *RabbitMQLease   `yaml:"rabbitmq"`
	OAuth      *OAuthLease      `yaml:"oauth"`
	MySQL      *MySQLLease      `yaml:"mysql"`
	Kubernetes *KubernetesLease `yaml:"kubernetes"`
	STS        *STSLease        `yaml:"sts"`
	Postgres   *PostgresLease   `yaml:"postgres"`
	Redis      *RedisLease      `yaml:"redis"`
	SSH        *SSHLease        `yaml:"ssh"`
	Static     *StaticLease     `yaml:"static"`
	GitHub     *GitHubLease     `yaml:"github"`
	Vault      *VaultLease      `yaml:"vault"`
}

// opener makes a backend of its part of the config.
type opener interface {
	open(r rootSources) (lease.Backend, error)
}

// rootSources finds root credentials for the backends.
type rootSources struct {
	// source reads "env:NAME", "file:PATH", "systemd:NAME" or
	// "vault:PATH#FIELD"; anything else is a secret in the config, which is
	// refused. field is named in the error: "leases.orders-db.postgres.admin".
	source func(field, ref string) (lease.Source, error)
	// vault is the connection of the config's vault.
	vault func() (*vault.Client, error)
	// connect makes a connection to another Vault, whose credentials stand
	// below field.
	connect func(field string, v *VaultConfig) (*vault.Client, error)
	// custody holds the keys that are kept for what cannot mint any.
	custody func() (*custody.Store, error)
	// box seals what a backend keeps by itself, and issuer says whom a task is
	// for.
	box    func() (*custody.Box, error)
	issuer *identity.Issuer
	// path makes a path of the config absolute.
	path func(string) string
	// data is the gateway's data directory.
	data string
	// name is the entry under leases.
	name string
}

// opener is the one backend that is set.
func (b *Backends) opener() (string, opener, error) {
	v := reflect.ValueOf(b).Elem()
	var kinds, all []string
	var found opener
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		all = append(all, name)
		if f := v.Field(i); !f.IsNil() {
			kinds = append(kinds, name)
			found = f.Interface().(opener)
		}
	}
	if len(kinds) != 1 {
		slices.Sort(all)
		return "", nil, fmt.Errorf("one of %s is needed, and there are %d", strings.Join(all, ", "), len(kinds))
	}
	return kinds[0], found, nil
}
