package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/secret"
)

func TestOpenPostgresLease(t *testing.T) {
	r := rootSources{name: "orders", source: func(field, ref string) (lease.Source, error) {
		if !strings.HasPrefix(ref, "file:") {
			return nil, fmt.Errorf("%s holds a secret", field)
		}
		return func(context.Context) (secret.Value, error) { return secret.Text(ref), nil }, nil
	}}
	for want, c := range map[string]PostgresLease{
		"": {Admin: "file:admin", Schemas: []string{"a"}, Roles: map[sallyport.Class]string{sallyport.Read: "reader"}, Connections: 2},
		"leases.orders.postgres.admin is missing":       {},
		"leases.orders.postgres.admin holds":            {Admin: "postgres://u:p@h/d"},
		"leases.orders.postgres: an empty name":         {Admin: "file:admin", Schemas: []string{""}},
		"leases.orders.postgres.roles.read names no":    {Admin: "file:admin", Roles: map[sallyport.Class]string{sallyport.Read: ""}},
		"leases.orders.postgres.connections is between": {Admin: "file:admin", Connections: -1},
	} {
		b, err := c.open(r)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
		if closer, ok := b.(interface{ Close() error }); ok && err == nil {
			closer.Close()
		}
	}
}
