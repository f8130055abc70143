package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	gonet "net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/count-db/count/cluster/transport/memnet"
	"github.com/count-db/count/internal/selfsigned"
)

// passport is a certificate that can be exchanged.
type passport struct {
	mu   sync.Mutex
	pair tls.Certificate // guarded by mu
}

func authority(t *testing.T, name string) *selfsigned.Authority {
	t.Helper()
	a, err := selfsigned.NewAuthority(name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// issue has an authority sign a certificate for a day.
func (i *passport) issue(t *testing.T, a *selfsigned.Authority, hosts ...string) *passport {
	t.Helper()
	cert, key, err := a.Issue(time.Now().Add(24*time.Hour), hosts...)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.pair = pair
	return i
}

func (i *passport) now() *tls.Certificate {
	i.mu.Lock()
	defer i.mu.Unlock()
	pair := i.pair
	return &pair
}

// serveTLS puts TLS around a listener; clients, where set, is who signs the
// certificates that it asks for.
func serveTLS(i *passport, clients *selfsigned.Authority) func(gonet.Listener) gonet.Listener {
	cfg := &tls.Config{
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.now(), nil },
	}
	if clients != nil {
		cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		cfg.ClientCAs.AppendCertsFromPEM(clients.PEM())
	}
	return func(ln gonet.Listener) gonet.Listener { return tls.NewListener(ln, cfg) }
}

func plain(ln gonet.Listener) gonet.Listener { return ln }

func trusting(a *selfsigned.Authority) *TLS {
	return &TLS{Roots: func() ([]byte, error) { return a.PEM(), nil }}
}

// dialTLS connects over TLS, or without where it is nil.
func dialTLS(t *testing.T, net *memnet.Network, from *host, to string, by *TLS) *Peer {
	dial := DialFunc(net.Dialer("node1:80"))
	if by != nil {
		dial = by.Dialer(dial)
	}
	p := NewPeer(PeerOptions{
		Address: func() string { return to }, Dial: dial, Greeter: from,
		Met: func(Hello) error { return nil }, Labels: from.Labels, RequestIDs: testIDs, Up: func(bool) {},
	})
	t.Cleanup(p.Close)
	return p
}

func TestTLSCarriesCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, ca, clients := memnet.New(), authority(t, "servers"), authority(t, "clients")
		a := listen(t, net, 1, "c")
		b := listenAt(t, net, 2, "c", "node2:80", serveTLS(new(passport).issue(t, ca, "node2"), clients))
		by := trusting(ca)
		mine := new(passport).issue(t, clients, "node1")
		by.Certificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return mine.now(), nil }
		p := dialTLS(t, net, a, "node2:80", by)
		wait(t, p)
		if !p.Encrypted() {
			t.Error("the connection is not encrypted")
		}
		if _, err := send(p, batchOf(20, 1, a.ref("x"))); err != nil || len(b.samples) != 1 {
			t.Fatalf("%v, arrived %v", err, b.samples)
		}
		s, err := p.Stream(t.Context(), 2, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if _, err := s.Recv(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestTLSMisfits: two ends that do not fit say why, in the same words at every
// attempt, and nothing falls back to plain but what speaks no TLS.
func TestTLSMisfits(t *testing.T) {
	type ends struct {
		around  func(gonet.Listener) gonet.Listener
		address string
		by      *TLS
	}
	cases := []struct {
		name string
		make func(t *testing.T, ca, other *selfsigned.Authority) ends
		want string
	}{
		{"expired", func(t *testing.T, ca, _ *selfsigned.Authority) ends {
			i := new(passport).issue(t, ca, "node2")
			time.Sleep(25 * time.Hour)
			return ends{serveTLS(i, nil), "node2:80", trusting(ca)}
		}, "its certificate (CN=node) has expired at 2000-01-02T00:00:00Z"},
		{"wrong CA", func(t *testing.T, ca, other *selfsigned.Authority) ends {
			return ends{serveTLS(new(passport).issue(t, other, "node2"), nil), "node2:80", trusting(ca)}
		}, `its certificate is signed by "CN=other"`},
		{"wrong name", func(t *testing.T, ca, _ *selfsigned.Authority) ends {
			return ends{serveTLS(new(passport).issue(t, ca, "elsewhere", "10.0.0.1"), nil), "node2:80", trusting(ca)}
		}, "its certificate is for elsewhere, 10.0.0.1 and not for node2"},
		{"wrong name by setting", func(t *testing.T, ca, _ *selfsigned.Authority) ends {
			by := trusting(ca)
			by.ServerName = "count"
			return ends{serveTLS(new(passport).issue(t, ca, "node2"), nil), "node2:80", by}
		}, "its certificate is for node2 and not for count"},
		{"no client certificate", func(t *testing.T, ca, _ *selfsigned.Authority) ends {
			return ends{serveTLS(new(passport).issue(t, ca, "node2"), ca), "node2:80", trusting(ca)}
		}, "it does not accept the certificate that this node shows, if any (tls: certificate required)"},
		{"wrong client certificate", func(t *testing.T, ca, other *selfsigned.Authority) ends {
			mine, by := new(passport).issue(t, other, "node1"), trusting(ca)
			by.Certificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return mine.now(), nil }
			return ends{serveTLS(new(passport).issue(t, ca, "node2"), ca), "node2:80", by}
		}, "it does not accept the certificate that this node shows, if any (tls: "},
		{"TLS to a plain port", func(_ *testing.T, ca, _ *selfsigned.Authority) ends {
			return ends{plain, "node2:80", trusting(ca)}
		}, "it speaks no TLS, and this node speaks nothing else"},
		{"plain to a TLS port", func(t *testing.T, ca, _ *selfsigned.Authority) ends {
			return ends{serveTLS(new(passport).issue(t, ca, "node2"), nil), "node2:80", nil}
		}, "it speaks TLS, and this node does not"},
		{"CAs that cannot be read", func(t *testing.T, ca, _ *selfsigned.Authority) ends {
			by := &TLS{Roots: func() ([]byte, error) { return []byte("nonsense"), nil }}
			return ends{serveTLS(new(passport).issue(t, ca, "node2"), nil), "node2:80", by}
		}, "the CAs for the certificates of other nodes: no certificate in PEM"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, orPlain := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					net := memnet.New()
					a := listen(t, net, 1, "c")
					e := c.make(t, authority(t, "ca"), authority(t, "other"))
					listenAt(t, net, 2, "c", e.address, e.around)
					if e.by != nil {
						e.by.OrPlain = orPlain
					}
					p := dialTLS(t, net, a, e.address, e.by)
					time.Sleep(10 * time.Second)
					if orPlain && c.name == "TLS to a plain port" {
						if p.Err() != nil || p.Encrypted() {
							t.Fatalf("encrypted %v, %v", p.Encrypted(), p.Err())
						}
						return
					}
					var misfit *HandshakeError
					if err := p.Err(); !errors.As(err, &misfit) || !strings.HasPrefix(misfit.Text, c.want) || !errors.Is(err, ErrUnreachable) {
						t.Fatalf("%v, want %s", err, c.want)
					}
				})
			}
		})
	}
}

