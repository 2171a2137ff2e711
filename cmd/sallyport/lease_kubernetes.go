package main

import (
	"fmt"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/kubernetes"
)

// KubernetesLease is a cluster and its service accounts:
// docs/leases/kubernetes.md.
type KubernetesLease struct {
	// API is the URL of the API server.
	API string `yaml:"api"`
	// CA is the path of the PEM of its authority; default: the system's.
	CA string `yaml:"ca"`
	// Who asks for tokens: a token, or a client certificate and its key.
	Token      string `yaml:"token"`
	ClientCert string `yaml:"client_cert"`
	ClientKey  string `yaml:"client_key"`
	Namespace  string `yaml:"namespace"`
	// The service accounts; a class that has none gets no token.
	Read  string `yaml:"read"`
	Write string `yaml:"write"`
	Act   string `yaml:"act"`
	// Audiences are who the token is for; default: the API server.
	Audiences []string `yaml:"audiences"`
}

func (c *KubernetesLease) open(r rootSources) (lease.Backend, error) {
	field := "leases." + r.name + ".kubernetes"
	conf := kubernetes.Config{API: c.API, Namespace: c.Namespace, Audiences: c.Audiences, ServiceAccounts: map[sallyport.Class]string{}}
	for _, s := range []struct {
		name, ref string
		to        *lease.Source
	}{{"token", c.Token, &conf.Token}, {"client_cert", c.ClientCert, &conf.ClientCert}, {"client_key", c.ClientKey, &conf.ClientKey}} {
		if s.ref == "" {
			continue
		}
		source, err := r.source(field+"."+s.name, s.ref)
		if err != nil {
			return nil, err
		}
		*s.to = source
	}
	if c.CA != "" {
		conf.CAFile = r.path(c.CA)
	}
	for class, account := range map[sallyport.Class]string{sallyport.Read: c.Read, sallyport.Write: c.Write, sallyport.Act: c.Act} {
		if account != "" {
			conf.ServiceAccounts[class] = account
		}
	}
	b, err := kubernetes.New(conf)
	if err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: fmt.Sprintf("leases.%s", r.name), Err: err,
			Fix: "api, ca, token (or client_cert and client_key), namespace, and read: SERVICE_ACCOUNT"}
	}
	return b, nil
}
