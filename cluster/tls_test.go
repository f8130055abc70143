package cluster

import (
	"bytes"
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/cluster/transport/memnet"
	"github.com/count-db/count/internal/selfsigned"
)

// tlsCluster is a test cluster over TLS, whose certificates can be exchanged.
type tlsCluster struct {
	*testCluster
	ca *selfsigned.Authority

	mu    sync.Mutex
	pairs map[string]tls.Certificate // guarded by mu; by host
	log   bytes.Buffer               // guarded by mu
}

// Write takes the log of all nodes.
func (c *tlsCluster) Write(line []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.Write(line)
}

// said counts the lines of the log that have all of the texts.
func (c *tlsCluster) said(texts ...string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
lines:
	for line := range strings.Lines(c.log.String()) {
		for _, text := range texts {
			if !strings.Contains(line, text) {
				continue lines
			}
		}
		n++
	}
	return n
}

// certify gives a node a certificate.
func (c *tlsCluster) certify(host string, by *selfsigned.Authority, until time.Time) {
	c.t.Helper()
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		c.t.Fatal(err)
	}
	cert, key, err := by.Issue(until, name)
	if err != nil {
		c.t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pairs[host] = pair
}

func newAuthority(t *testing.T, name string) *selfsigned.Authority {
	t.Helper()
	ca, err := selfsigned.NewAuthority(name)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// newTLSCluster starts n nodes with certificates of the issuer, who trust ca.
func newTLSCluster(t *testing.T, n int, ca, issuer *selfsigned.Authority) *tlsCluster {
	c := &tlsCluster{ca: ca, pairs: map[string]tls.Certificate{}}
	c.testCluster = &testCluster{t: t, net: memnet.New(), rf: 3, around: func(n *testNode, ln net.Listener) net.Listener {
		return tls.NewListener(ln, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			pair := c.pairs[n.host]
			return &pair, nil
		}})
	}}
	for i := range n {
		c.certify(hostOf(i+1), issuer, time.Now().Add(24*time.Hour))
	}
	c.found(n, func(o *Options) {
		by := &transport.TLS{Roots: func() ([]byte, error) { return c.ca.PEM(), nil }}
		o.Dial = by.Dialer(o.Dial)
		o.Logger = log.With(log.NewLogfmtLogger(c), "on", o.Node)
	})
	return c
}

// TestTLSBetweenNodes: a cluster over TLS. A member whose certificate
// has expired is said to be so once in the log, and in the health of the others,
// which go on without it; with a new certificate it is back by itself.
func TestTLSBetweenNodes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ca := newAuthority(t, "ca")
		c := newTLSCluster(t, 3, ca, ca)
		c.ready()
		c.mustWrite(c.nodes[0], "m", 1, 1)
		c.expect(c.nodes[1], "m", 1, 1)
		for _, n := range c.nodes[0].Status().Nodes {
			if n.ID != 1 && !n.TLS {
				t.Errorf("node %d is not connected by TLS: %+v", n.ID, n)
			}
		}
		c.certify(hostOf(3), c.ca, time.Now().Add(-time.Hour))
		c.net.Reset(hostOf(3))
		const cause = "its certificate (CN=node) has expired at "
		c.until("the health of node 1 names the cause", time.Minute, func() bool {
			problems := strings.Join(c.nodes[0].Health().Problems, "\n")
			return strings.Contains(problems, "node 3 at node3:80 is not in sight: "+cause)
		})
		pause(20 * time.Second) // of attempts
		c.mustWrite(c.nodes[0], "m", 2, 2)
		c.expect(c.nodes[1], "m", 2, 2)
		if n := c.said("on=1", "level=warn", "a member cannot be talked to", cause, "node=3", "address=node3:80"); n != 1 {
			t.Errorf("said %d times:\n%s", n, c.log.String())
		}
		c.certify(hostOf(3), c.ca, time.Now().Add(time.Hour))
		c.ready()
		c.expect(c.nodes[2], "m", 2, 2)
		c.certify(hostOf(3), c.ca, time.Now().Add(-time.Hour))
		c.net.Reset(hostOf(3))
		c.until("it is said again when it happens again", time.Minute, func() bool {
			return c.said("on=1", "a member cannot be talked to", cause) == 2
		})
	})
}

// TestTLSFounding: founders that do not trust one another say so, and found the
// cluster when they do.
func TestTLSFounding(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newTLSCluster(t, 3, newAuthority(t, "ca"), newAuthority(t, "another"))
		const cause = `node3:80: unreachable: its certificate is signed by "CN=another"`
		c.until("the health of node 1 names the cause", time.Minute, func() bool {
			h := c.nodes[0].Health()
			return !h.Founded && len(h.Problems) > 0 && strings.HasPrefix(h.Problems[0], cause)
		})
		pause(20 * time.Second)
		if n := c.said("on=1", "the cluster is not founded", "CN=another"); n != 1 {
			t.Errorf("said %d times:\n%s", n, c.log.String())
		}
		for _, n := range c.nodes {
			c.certify(n.host, c.ca, time.Now().Add(time.Hour))
		}
		c.ready()
	})
}
