package main

import (
	"cmp"
	"fmt"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/sts"
)

// STSLease is a role of AWS, or of what speaks its STS: docs/leases/sts.md.
type STSLease struct {
	// Endpoint is the URL of the service; default: AWS's of the region.
	Endpoint string `yaml:"endpoint"`
	Region   string `yaml:"region"`
	// Who assumes the role: a key, or a token of an OpenID provider.
	AccessKey    string `yaml:"access_key"`
	SecretKey    string `yaml:"secret_key"`
	SessionToken string `yaml:"session_token"`
	WebIdentity  string `yaml:"web_identity"`
	ExternalID   string `yaml:"external_id"`
	// Attribution is false for services that refuse session tags.
	Attribution *bool `yaml:"attribution"`
	// Role is the ARN of the role of the classes that name none.
	Role string `yaml:"role"`
	// What a class may do; a class that is not named gets no session.
	Read  *STSSession `yaml:"read"`
	Write *STSSession `yaml:"write"`
	Act   *STSSession `yaml:"act"`
}

// STSSession is a role and the session policy, in JSON, that narrows it.
type STSSession struct {
	Role   string `yaml:"role"`
	Policy string `yaml:"policy"`
}

func (c *STSLease) open(r rootSources) (lease.Backend, error) {
	field := "leases." + r.name + ".sts"
	conf := sts.Config{Endpoint: c.Endpoint, Region: c.Region, ExternalID: c.ExternalID, Classes: map[sallyport.Class]sts.Session{},
		Attribution: c.Attribution == nil || *c.Attribution}
	for _, s := range []struct {
		name, ref string
		to        *lease.Source
	}{
		{"access_key", c.AccessKey, &conf.AccessKey}, {"secret_key", c.SecretKey, &conf.SecretKey},
		{"session_token", c.SessionToken, &conf.SessionToken}, {"web_identity", c.WebIdentity, &conf.WebIdentity},
	} {
		if s.ref == "" {
			continue
		}
		source, err := r.source(field+"."+s.name, s.ref)
		if err != nil {
			return nil, err
		}
		*s.to = source
	}
	for class, s := range map[sallyport.Class]*STSSession{sallyport.Read: c.Read, sallyport.Write: c.Write, sallyport.Act: c.Act} {
		if s != nil {
			conf.Classes[class] = sts.Session{Role: cmp.Or(s.Role, c.Role), Policy: s.Policy}
		}
	}
	b, err := sts.New(conf)
	if err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: fmt.Sprintf("leases.%s", r.name), Err: err,
			Fix: "region, role, access_key and secret_key (or web_identity), and read: {policy: JSON}"}
	}
	return b, nil
}
