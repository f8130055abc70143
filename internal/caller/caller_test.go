package caller

import (
	"context"
	"crypto/tls"
	"net"
	"runtime"
	"testing"
	"time"
)

// pair returns both ends of a TCP connection.
func pair(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Close(), s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

func becomes(t *testing.T, ctx context.Context, what string) {
	t.Helper()
	look, limit := time.NewTicker(5*time.Millisecond), time.After(30*time.Second)
	defer look.Stop()
	for !GaveUp(ctx) {
		select {
		case <-look.C:
		case <-limit:
			t.Fatalf("%s: the client counts as waiting", what)
		}
	}
}

func TestGaveUp(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells")
	}
	for _, c := range []struct {
		name string
		end  func(client *net.TCPConn) error
	}{
		{"closed behind the request", (*net.TCPConn).Close},
		{"reset", func(c *net.TCPConn) error {
			if err := c.SetLinger(0); err != nil {
				return err
			}
			return c.Close()
		}},
		{"half closed long ago", (*net.TCPConn).CloseWrite},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, server := pair(t)
			// The request itself is never read: its end is seen all the same.
			if _, err := client.Write([]byte("POST /insert")); err != nil {
				t.Fatal(err)
			}
			plain, encrypted := With(t.Context(), server), With(t.Context(), tls.Server(server, &tls.Config{MinVersion: tls.VersionTLS12}))
			if GaveUp(plain) || GaveUp(encrypted) {
				t.Fatal("a client that waits counts as gone")
			}
			if err := c.end(client); err != nil {
				t.Fatal(err)
			}
			becomes(t, plain, c.name)
			becomes(t, encrypted, c.name+", within TLS")
		})
	}
}

func TestGaveUpWithoutConnection(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	if GaveUp(ctx) || GaveUp(With(ctx, nil)) {
		t.Error("a request without a connection counts as given up")
	}
	cancel()
	if !GaveUp(ctx) {
		t.Error("one whose context has ended does not")
	}
}

func TestGaveUpClosedHere(t *testing.T) {
	_, server := pair(t)
	ctx := With(t.Context(), server)
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if !GaveUp(ctx) {
		t.Error("the answer goes nowhere, and the client counts as waiting")
	}
}
