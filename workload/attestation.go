package workload

import (
	"context"
	"net"

	"google.golang.org/grpc/credentials"

	"github.com/sallyport-dev/sallyport"
)

// attestation is how gRPC learns who is at the other end: from the kernel,
// where TLS would ask for a certificate.
type attestation struct{ programs *programs }

// attested is a connection whose peer was attested when it came.
type attested struct{ conn *peerConn }

// AuthType implements credentials.AuthInfo.
func (attested) AuthType() string { return "peer" }

// ServerHandshake implements credentials.TransportCredentials.
func (a attestation) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	p, ok := c.(*peerConn)
	if !ok {
		return nil, nil, sallyport.Errorf(sallyport.EInternal, "no_peer", "the listener does not attest")
	}
	ctx, stop := context.WithTimeout(context.Background(), handshakeTTL)
	defer stop()
	if _, err := p.attest(ctx, a.programs); err != nil {
		return nil, nil, err
	}
	return p, attested{p}, nil
}

// ClientHandshake implements credentials.TransportCredentials; there is no
// client.
func (attestation) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, sallyport.Errorf(sallyport.EInternal, "no_client", "a Workload API does not call")
}

// Info implements credentials.TransportCredentials.
func (attestation) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "peer"}
}

// Clone implements credentials.TransportCredentials.
func (a attestation) Clone() credentials.TransportCredentials { return a }

// OverrideServerName implements credentials.TransportCredentials; there are
// no names on a unix socket.
func (attestation) OverrideServerName(string) error { return nil }