// TestTLSRotates: certificates and CAs that change count for the next
// connection, without a new Peer.
func TestTLSRotates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, first, second := memnet.New(), authority(t, "first"), authority(t, "second")
		a := listen(t, net, 1, "c")
		theirs := new(passport).issue(t, first, "node2")
		listenAt(t, net, 2, "c", "node2:80", serveTLS(theirs, nil))
		var trusted atomic.Pointer[[]byte]
		trust := func(pem []byte) { trusted.Store(&pem) }
		trust(first.PEM())
		p := dialTLS(t, net, a, "node2:80", &TLS{Roots: func() ([]byte, error) { return *trusted.Load(), nil }})
		wait(t, p)
		theirs.issue(t, second, "node2")
		synctest.Wait()
		net.Reset("node2:80")
		time.Sleep(5 * time.Second)
		if err := p.Err(); err == nil || !strings.Contains(err.Error(), `signed by "CN=second"`) {
			t.Fatalf("connected with a certificate of an unknown CA: %v", err)
		}
		trust(append(append([]byte{}, first.PEM()...), second.PEM()...))
		time.Sleep(5 * time.Second)
		if err := p.Err(); err != nil || !p.Encrypted() {
			t.Fatalf("encrypted %v, %v", p.Encrypted(), err)
		}
	})
}

// TestTLSSilence: who takes connections and says nothing is given up, and a
// connection to one that takes nothing more is closed at once.
func TestTLSSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, ca := memnet.New(), authority(t, "ca")
		a := listen(t, net, 1, "c")
		ln, err := net.Listen("mute:80")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { net.Kill("mute:80") })
		p := dialTLS(t, net, a, "mute:80", trusting(ca))
		time.Sleep(2*connectTimeout - time.Second)
		if err := p.Err(); !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
		listenAt(t, net, 2, "c", "node2:80", serveTLS(new(passport).issue(t, ca, "node2"), nil))
		q := dialTLS(t, net, a, "node2:80", trusting(ca))
		wait(t, q)
		net.Freeze("node2:80")
		// As much as the network takes: a word of farewell would have to wait.
		if err := q.samples.enqueue(true, func(dst []byte) []byte { return append(dst, make([]byte, 1<<20)...) }); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		began := time.Now()
		q.Close()
		if took := time.Since(began); took > 0 {
			t.Errorf("closing took %v", took)
		}
		net.Thaw("node2:80")
	})
}
