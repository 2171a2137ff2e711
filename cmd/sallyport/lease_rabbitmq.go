package main

import (
	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/rabbitmq"
)

// RabbitMQLease mints users of RabbitMQ.
type RabbitMQLease struct {
	// Management is the address of the management API.
	Management string `yaml:"management"`
	// TLS is how its certificate is checked; default: by the system's
	// authorities.
	TLS *LeaseTLS `yaml:"tls"`
	// User is an administrator, and Password is where its password is kept.
	User     string `yaml:"user"`
	Password string `yaml:"password"`
	// Broker is where clients connect: amqp://host:port or amqps://host:port.
	Broker string `yaml:"broker"`
	// VHost is the virtual host; default "/".
	VHost string `yaml:"vhost"`
	// Names is a regular expression of queues and exchanges.
	Names string `yaml:"names"`
	// Connections of one user at once; default 4.
	Connections int `yaml:"connections"`
	// Classes replace what a class may do.
	Classes map[sallyport.Class]RabbitMQPermissions `yaml:"classes"`
}

// RabbitMQPermissions are regular expressions of names; "" is none.
type RabbitMQPermissions struct {
	Configure string `yaml:"configure"`
	Write     string `yaml:"write"`
	Read      string `yaml:"read"`
}

func (c *RabbitMQLease) open(r rootSources) (lease.Backend, error) {
	field := "leases." + r.name + ".rabbitmq"
	password, err := r.source(field+".password", c.Password)
	if err != nil {
		return nil, err
	}
	conf := rabbitmq.Config{
		Management: c.Management, User: c.User, Password: password, Broker: c.Broker, VHost: c.VHost, Names: c.Names, Connections: c.Connections,
		Classes: map[sallyport.Class]rabbitmq.Permissions{},
	}
	for class, p := range c.Classes {
		conf.Classes[class] = rabbitmq.Permissions(p)
	}
	if c.TLS != nil {
		if conf.TLS, err = c.TLS.config(r, field+".tls"); err != nil {
			return nil, err
		}
	}
	b, err := rabbitmq.New(conf)
	if err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: field, Err: err, Fix: "docs/leases/rabbitmq.md has an example"}
	}
	return b, nil
}
