package mcp

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/gateway"
)

// leased is the way to a server with the client certificate of one lease. All
// connections that were opened with it end with the lease.
type leased struct {
	client *http.Client

	mu    sync.Mutex // guards what follows
	conns map[net.Conn]bool
	over  bool
}

// tracked is a connection of a lease.
type tracked struct {
	net.Conn
	l *leased
}

func (c *tracked) Close() error {
	c.l.mu.Lock()
	delete(c.l.conns, c)
	c.l.mu.Unlock()
	return c.Conn.Close()
}

// withCertificate returns the client of a lease, which lives until the lease
// or the gateway ends.
func (c *httpClient) withCertificate(lent *gateway.Lent, closing <-chan struct{}) (*http.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.leases[lent.Lease]; l != nil {
		return l.client, nil
	}
	cert, err := part(lent.Credential, partCert)
	if err != nil {
		return nil, err
	}
	key, err := part(lent.Credential, partKey)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		return nil, unfit("the parts %s and %s of its credential are no pair in PEM", partCert, partKey)
	}
	l := &leased{conns: map[net.Conn]bool{}}
	t := newTransport(c.srv)
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		raw, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		conn := &tracked{raw, l}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.over {
			raw.Close()
			return nil, errRevoked
		}
		l.conns[conn] = true
		return conn, nil
	}
	t.TLSClientConfig.Certificates = []tls.Certificate{pair}
	l.client = &http.Client{Transport: t, CheckRedirect: noRedirect}
	if c.leases == nil {
		c.leases = map[sallyport.ID]*leased{}
	}
	c.leases[lent.Lease] = l
	go func() {
		select {
		case <-lent.Done:
		case <-closing:
		}
		c.mu.Lock()
		delete(c.leases, lent.Lease)
		c.mu.Unlock()
		l.mu.Lock()
		l.over = true
		conns := l.conns
		l.conns = map[net.Conn]bool{}
		l.mu.Unlock()
		for conn := range conns {
			_ = conn.(*tracked).Conn.Close() // whoever reads it learns of it
		}
		t.CloseIdleConnections()
	}()
	return l.client, nil
}
