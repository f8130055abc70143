package node

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"path/filepath"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/config"
	"github.com/count-db/count/internal/server"
	"github.com/count-db/count/internal/vfs"
)

// security is how a node's port is secured, and how it reaches the others'.
// Files are read again for each connection: certificates may change at any time.
type security struct {
	fs  vfs.FS
	cfg *config.Config
	web server.WebConfig // as it was at the start

	secrets *secrets // nil: none is set
}

// newSecurity checks the settings and the files that they name.
func newSecurity(fs vfs.FS, cfg *config.Config, logger log.Logger) (*security, error) {
	s := &security{fs: fs, cfg: cfg}
	var err error
	if s.web, err = s.readWebConfig(); err != nil {
		return nil, err
	}
	if s.secrets, err = newSecrets(fs, cfg, logger); err != nil {
		return nil, err
	}
	if cfg.ClusterEnabled {
		if err := s.joinable(); err != nil {
			return nil, err
		}
	}
	if s.mode() == config.TLSOff {
		return s, nil
	}
	if cfg.ClusterTLSCA != "" {
		if err := s.tls().Check(); err != nil {
			return nil, fmt.Errorf("CLUSTER_TLS_CA_FILE: %w", err)
		}
	}
	if cfg.ClusterTLSCert != "" {
		if _, err := s.pair(); err != nil {
			return nil, fmt.Errorf("CLUSTER_TLS_CERT_FILE: %w", err)
		}
	}
	return s, nil
}

// readWebConfig reads the web config file as it is now.
func (s *security) readWebConfig() (server.WebConfig, error) {
	name := s.cfg.WebConfigFile
	if name == "" {
		return server.WebConfig{}, nil
	}
	text, err := vfs.ReadFile(s.fs, name)
	if err != nil {
		return server.WebConfig{}, fmt.Errorf("WEB_CONFIG_FILE: %w", err)
	}
	return server.ParseWebConfig(text, filepath.Dir(name))
}

// mode is CLUSTER_TLS with "auto" resolved.
func (s *security) mode() string {
	if s.cfg.ClusterTLS != config.TLSAuto {
		return s.cfg.ClusterTLS
	}
	if s.web.TLS {
		return config.TLSRequire
	}
	return config.TLSOff
}

// alsoPlain says whether the port takes plain HTTP beside TLS.
func (s *security) alsoPlain() bool { return s.web.TLS && s.mode() == config.TLSPrefer }

var (
	errPasswords = errors.New("WEB_CONFIG_FILE asks for passwords (basic_auth_users), which other nodes do not have: a cluster needs CLUSTER_SECRET or CLUSTER_SECRET_FILE beside them, the same on all nodes")
	errOnlyHere  = errors.New("WEB_CONFIG_FILE has TLS and CLUSTER_TLS is off: the nodes of a cluster could not reach one another; leave CLUSTER_TLS out, or set require, or prefer while the cluster changes over")
)

// clusterSecrets returns the secrets as they are now; it is nil where none is set.
func (s *security) clusterSecrets() func() []string {
	if s.secrets == nil {
		return nil
	}
	return s.secrets.all
}

// register adds metrics of the secrets and of the port's certificate, where there
// are any.
func (s *security) register(reg prometheus.Registerer) error {
	if err := s.secrets.register(reg); err != nil {
		return err
	}
	if !s.web.TLS {
		return nil
	}
	err := reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "count_http_certificate_expires_timestamp_seconds", Help: "When the certificate of the port expires, as its file is now; NaN when it cannot be read.",
	}, func() float64 {
		pair, err := s.portPair()
		if err != nil {
			return math.NaN() // the handshakes that fail for it are in the log
		}
		return float64(pair.Leaf.NotAfter.Unix())
	}))
	if err != nil {
		return fmt.Errorf("register the metric of the certificate: %w", err)
	}
	return nil
}

// joinable returns why other nodes could not talk to this one, nil when they can.
func (s *security) joinable() error {
	switch {
	case s.web.Passwords && s.secrets == nil:
		return errPasswords
	case s.web.TLS && s.mode() == config.TLSOff:
		return errOnlyHere
	}
	return nil
}

// dial is how other nodes are reached.
func (s *security) dial() transport.DialFunc {
	if s.mode() == config.TLSOff {
		return transport.NetDial
	}
	return s.tls().Dialer(transport.NetDial)
}

func (s *security) tls() *transport.TLS {
	t := &transport.TLS{ServerName: s.cfg.ClusterTLSName, OrPlain: s.mode() == config.TLSPrefer}
	if name := s.cfg.ClusterTLSCA; name != "" {
		t.Roots = func() ([]byte, error) { return vfs.ReadFile(s.fs, name) }
	}
	if s.web.TLS || s.cfg.ClusterTLSCert != "" {
		t.Certificate = s.certificate
	}
	return t
}

// certificate is what this node shows to one that asks for a certificate. The
// port's own is shown only where the other side may accept it.
func (s *security) certificate(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	pair, err := s.pair()
	if err != nil {
		return nil, &transport.HandshakeError{Text: "the certificate of this node: " + err.Error()}
	}
	if s.cfg.ClusterTLSCert == "" && asked.SupportsCertificate(pair) != nil {
		return &tls.Certificate{}, nil
	}
	return pair, nil
}

// pair reads the certificate that this node shows, and its key.
func (s *security) pair() (*tls.Certificate, error) {
	if s.cfg.ClusterTLSCert == "" {
		return s.portPair()
	}
	cert, err := vfs.ReadFile(s.fs, s.cfg.ClusterTLSCert)
	if err != nil {
		return nil, err
	}
	key, err := vfs.ReadFile(s.fs, s.cfg.ClusterTLSKey)
	if err != nil {
		return nil, err
	}
	return keyPair(cert, key)
}

// portPair reads the certificate of the port, and its key.
func (s *security) portPair() (*tls.Certificate, error) {
	web, err := s.readWebConfig()
	if err != nil {
		return nil, err
	}
	cert, key, err := web.KeyPair(func(name string) ([]byte, error) { return vfs.ReadFile(s.fs, name) })
	if err != nil {
		return nil, err
	}
	return keyPair(cert, key)
}

func keyPair(cert, key []byte) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("certificate and key: %w", err)
	}
	return &pair, nil
}
