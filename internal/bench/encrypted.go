package bench

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/count-db/count/internal/selfsigned"
)

// certificates are what a cluster with TLS is started with.
type certificates struct {
	trust    *x509.CertPool
	settings []string // of each node's environment
}

// newCertificates writes a certificate for loopback and who signed it.
func newCertificates(dir string) (*certificates, error) {
	ca, err := selfsigned.NewAuthority("count bench")
	if err != nil {
		return nil, err
	}
	cert, key, err := ca.Issue(time.Now().Add(24*time.Hour), "127.0.0.1")
	if err != nil {
		return nil, err
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	err = os.MkdirAll(dir, 0o755)
	for name, text := range map[string][]byte{
		"ca.pem": ca.PEM(), "pair.pem": append(cert, key...),
		"web.yml": []byte("tls_server_config: {cert_file: pair.pem, key_file: pair.pem}\n"),
	} {
		err = errors.Join(err, os.WriteFile(at(name), text, 0o600))
	}
	if err != nil {
		return nil, fmt.Errorf("write certificates: %w", err)
	}
	c := &certificates{trust: x509.NewCertPool(), settings: []string{"WEB_CONFIG_FILE=" + at("web.yml"), "CLUSTER_TLS_CA_FILE=" + at("ca.pem")}}
	c.trust.AppendCertsFromPEM(ca.PEM())
	return c, nil
}

// startEncrypted starts a cluster all of whose connections are encrypted.
func (p Peers) startEncrypted(ctx context.Context) (*Process, error) {
	by, err := newCertificates(filepath.Join(p.Dir, "tls"))
	if err != nil {
		return nil, err
	}
	return p.StartCluster(ctx, p.Nodes, p.Replication, by)
}
