package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/static"
)

// StaticLease is a key that exists already and is kept in custody.
type StaticLease struct {
	// Secret is its name: sallyport secrets put NAME.
	Secret string `yaml:"secret"`
	// Read is the name of another one, that may only read, for calls of class
	// read; default: Secret.
	Read string `yaml:"read"`
	// Hosts are where it may be sent: host:port, or https origins. They are
	// among those that it was put into custody with; default: all of those.
	Hosts []string `yaml:"hosts"`
	// Username makes it a user name and a password, not a token.
	Username string `yaml:"username"`
	// Rotate is how old it may get before secrets list and audit say so.
	Rotate age `yaml:"rotate"`
}

func (c *StaticLease) open(r rootSources) (lease.Backend, error) {
	field := "leases." + r.name + ".static"
	if c.Secret == "" {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: field + ".secret: it is missing", Fix: "secret: NAME, after sallyport secrets put NAME"}
	}
	hosts, err := origins(c.Hosts)
	if err != nil {
		return nil, fmt.Errorf("%s.hosts: %w", field, err)
	}
	store, err := r.custody()
	if err != nil {
		return nil, err
	}
	return static.New(static.Config{Store: store, Key: c.Secret, ReadKey: c.Read, Hosts: hosts, Username: c.Username})
}

// keys are the names of what it uses.
func (c *StaticLease) keys() []string {
	if c.Read == "" || c.Read == c.Secret {
		return []string{c.Secret}
	}
	return []string{c.Secret, c.Read}
}

// origins reads hosts as people write them.
func origins(hosts []string) ([]string, error) {
	var out []string
	for _, h := range hosts {
		o, err := static.Origin(h)
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

// age is a time.Duration that may be written in days: 90d.
type age time.Duration

// UnmarshalText reads 90d, or a duration such as 36h.
func (a *age) UnmarshalText(b []byte) error {
	if n, ok := strings.CutSuffix(string(b), "d"); ok {
		if days, err := strconv.ParseUint(n, 10, 16); err == nil {
			*a = age(days) * age(24*time.Hour)
			return nil
		}
	}
	d, err := time.ParseDuration(string(b))
	if err != nil || d < 0 {
		return fmt.Errorf("%q is not an age such as 90d or 36h", b)
	}
	*a = age(d)
	return nil
}

// Set and the following make an age a flag.
func (a *age) Set(s string) error { return a.UnmarshalText([]byte(s)) }
func (a *age) Type() string       { return "age" }
func (a *age) String() string     { return days(time.Duration(*a)) }

// days says an age in days where it is a whole number of them.
func days(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	return d.String()
}
