package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/count-db/count/internal/selfsigned"
	"github.com/count-db/count/test/process"
)

const (
	tlsSecret   = "the secret of the nodes"
	tlsPassword = "the password of ann"
)

// secured has the files of nodes with TLS.
type secured struct {
	t   *testing.T
	dir string
	ca  *selfsigned.Authority
}

func newSecured(t *testing.T) *secured {
	t.Helper()
	s := &secured{t: t, dir: t.TempDir(), ca: newCA(t, "first")}
	s.trust(s.ca)
	return s
}

func newCA(t *testing.T, name string) *selfsigned.Authority {
	t.Helper()
	ca, err := selfsigned.NewAuthority(name)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func (s *secured) path(name string) string { return filepath.Join(s.dir, name) }

// write replaces a file at once, as those who rotate certificates do.
func (s *secured) write(name string, text []byte) {
	s.t.Helper()
	err := os.WriteFile(s.path(name+".new"), text, 0o600)
	if err := errors.Join(err, os.Rename(s.path(name+".new"), s.path(name))); err != nil {
		s.t.Fatal(err)
	}
}

// trust puts authorities into the file of those that nodes trust.
func (s *secured) trust(all ...*selfsigned.Authority) {
	s.t.Helper()
	var text []byte
	for _, ca := range all {
		text = append(text, ca.PEM()...)
	}
	s.write("ca.pem", text)
}

// certify gives a node a certificate of an authority, and the key in the same
// file, so that the two change together.
func (s *secured) certify(id int, by *selfsigned.Authority) {
	s.t.Helper()
	cert, key, err := by.Issue(time.Now().Add(time.Hour), "127.0.0.1")
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(fmt.Sprintf("%d.pem", id), append(cert, key...))
}

// web writes a node's web config file and returns its path. extra are further
// lines.
func (s *secured) web(id int, extra string) string {
	s.t.Helper()
	pem := fmt.Sprintf("%d.pem", id)
	s.write(fmt.Sprintf("%d.yml", id), fmt.Appendf(nil, "tls_server_config:\n  cert_file: %s\n  key_file: %s\n%s", pem, pem, extra))
	return s.path(fmt.Sprintf("%d.yml", id))
}

// settings are those of a node with TLS.
func (s *secured) settings(id int, extra string) []string {
	return []string{"WEB_CONFIG_FILE=" + s.web(id, extra), "CLUSTER_TLS_CA_FILE=" + s.path("ca.pem"), "CLUSTER_SECRET=" + tlsSecret}
}

// client talks to nodes over TLS. It shows no certificate where by is nil.
func (s *secured) client(authorization string, by *selfsigned.Authority) process.Client {
	s.t.Helper()
	roots := x509.NewCertPool()
	text, err := os.ReadFile(s.path("ca.pem"))
	if err != nil {
		s.t.Fatal(err)
	}
	roots.AppendCertsFromPEM(text)
	cfg := &tls.Config{RootCAs: roots}
	if by != nil {
		cert, key, err := by.Issue(time.Now().Add(time.Hour), "client")
		if err != nil {
			s.t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			s.t.Fatal(err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	transport := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true}
	s.t.Cleanup(transport.CloseIdleConnections)
	return process.Client{URL: "https://", HTTP: &http.Client{Timeout: 30 * time.Second, Transport: transport}, Authorization: authorization}
}

func bearer(secret string) string { return "Bearer " + secret }

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// withEverything is a web config file's part with passwords and client certificates.
func withEverything(t *testing.T) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(tlsPassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\nbasic_auth_users:\n  ann: %s\n", hash)
}

// newNodes starts nodes with settings of their own, each talked to as the client
// says.
func newNodes(t *testing.T, addresses []string, as process.Client, env func(id int) []string) *nodes {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	c := &nodes{t: t, dir: t.TempDir()}
	for i, address := range addresses {
		settings := append([]string{
			fmt.Sprintf("NODE_ID=%d", i+1), "BIND_ADDRESS=" + address, "CLUSTER_NODES=" + strings.Join(addresses, ","),
			"HEARTBEAT_INTERVAL=500ms", "FAILURE_TIMEOUT=3s",
		}, env(i+1)...)
		c.all = append(c.all, process.StartSecured(t, process.Binary(t), c.data(i+1), as, settings...))
	}
	c.whole()
	return c
}

// expectEverywhere reads a series through every node.
func (c *nodes) expectEverywhere(series string, want map[int64]float64) {
	c.t.Helper()
	for i, n := range c.all {
		n.Eventually(30*time.Second, fmt.Sprintf("node %d has all of %s", i+1, series), func() error {
			got, complete, err := read(n, series)
			if err == nil && (!complete || fmt.Sprint(got) != fmt.Sprint(want)) {
				err = fmt.Errorf("%v, complete %v, want %v", got, complete, want)
			}
			return err
		})
	}
}

// TestTLS: a cluster in which everything is encrypted, clients need certificates
// and passwords, and nodes need certificates and the secret: killed and rejoined,
// joined by a new node, with certificates of another authority from one moment to
// the next; strangers are kept out and told why.
func TestTLS(t *testing.T) {
	s := newSecured(t)
	web := withEverything(t)
	ann := s.client(basic("ann", tlsPassword), s.ca)
	addresses := freeAddresses(t, 6)
	env := func(id int) []string {
		s.certify(id, s.ca)
		return s.settings(id, web)
	}
	c := newNodes(t, addresses[:3], ann, env)
	want := map[int64]float64{}
	insert := func(through int, at int64) {
		t.Helper()
		if err := c.node(through).Insert("m", at, float64(at)); err != nil {
			t.Fatalf("through node %d: %v", through, err)
		}
		want[at] = float64(at)
	}
	insert(1, 1)
	c.expectEverywhere("m", want)
	s.checkAccess(c.node(1))
	s.checkCommands(c.node(1))

	c.node(2).Kill()
	c.sees(1, 2)
	insert(3, 2)
	c.node(2).Restart()
	c.whole()
	c.expectEverywhere("m", want)

	joins := []string{"NODE_ID=4", "BIND_ADDRESS=" + addresses[3], "CLUSTER_NODES=" + strings.Join(addresses[:3], ",")}
	c.all = append(c.all, process.StartSecured(t, process.Binary(t), c.data(4), ann, append(joins, env(4)...)...))
	c.node(4).WaitReady()
	insert(4, 3)
	c.expectEverywhere("m", want)

	s.rotate(c)
	insert(1, 4)
	c.expectEverywhere("m", want)

	c.strangers(s, web, addresses[:4], addresses[4:])
	for i, n := range c.all {
		if log := n.Log(); strings.Contains(log, tlsSecret) || strings.Contains(log, tlsPassword) {
			t.Errorf("the log of node %d has a secret in it:\n%s", i+1, log)
		}
	}
}

// checkAccess asks a node with everything that may be shown to it.
func (s *secured) checkAccess(n *process.Node) {
	s.t.Helper()
	const ours = "/internal/connect" // 426: it takes upgrades only
	for _, c := range []struct {
		path, authorization string
		code                int
	}{
		{"/-/healthy", "", 401},
		{"/metrics", "", 401},
		{"/metrics", basic("ann", "guessed"), 401},
		{"/metrics", basic("ann", tlsPassword), 200},
		{"/metrics", bearer(tlsSecret), 401},
		{"/api/v1/query?query=1", bearer(tlsSecret), 401},
		{"/query/range/m?start=0&end=9", bearer(tlsSecret), 401},
		{"/-/healthy", bearer(tlsSecret), 200},
		{"/-/ready", bearer(tlsSecret), 200},
		{"/health", bearer(tlsSecret), 200},
		{"/cluster/status", bearer(tlsSecret), 200},
		{"/cluster/status", basic("ann", tlsPassword), 200},
		{"/cluster/status", bearer("guessed"), 401},
		{ours, bearer(tlsSecret), 426},
		{ours, bearer(""), 401},
		{ours, bearer("guessed"), 401},
		{ours, "", 401},
		{ours, basic("ann", tlsPassword), 403},
		{"/internal/../metrics", bearer(tlsSecret), 426},
	} {
		as := n.Client
		as.Authorization = c.authorization
		if code, text, err := as.Get(c.path); err != nil || code != c.code {
			s.t.Errorf("%s with %q: %d %s %v, want %d", c.path, c.authorization, code, text, err, c.code)
		}
	}
	if _, text, err := n.Get("/metrics"); err != nil || !strings.Contains(text, "\ncount_http_certificate_expires_timestamp_seconds 1.") {
		s.t.Errorf("no metric of the certificate's end: %v\n%s", err, text)
	}
	stranger := s.client(basic("ann", tlsPassword), nil)
	stranger.URL = n.URL
	if code, text, err := stranger.Get("/health"); err == nil {
		s.t.Errorf("without a certificate: %d %s", code, text)
	}
	plain := process.Client{URL: "http://" + n.Address}
	if code, text, err := plain.Get("/health"); err == nil && code != 400 {
		s.t.Errorf("plain HTTP to a TLS port: %d %s", code, text)
	}
}

// checkCommands runs the commands that talk to nodes.
func (s *secured) checkCommands(n *process.Node) {
	s.t.Helper()
	cert, key, err := s.ca.Issue(time.Now().Add(time.Hour), "client")
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("client.pem", append(cert, key...))
	trust := []string{"COUNT_SERVER=" + n.URL, "COUNT_CA_FILE=" + s.path("ca.pem"), "COUNT_CERT_FILE=" + s.path("client.pem"), "COUNT_KEY_FILE=" + s.path("client.pem")}
	secret, ann := append(trust, "CLUSTER_SECRET="+tlsSecret), append(trust, "COUNT_USER=ann", "COUNT_PASSWORD="+tlsPassword)
	for _, c := range []struct {
		env  []string
		args []string
		want string // in what is printed
	}{
		{secret, []string{"cluster", "status"}, "majority in sight: true"},
		{ann, []string{"cluster", "status"}, "majority in sight: true"},
		{secret, []string{"health", "--ready"}, "Ready"},
		{secret, []string{"backup", s.path("backups")}, "of 3 nodes"},
		{secret, []string{"restore", s.path("backups")}, "restored"},
		{ann, []string{"insert", "by_command", "7"}, ""},
		{ann, []string{"query", "by_command"}, "7"},
		{ann, []string{"export", "by_command"}, `"values":[7]`},
		{ann[:1], []string{"query", "by_command", "--insecure", "-u", "ann:" + tlsPassword, "--cert-file", s.path("client.pem"), "--key-file", s.path("client.pem")}, "7"},
		{secret, []string{"query", "by_command"}, "401"},
		{append(trust, "CLUSTER_SECRET=guessed"), []string{"cluster", "status"}, "401"},
		{ann[:1], []string{"health"}, "--ca-file"},
	} {
		cmd := exec.Command(process.Binary(s.t), c.args...)
		cmd.Env = append(os.Environ(), c.env...)
		if out, _ := cmd.CombinedOutput(); !strings.Contains(string(out), c.want) {
			s.t.Errorf("count %v: %s, want %s", c.args, out, c.want)
		}
	}
}

// rotate gives all nodes certificates of a new authority, and then forgets the
// old one, without telling any node: only what restarts for other reasons makes
// new connections.
func (s *secured) rotate(c *nodes) {
	s.t.Helper()
	second := newCA(s.t, "second")
	s.trust(s.ca, second)
	for i := range c.all {
		s.certify(i+1, second)
	}
	s.trust(second)
	s.ca = second
	ann := s.client(basic("ann", tlsPassword), second)
	for _, n := range c.all {
		n.TalkAs(ann)
	}
	c.whole()
	for _, id := range []int{1, 2} {
		c.node(id).Kill()
		c.node(id).Restart()
		c.whole()
	}
}

// strangers tries to join with a certificate that nobody trusts, and without the
// secret.
func (c *nodes) strangers(s *secured, web string, seeds, free []string) {
	c.t.Helper()
	enter := func(id int, address, why string, env []string) {
		c.t.Helper()
		as := s.client(basic("ann", tlsPassword), s.ca)
		n := process.StartSecured(c.t, process.Binary(c.t), c.data(id), as,
			append([]string{fmt.Sprintf("NODE_ID=%d", id), "BIND_ADDRESS=" + address, "CLUSTER_NODES=" + strings.Join(seeds, ",")}, env...)...)
		n.Eventually(30*time.Second, "the stranger is told why", func() error {
			h, err := healthOf(n)
			if err == nil && (h.Ready || !strings.Contains(strings.Join(h.Reasons, "\n"), why)) {
				err = fmt.Errorf("%+v, want %s", h, why)
			}
			return err
		})
		if h, err := healthOf(c.node(1)); err != nil || h.ClusterSize != len(c.all) {
			c.t.Errorf("node 1 sees %+v %v", h, err)
		}
		n.Kill()
	}
	// What it shows to its own clients is right, what it shows to nodes is not.
	s.certify(5, s.ca)
	s.certify(50, newCA(c.t, "stranger"))
	enter(5, free[0], "it does not accept the certificate that this node shows", append(s.settings(5, web),
		"CLUSTER_TLS_CERT_FILE="+s.path("50.pem"), "CLUSTER_TLS_KEY_FILE="+s.path("50.pem")))
	s.certify(6, s.ca)
	enter(6, free[1], "it asks for a password, which the right CLUSTER_SECRET does without", append(s.settings(6, web), "CLUSTER_SECRET=guessed"))
}

// TestChangeOverToTLS: a cluster of plain nodes gets TLS one node at a time, by two
// rounds of restarts, and every write in between is acknowledged and read.
func TestChangeOverToTLS(t *testing.T) {
	s := newSecured(t)
	plain, encrypted := process.Client{URL: "http://"}, s.client("", nil)
	c := newNodes(t, freeAddresses(t, 3), plain, func(int) []string { return []string{"CLUSTER_SECRET=" + tlsSecret} })
	want := map[int64]float64{}
	everywhere := func() {
		t.Helper()
		for id := range c.all {
			at := int64(len(want) + 1)
			if err := c.all[id].Insert("m", at, 1); err != nil {
				t.Fatal(err)
			}
			want[at] = 1
		}
		c.expectEverywhere("m", want)
	}
	everywhere()
	restart := func(id int, as process.Client, env ...string) {
		t.Helper()
		if code := c.node(id).Stop(); code != 0 {
			t.Fatalf("node %d ended with %d", id, code)
		}
		c.node(id).TalkAs(as)
		c.node(id).Restart(env...)
		c.whole()
		everywhere()
	}
	for id := 1; id <= 3; id++ {
		s.certify(id, s.ca)
		restart(id, plain, append(s.settings(id, ""), "CLUSTER_TLS=prefer")...)
		c.node(id).TalkAs(encrypted) // it takes both
		everywhere()
	}
	for id := 1; id <= 3; id++ {
		restart(id, encrypted, "CLUSTER_TLS=require")
	}
	if code, text, err := (process.Client{URL: "http://" + c.node(1).Address}).Get("/health"); err == nil && code != 400 {
		t.Errorf("plain HTTP at the end: %d %s", code, text)
	}
	code, text, err := c.node(1).Get("/cluster/status")
	if err != nil || code != 200 || strings.Count(text, `"tls":true`) != 2 {
		t.Errorf("node 1 is not connected to both others by TLS: %d %s %v", code, text, err)
	}
}

// TestTLSAndPlain: a node without TLS and nodes with it do not come together, and
// say why on both sides, in /health and in the log.
func TestTLSAndPlain(t *testing.T) {
	s := newSecured(t)
	addresses := freeAddresses(t, 2)
	if testing.Short() {
		t.Skip("starts processes")
	}
	s.certify(1, s.ca)
	start := func(id int, as process.Client, env ...string) *process.Node {
		return process.StartSecured(t, process.Binary(t), t.TempDir(), as,
			append(env, fmt.Sprintf("NODE_ID=%d", id), "BIND_ADDRESS="+addresses[id-1], "CLUSTER_NODES="+strings.Join(addresses, ","))...)
	}
	one := start(1, s.client("", nil), s.settings(1, "")...)
	two := start(2, process.Client{URL: "http://"}, "CLUSTER_SECRET="+tlsSecret)
	for _, c := range []struct {
		n    *process.Node
		want string
	}{{one, addresses[1] + ": unreachable: it speaks no TLS"}, {two, addresses[0] + ": it speaks TLS, and this node does not"}} {
		c.n.Eventually(30*time.Second, "the cause is told", func() error {
			h, err := healthOf(c.n)
			if err == nil && (!strings.Contains(strings.Join(h.Reasons, "\n"), c.want) || !strings.Contains(c.n.Log(), c.want)) {
				err = fmt.Errorf("%+v, want %s there and in the log", h, c.want)
			}
			return err
		})
	}
}

// TestTLSAlone: a node alone with TLS and passwords takes joins if it has a
// secret, and says why it takes none.
func TestTLSAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	s := newSecured(t)
	web := withEverything(t)
	ann := s.client(basic("ann", tlsPassword), s.ca)
	start := func(dir string, settings ...string) *process.Node {
		return process.StartSecured(t, process.Binary(t), dir, ann, settings...)
	}
	s.certify(1, s.ca)
	s.certify(2, s.ca)
	dir := t.TempDir()
	one := start(dir, append(s.settings(1, web), "CLUSTER_SECRET=")...)
	one.WaitReady()
	if err := one.Insert("m", 1, 1); err != nil {
		t.Fatal(err)
	}
	joins := append(s.settings(2, web), "NODE_ID=2", "CLUSTER_NODES="+one.Address)
	two := start(t.TempDir(), joins...)
	two.Eventually(30*time.Second, "the cause is told", func() error {
		h, err := healthOf(two)
		if err == nil && !strings.Contains(strings.Join(h.Reasons, "\n"), "it asks for a password") {
			err = fmt.Errorf("%+v", h)
		}
		return err
	})
	if code := one.Stop(); code != 0 {
		t.Fatalf("node 1 ended with %d", code)
	}
	one.Restart("CLUSTER_SECRET=" + tlsSecret)
	one.WaitReady()
	two.WaitReady()
	c := &nodes{t: t, all: []*process.Node{one, two}}
	c.whole()
	c.expectEverywhere("m", map[int64]float64{1: 1})

	// Passwords in a cluster without a secret, and TLS that nobody would speak.
	for _, faulty := range []struct{ setting, want string }{{"CLUSTER_SECRET=", "a cluster needs CLUSTER_SECRET"}, {"CLUSTER_TLS=off", "CLUSTER_TLS is off"}} {
		cmd := exec.Command(process.Binary(t), "serve")
		cmd.Env = append(append(append(os.Environ(), joins...), "DATA_DIR="+t.TempDir(), "BIND_ADDRESS=127.0.0.1:0"), faulty.setting)
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), faulty.want) {
			t.Errorf("%s: %v %s, want %s", faulty.setting, err, out, faulty.want)
		}
	}
}
