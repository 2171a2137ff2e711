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
// no call fails, while SVIDs change and a new root is announced. On a machine
// that stands still for longer than such an SVID has left they live longer.
func TestRotationUnderLoad(t *testing.T) {
	for ttl := 3 * time.Second; ; ttl *= 2 {
		err := rotates(t, ttl)
		if err == nil {
			return
		}
		if ttl > time.Minute {
			t.Fatalf("SVIDs of %v: %v", ttl, err)
		}
		t.Logf("SVIDs of %v: %v", ttl, err)
	}
}

func rotates(t *testing.T, ttl time.Duration) error {
	mint := embeddedFor(t, "example.org", ttl)
	s, addr := serve(t, ServerConfig{Mint: mint, Identify: everybody(botID), Poll: 50 * time.Millisecond})
	ctx, stop := context.WithTimeout(context.Background(), time.Minute+10*ttl)
	defer stop()
	open := func() (*workloadapi.X509Source, error) {
		src, err := workloadapi.NewX509Source(ctx, workloadapi.WithClientOptions(workloadapi.WithAddr(addr)))
		if err == nil {
			t.Cleanup(func() { src.Close() })
		}
		return src, err
	}
	server, err := open()
	if err != nil {
		return err
	}
	client, err := open()
	if err != nil {
		return err
	}

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
	defer load.Wait()
	end := sync.OnceFunc(func() { close(done) })
	defer end()
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
			return err
		}
		serials[svid.Certificates[0].SerialNumber.String()] = true
		select {
		case err := <-failed:
			return err
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
	end()
	load.Wait()
	select {
	case err := <-failed:
		return err
	default:
	}
	if len(serials) < 4 || calls.Load() == 0 {
		return fmt.Errorf("%d SVIDs, %d calls", len(serials), calls.Load())
	}
	t.Logf("%d calls on new connections, %d SVIDs, none failed", calls.Load(), len(serials))
	return nil
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
