package transport

import (
	"context"
	"errors"
	gonet "net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cutShort is a connection that is reset behind what the other side said.
type cutShort struct {
	gonet.Conn
	said      *strings.Reader
	unwritten bool // the reset comes while the request is written
}

func (c *cutShort) Read(b []byte) (int, error) {
	if c.said.Len() == 0 {
		return 0, syscall.ECONNRESET
	}
	return c.said.Read(b)
}

func (c *cutShort) Write(b []byte) (int, error) {
	if c.unwritten {
		return 0, syscall.EPIPE
	}
	return len(b), nil
}

func (c *cutShort) SetDeadline(time.Time) error { return nil }
func (c *cutShort) Close() error                { return nil }

// TestWhatWasSaidBeforeAReset: an answer that says why two nodes do not fit counts,
// even if the connection is reset behind it; part of any other does not.
func TestWhatWasSaidBeforeAReset(t *testing.T) {
	for _, c := range []struct{ name, said, want string }{
		{"TLS server", "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n", "it speaks TLS, and this node does not"},
		{"password", "HTTP/1.1 401 Unauthorized\r\nContent-Length: 13\r\n\r\nUnauth", "it asks for a password"},
		{"part of a refusal", "HTTP/1.1 403 Forbidden\r\nContent-Length: 80\r\n\r\n{\"error\":\"this pa", ""},
		{"part of another answer", "HTTP/1.0 400 Bad Request\r\n\r\nClient se", ""},
		{"nothing", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, unwritten := range []bool{false, true} {
				dial := func(context.Context, string) (gonet.Conn, error) {
					return &cutShort{said: strings.NewReader(c.said), unwritten: unwritten}, nil
				}
				_, _, _, err := Connect(t.Context(), dial, "node2:80", KindCalls, &host{id: 1, cluster: "c"})
				if !errors.Is(err, ErrUnreachable) {
					t.Errorf("not as unreachable: %v", err)
				}
				var misfit *HandshakeError
				if errors.As(err, &misfit) != (c.want != "") || (misfit != nil && !strings.HasPrefix(misfit.Text, c.want)) {
					t.Errorf("%v, want %q", err, c.want)
				}
			}
		})
	}
}
