package server

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"github.com/count-db/count/internal/selfsigned"
)

// webConfig writes a web config file with TLS and a password, and returns its path
// and a client that trusts it.
func webConfig(t *testing.T) (string, *http.Client) {
	t.Helper()
	ca, err := selfsigned.NewAuthority("ca")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.Issue(time.Now().Add(time.Hour), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("password"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	text := fmt.Sprintf("tls_server_config: {cert_file: pair.pem, key_file: pair.pem}\nbasic_auth_users: {ann: %s}\n", hash)
	err = errors.Join(os.WriteFile(filepath.Join(dir, "pair.pem"), append(cert, key...), 0o600), os.WriteFile(filepath.Join(dir, "web.yml"), []byte(text), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return filepath.Join(dir, "web.yml"), &http.Client{Transport: transport}
}

// serve serves on loopback until the end of the test.
func serve(t *testing.T, h Handlers, opts Options) string {
	t.Helper()
	s, err := New(h, opts)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serving := make(chan error, 1)
	go func() { serving <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(s.Shutdown(t.Context()), s.Close(), <-serving); err != nil && !errors.Is(err, t.Context().Err()) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func ask(t *testing.T, client *http.Client, url, authorization string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", authorization)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Proto + " " + string(text)
}

func secretsOf(all ...string) func() []string { return func() []string { return all } }

// TestBothAtOnePort: while a cluster changes over, TLS and plain HTTP are served at
// one port, with the same passwords; the secret opens what is for nodes.
func TestBothAtOnePort(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("served", func(t *testing.T) {
		file, client := webConfig(t)
		at := serve(t, Handlers{Health: echo("health"), Metrics: echo("metrics"), ClusterStatus: echo("status")},
			Options{WebConfigFile: file, ClusterSecrets: secretsOf("other", "secret"), AlsoPlain: true, RoutePrefix: "/count"})
		for _, scheme := range []string{"http", "https"} {
			for _, c := range []struct {
				path, authorization string
				code                int
				want                string
			}{
				{"/metrics", "", 401, "Unauthorized"},
				{"/metrics", "Basic YW5uOnBhc3N3b3Jk", 200, "metrics"},
				{"/metrics", "Bearer secret", 401, ""},
				{"/health", "Bearer secret", 200, "health /health"},
				{"/health", "Bearer other", 200, "health /health"},
				{"/count/health", "Bearer secret", 200, "health /health"},
				{"/count/cluster/status", "Bearer secret", 200, "status"},
				{"/cluster/status", "Bearer secre", 401, ""},
				{"/cluster/status", "Bearer ", 401, ""},
				{"/cluster/unknown", "Bearer secret", 401, ""},
				{"/", "Bearer secret", 401, ""},
			} {
				code, text := ask(t, client, scheme+"://"+at+c.path, c.authorization)
				if code != c.code || !strings.Contains(text, c.want) {
					t.Errorf("%s %s with %q: %d %s, want %d %s", scheme, c.path, c.authorization, code, text, c.code, c.want)
				}
				if strings.HasPrefix(text, "HTTP/2") != (scheme == "https") {
					t.Errorf("%s: %s", scheme, text)
				}
			}
		}
	})
}

// TestNoPlainBesideTLS: where it is not asked for, plain HTTP gets an error.
func TestNoPlainBesideTLS(t *testing.T) {
	file, client := webConfig(t)
	at := serve(t, Handlers{Health: echo("health")}, Options{WebConfigFile: file, ClusterSecrets: secretsOf("secret")})
	if code, _ := ask(t, client, "https://"+at+"/health", "Bearer secret"); code != 200 {
		t.Errorf("TLS: %d", code)
	}
	if code, text := ask(t, client, "http://"+at+"/health", "Bearer secret"); code != 400 || !strings.Contains(text, "HTTPS server") {
		t.Errorf("plain: %d %s", code, text)
	}
}

// TestSplitterBounds: a connection that sends nothing is dropped after a while and
// holds up no other; closing ends those that wait.
func TestSplitterBounds(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newSplitter(l, 50*time.Millisecond)
	dial := func(say string) net.Conn {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			_, err = io.WriteString(nc, say)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
		return nc
	}
	mute := dial("")
	dial("GET / HTTP/1.1\r\n")
	nc, err := s.plain.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(nc).ReadString('\n'); err != nil || line != "GET / HTTP/1.1\r\n" {
		t.Errorf("%q %v", line, err)
	}
	if _, err := mute.Read(make([]byte, 1)); err == nil {
		t.Error("a connection that says nothing is answered")
	}
	dial("\x16\x03\x01") // nobody takes it
	if err := errors.Join(nc.Close(), s.encrypted.Close(), s.plain.Close()); err != nil {
		t.Error(err)
	}
	if _, err := s.encrypted.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
}

// TestOwnFaultsAreSaid: what keeps this node from TLS is told apart from what
// clients do.
func TestOwnFaultsAreSaid(t *testing.T) {
	for line, want := range map[string]string{
		"http: TLS handshake error from 10.0.0.1:4711: EOF":                                                    "",
		"http: TLS handshake error from 10.0.0.1:4711: remote error: tls: bad certificate":                     "",
		"http: TLS handshake error from 10.0.0.1:4711: read tcp 10.0.0.2:80->10.0.0.1:4711: i/o timeout":       "",
		"http: TLS handshake error from [::1]:4711: failed to load X509KeyPair: tls: failed to find any PEM":   "failed to load X509KeyPair: tls: failed to find any PEM",
		"http: TLS handshake error from 10.0.0.1:4711: open /etc/count/web.yml: no such file or directory":     "open /etc/count/web.yml: no such file or directory",
		"http: superfluous response.WriteHeader call from main.main":                                           "",
		"http: TLS handshake error from 10.0.0.1:4711: tls: first record does not look like a TLS handshake\n": "",
	} {
		if got := handshakeFault(line); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

// TestCommandLineIsMasked: a secret that was given as a flag does not show.
func TestCommandLineIsMasked(t *testing.T) {
	h := newServer(t, Handlers{}, Options{AdminAPI: true, ClusterSecrets: secretsOf(os.Args[0])})
	if w := get(t, h, "GET", "/debug/pprof/cmdline", nil); w.Code != 200 || strings.Contains(w.Body.String(), os.Args[0]) || !strings.HasPrefix(w.Body.String(), "<secret>") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
