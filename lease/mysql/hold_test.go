package mysql_test

import (
	"context"
	"net"
)

// holdsBack dials connections whose second packet, the answer to the server's
// question for a password, waits until hold is closed. reached is closed when
// it would have been sent.
func holdsBack(hold, reached chan struct{}) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return &heldConn{Conn: conn, hold: hold, reached: reached}, err
	}
}

type heldConn struct {
	net.Conn
	hold, reached chan struct{}
	writes        int
}

func (c *heldConn) Write(b []byte) (int, error) {
	if c.writes++; c.writes == 2 {
		close(c.reached)
		<-c.hold
	}
	return c.Conn.Write(b)
}
