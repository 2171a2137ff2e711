package main

import (
	"fmt"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/ssh"
)

// SSHLease is an SSH certificate authority of the gateway: docs/leases/ssh.md.
type SSHLease struct {
	// CA is where its private key is: an OpenSSH PEM without a passphrase.
	CA string `yaml:"ca"`
	// What a class may do; a class that is not named gets no certificate.
	Read  *SSHLogin `yaml:"read"`
	Write *SSHLogin `yaml:"write"`
	Act   *SSHLogin `yaml:"act"`
	// SourceAddress are the addresses and CIDR blocks it is good from.
	SourceAddress []string `yaml:"source_address"`
	// Extensions permit more than running a command, such as permit-pty.
	Extensions []string `yaml:"extensions"`
	// KRL is the revocation list that servers read as RevokedKeys.
	KRL string `yaml:"krl"`
}

// SSHLogin is what a class may do.
type SSHLogin struct {
	Principals   []string `yaml:"principals"`
	ForceCommand string   `yaml:"force_command"`
}

func (c *SSHLease) open(r rootSources) (lease.Backend, error) {
	field := "leases." + r.name + ".ssh"
	if c.CA == "" {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: field + ".ca is missing",
			Fix: "ca: file:PATH, the private key that ssh-keygen -t ed25519 -N '' made"}
	}
	ca, err := r.source(field+".ca", c.CA)
	if err != nil {
		return nil, err
	}
	conf := ssh.Config{CA: ca, Classes: map[sallyport.Class]ssh.Login{}, SourceAddress: c.SourceAddress, Extensions: c.Extensions}
	for class, l := range map[sallyport.Class]*SSHLogin{sallyport.Read: c.Read, sallyport.Write: c.Write, sallyport.Act: c.Act} {
		if l != nil {
			conf.Classes[class] = ssh.Login(*l)
		}
	}
	if len(conf.Classes) == 0 {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: field + " lets no class in",
			Fix: "read: {principals: [USER], force_command: COMMAND}"}
	}
	if c.KRL != "" {
		conf.KRL = r.path(c.KRL)
	}
	b, err := ssh.New(conf)
	if err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: fmt.Sprintf("leases.%s", r.name), Err: err}
	}
	return b, nil
}
