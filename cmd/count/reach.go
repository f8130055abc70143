package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/count-db/count/internal/config"
)

// reach is how a command gets to a node: where it is, whom to trust, and what to
// show.
type reach struct {
	server   string
	caFile   string
	certFile string
	keyFile  string
	user     string // name, or name:password
	password string // of the environment
	secret   string // of the cluster; of the environment, or of secretFile once there is a client
	// secretFile is CLUSTER_SECRET_FILE of the environment; its first secret is shown.
	secretFile string
	insecure   bool
	forNodes   bool          // the verb uses routes that the secret opens
	idleConns  int           // that are kept open to one node
	answer     time.Duration // until an answer begins; 0 = as long as it takes
}

// reachHelp is the part of the help that all verbs with --server share.
func reachHelp(w io.Writer) {
	fmt.Fprint(w, `
TLS and passwords (--server https://...):
  --ca-file FILE                    PEM file of CAs to trust; default COUNT_CA_FILE, or the system's
  -u NAME[:PASSWORD]                for basic auth; default COUNT_USER and COUNT_PASSWORD
  --cert-file FILE --key-file FILE  a client certificate; default COUNT_CERT_FILE, COUNT_KEY_FILE
  --insecure                        trust any certificate
`)
}

// newFlags returns a flag set for a verb that talks to a node, and how that node
// will be reached.
func newFlags(c call, name string) (*flag.FlagSet, *reach) {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	r := &reach{password: lookup(c.environ, "COUNT_PASSWORD"), secret: lookup(c.environ, "CLUSTER_SECRET"), secretFile: lookup(c.environ, "CLUSTER_SECRET_FILE"), idleConns: 1}
	fs.StringVar(&r.server, "server", lookup(c.environ, "COUNT_SERVER"), "")
	fs.StringVar(&r.caFile, "ca-file", lookup(c.environ, "COUNT_CA_FILE"), "")
	fs.StringVar(&r.certFile, "cert-file", lookup(c.environ, "COUNT_CERT_FILE"), "")
	fs.StringVar(&r.keyFile, "key-file", lookup(c.environ, "COUNT_KEY_FILE"), "")
	fs.StringVar(&r.user, "u", lookup(c.environ, "COUNT_USER"), "")
	fs.BoolVar(&r.insecure, "insecure", false, "")
	return fs, r
}

// client returns a client of the node.
func (r *reach) client() (*client, error) {
	base, host, err := r.base(r.server, "http")
	if err != nil {
		return nil, err
	}
	transport, err := r.transport()
	if err != nil {
		return nil, err
	}
	if err := r.readSecret(); err != nil {
		return nil, err
	}
	shown := &showing{next: transport, host: host, authorization: r.authorization()}
	return &client{base: base, http: &http.Client{Transport: shown}, secret: r.secret, forNodes: r.forNodes}, nil
}

// base completes an address to a URL without a slash at its end.
func (r *reach) base(address, scheme string) (base, host string, err error) {
	if address == "" {
		address = defaultServer
	}
	if !strings.Contains(address, "://") {
		address = scheme + "://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "", "", &usageError{fmt.Errorf("server %q is not a URL such as %s", address, defaultServer)}
	}
	return strings.TrimRight(address, "/"), u.Host, nil
}

// readSecret takes the secret from its file, where the verb has use for one and the
// environment names none.
func (r *reach) readSecret() error {
	if !r.forNodes || r.secret != "" || r.secretFile == "" {
		return nil
	}
	text, err := os.ReadFile(r.secretFile)
	if err != nil {
		return fmt.Errorf("CLUSTER_SECRET_FILE: %w", err)
	}
	all, err := config.ParseSecrets(text)
	if err != nil {
		return fmt.Errorf("CLUSTER_SECRET_FILE %s: %w", r.secretFile, err)
	}
	r.secret = all[0]
	return nil
}

// authorization is what is shown to the node.
func (r *reach) authorization() string {
	switch {
	case r.forNodes && r.secret != "":
		return "Bearer " + r.secret
	case r.user == "":
		return ""
	case strings.Contains(r.user, ":"):
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(r.user))
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(r.user+":"+r.password))
}

func (r *reach) transport() (*http.Transport, error) {
	cfg := &tls.Config{InsecureSkipVerify: r.insecure} //nolint:gosec // said so by a flag
	if r.caFile != "" {
		text, err := os.ReadFile(r.caFile)
		if err != nil {
			return nil, fmt.Errorf("CAs to trust: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("CAs to trust: %s has no certificate in PEM", r.caFile)
		}
	}
	if (r.certFile == "") != (r.keyFile == "") {
		return nil, &usageError{errors.New("--cert-file and --key-file go together")}
	}
	if r.certFile != "" {
		pair, err := tls.LoadX509KeyPair(r.certFile, r.keyFile)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: cfg, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: r.idleConns, IdleConnTimeout: time.Minute, ResponseHeaderTimeout: r.answer,
	}, nil
}

// showing adds what is shown to one node, and to no other that it may lead to, to
// the requests that show nothing of their own.
type showing struct {
	next          http.RoundTripper
	host          string
	authorization string
}

// RoundTrip implements http.RoundTripper.
func (s *showing) RoundTrip(req *http.Request) (*http.Response, error) {
	if s.authorization != "" && req.URL.Host == s.host && req.Header.Get("Authorization") == "" {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", s.authorization)
	}
	return s.next.RoundTrip(req)
}

// hint adds to an error of a connection what may help.
func hint(err error) error {
	var authority x509.UnknownAuthorityError
	switch {
	case errors.As(err, &authority):
		return fmt.Errorf("%w (--ca-file says which CAs to trust)", err)
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return fmt.Errorf("%w (the node has no TLS: http://)", err)
	}
	return err
}
