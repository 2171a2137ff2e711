package workload

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// Both ends of mTLS live on SVIDs of three seconds while callers never rest:
// no call fails, while SVIDs change and a new root is announced.
func TestRotationUnderLoad(t *testing.T) {
	mint := embeddedFor(t, "example.org", 3*time.Second)
	s, addr := serve(t, ServerConfig{Mint: mint, Identify: everybody(botID), Poll: 50 * time.Millisecond})
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	open := func() *workloadapi.X509Source {
		src, err := workloadapi.NewX509Source(ctx, workloadapi.WithClientOptions(workloadapi.WithAddr(addr)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { src.Close() })
		return src
	}
	server, client := open(), open()

	l, err := tls.Listen("tcp", "127.0.0.1:0", tlsconfig.MTLSServerConfig(server, server, tlsconfig.AuthorizeID(botID)))
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { echo(c) })
		}
	})
	defer conns.Wait()
	defer l.Close()

	const callers = 4
	var calls atomic.Int64
	done := make(chan struct{})
	failed := make(chan error, callers)
	var load sync.WaitGroup
	for range callers {
		load.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := call(l.Addr().String(), client); err != nil {
					failed <- err
					return
				}
				calls.Add(1)
			}
		})
	}
	serials := map[string]bool{}
	for len(serials) < 4 && ctx.Err() == nil {
		svid, err := client.GetX509SVID()
		if err != nil {
			t.Fatal(err)
		}
		serials[svid.Certificates[0].SerialNumber.String()] = true
		select {
		case err := <-failed:
			t.Fatal(err)
		case <-client.Updated():
		case <-ctx.Done():
		}
		if len(serials) == 2 {
			if err := mint.Authority.Rotate(time.Now()); err != nil {
				t.Fatal(err)
			}
			s.Notify()
		}
	}
	close(done)
	load.Wait()
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	if len(serials) < 4 || calls.Load() == 0 {
		t.Fatalf("%d SVIDs, %d calls", len(serials), calls.Load())
	}
	t.Logf("%d calls on new connections, %d SVIDs, none failed", calls.Load(), len(serials))
}

func echo(c net.Conn) {
	defer c.Close()
	_, _ = io.Copy(c, c) // the caller sees what fails
}

func call(addr string, src *workloadapi.X509Source) (err error) {
	c, err := tls.Dial("tcp", addr, tlsconfig.MTLSClientConfig(src, src, tlsconfig.AuthorizeID(botID)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if _, err := fmt.Fprintln(c, "hello"); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && line != "hello\n" {
		err = fmt.Errorf("answered %q", line)
	}
	return err
}
