package main

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/secret"
)

// The examples of docs/leases open, and what is wrong in them is said with the
// field's name.
func TestLeasesOfServers(t *testing.T) {
	r := rootSources{
		source: func(field, ref string) (lease.Source, error) {
			if ref == "" {
				return nil, sallyport.Errorf(sallyport.EInvalid, "bad_config", "%s is missing", field)
			}
			return func(context.Context) (secret.Value, error) { return secret.Text("x"), nil }, nil
		},
		path: func(s string) string { return s },
		name: "x",
	}
	for _, tt := range []struct{ text, wrong string }{
		{"redis: {addresses: ['127.0.0.1:1'], user: u, password: env:X, keys: ['orders:*'], channels: [n], tls: {}, classes: {read: [+get]}}", ""},
		{"redis: {addresses: ['127.0.0.1:1'], keys: ['*']}", "leases.x.redis.password"},
		{"redis: {addresses: ['127.0.0.1:1'], password: env:X}", "leases.x.redis: redis: there are no patterns"},
		{"redis: {addresses: ['127.0.0.1:1'], password: env:X, keys: ['*'], tls: {ca: /does/not/exist}}", "leases.x.redis.tls.ca"},
		{"mysql: {address: '127.0.0.1:1', user: u, password: env:X, databases: [shop], host: 10.0.0.%, connections: 4, statement_time: 30s, classes: {act: [SELECT, UPDATE]}}", ""},
		{"mysql: {address: '127.0.0.1:1', user: u, password: env:X, databases: [shop], classes: {read: [DELETE]}}", "leases.x.mysql: mysql: a credential of class read"},
		{"rabbitmq: {management: 'https://h:1', tls: {}, user: u, password: env:X, broker: 'amqps://h:2', vhost: /, names: 'orders|orders\\..*', connections: 4, classes: {write: {write: 'orders\\.x'}}}", ""},
		{"rabbitmq: {management: 'https://a:b@h:1', user: u, password: env:X, broker: 'amqps://h:2', names: x}", "leases.x.rabbitmq: rabbitmq: an address"},
	} {
		var c Backends
		if err := yaml.UnmarshalWithOptions([]byte(tt.text), &c, yaml.Strict()); err != nil {
			t.Fatalf("%s: %v", tt.text, err)
		}
		_, o, err := c.opener()
		if err != nil {
			t.Fatal(err)
		}
		b, err := o.open(r)
		switch {
		case tt.wrong == "" && err != nil:
			t.Errorf("%s: %v", tt.text, err)
		case tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)):
			t.Errorf("%s: %v, want %q", tt.text, err, tt.wrong)
		}
		if c, ok := b.(io.Closer); ok && err == nil {
			c.Close()
		}
	}
}
