package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// TLS is how this node encrypts the connections that it opens to others, and
// what it asks of them. What the functions return is used by the next connection,
// so that certificates may change while the node runs.
type TLS struct {
	// Roots returns the CAs that the certificates of other nodes must come from,
	// in PEM. nil: the system's.
	Roots func() ([]byte, error)
	// Certificate returns what is shown to a node that asks for a certificate,
	// without a leaf when there is nothing to show. nil: there is nothing.
	Certificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
	// ServerName is the name that the certificates of all nodes must be for; empty:
	// each for the host of the node's address.
	ServerName string
	// OrPlain lets a connection be made without TLS where the other side does not
	// speak it. Whoever stands between the nodes can then make them do without.
	OrPlain bool

	mu   sync.Mutex
	pem  []byte         // guarded by mu; what pool was made of
	pool *x509.CertPool // guarded by mu
}

// Dialer returns a function that opens connections by dial and encrypts them.
// What does not fit is a *HandshakeError.
func (t *TLS) Dialer(dial DialFunc) DialFunc {
	return func(ctx context.Context, address string) (net.Conn, error) {
		cfg, err := t.config(address)
		if err != nil {
			return nil, err
		}
		nc, err := dial(ctx, address)
		if err != nil {
			return nil, err
		}
		encrypted := tls.Client(nc, cfg)
		err = encrypted.HandshakeContext(ctx)
		if err == nil {
			return encrypted, nil
		}
		_ = nc.Close() // why the handshake failed is what matters
		if notTLS(err) && t.OrPlain {
			return dial(ctx, address)
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("TLS handshake: %w", ctx.Err())
		}
		return nil, explainTLS(err)
	}
}

// Check says whether the CAs can be read.
func (t *TLS) Check() error {
	_, err := t.roots()
	return err
}

func (t *TLS) config(address string) (*tls.Config, error) {
	name := t.ServerName
	if name == "" {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("address %q: %w", address, err)
		}
		name = host
	}
	roots, err := t.roots()
	if err != nil {
		return nil, &HandshakeError{Text: "the CAs for the certificates of other nodes: " + err.Error()}
	}
	// HTTP/2 connections cannot be upgraded. Sessions are not resumed: that would
	// go by what the CAs were when they began.
	return &tls.Config{ServerName: name, RootCAs: roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, GetClientCertificate: t.Certificate}, nil
}

// roots returns the CAs as they are now; nil stands for the system's.
func (t *TLS) roots() (*x509.CertPool, error) {
	if t.Roots == nil {
		return nil, nil
	}
	text, err := t.Roots()
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pool == nil || !bytes.Equal(t.pem, text) {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return nil, errors.New("no certificate in PEM is in the file")
		}
		t.pem, t.pool = text, pool
	}
	return t.pool, nil
}

// HandshakeError says why two nodes that reach one another do not come to talk:
// their TLS, certificates or secrets do not fit. Waiting alone does not mend it.
type HandshakeError struct {
	Text string // the same at every attempt
}

// Error returns the text.
func (e *HandshakeError) Error() string { return e.Text }

// Unwrap makes it an ErrUnreachable.
func (e *HandshakeError) Unwrap() error { return ErrUnreachable }

func notTLS(err error) bool {
	var header tls.RecordHeaderError
	return errors.As(err, &header)
}

// explainTLS turns what crypto/tls says into words for the operator of the node,
// without what differs between attempts, such as the time. An error that says
// nothing of how the two ends fit, a connection that was reset, say, is returned
// as it is.
func explainTLS(err error) error {
	fault := func(format string, args ...any) error { return &HandshakeError{Text: fmt.Sprintf(format, args...)} }
	var invalid x509.CertificateInvalidError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var verification *tls.CertificateVerificationError
	var alert *net.OpError
	switch {
	case notTLS(err):
		return fault("it speaks no TLS, and this node speaks nothing else: give it a WEB_CONFIG_FILE with TLS, or set CLUSTER_TLS=prefer while the cluster changes over")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		if c := invalid.Cert; time.Now().Before(c.NotBefore) {
			return fault("its certificate (%s) is valid only from %s on", c.Subject, c.NotBefore.UTC().Format(time.RFC3339))
		}
		return fault("its certificate (%s) has expired at %s", invalid.Cert.Subject, invalid.Cert.NotAfter.UTC().Format(time.RFC3339))
	case errors.As(err, &authority):
		issuer := "?"
		if authority.Cert != nil {
			issuer = authority.Cert.Issuer.String()
		}
		return fault("its certificate is signed by %q, which is none of the CAs that this node trusts: see CLUSTER_TLS_CA_FILE", issuer)
	case errors.As(err, &name):
		return fault("its certificate is for %s and not for %s: see its ADVERTISE_ADDRESS, or set CLUSTER_TLS_SERVER_NAME", namesOf(name.Certificate), name.Host)
	case errors.As(err, &verification):
		return fault("its certificate is not accepted: %v", verification.Err)
	case errors.As(err, &alert) && alert.Op == "remote error":
		if text := alert.Err.Error(); strings.Contains(text, "certificate") {
			return fault("it does not accept the certificate that this node shows, if any (%s): see CLUSTER_TLS_CERT_FILE", text)
		}
		return fault("it ended the TLS handshake (%v): see its WEB_CONFIG_FILE and its log", alert.Err)
	}
	return err
}

func namesOf(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no host"
	}
	return strings.Join(names, ", ")
}

// closeNow ends a connection at once. Closing TLS would first tell the other
// side so, and wait for seconds where that takes nothing.
func closeNow(nc net.Conn) error {
	if encrypted, ok := nc.(*tls.Conn); ok {
		return encrypted.NetConn().Close()
	}
	return nc.Close()
}
