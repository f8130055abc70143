package server

import (
	"fmt"

	"github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v3"
)

// WebConfig is what a node needs to know of its WEB_CONFIG_FILE; the zero value
// is that of a node without one.
type WebConfig struct {
	TLS       bool // the port speaks TLS
	Passwords bool // clients are asked for one

	tls web.TLSConfig
}

// ParseWebConfig reads the text of a web config file that lies in dir. Whether
// all of it is right the toolkit says when the server is made.
func ParseWebConfig(text []byte, dir string) (WebConfig, error) {
	var c web.Config
	if err := yaml.Unmarshal(text, &c); err != nil {
		return WebConfig{}, fmt.Errorf("parse the web config file: %w", err)
	}
	c.TLSConfig.SetDirectory(dir)
	return WebConfig{TLS: c.TLSConfig.IsEnabled(), Passwords: len(c.Users) > 0, tls: c.TLSConfig}, nil
}

// KeyPair returns the certificate of the port and its key, in PEM. read reads the
// files where they are not in the web config file itself.
func (c *WebConfig) KeyPair(read func(name string) ([]byte, error)) (cert, key []byte, err error) {
	cert, key = []byte(c.tls.TLSCert), []byte(c.tls.TLSKey)
	if name := c.tls.TLSCertPath; name != "" {
		if cert, err = read(name); err != nil {
			return nil, nil, fmt.Errorf("read the certificate: %w", err)
		}
	}
	if name := c.tls.TLSKeyPath; name != "" {
		if key, err = read(name); err != nil {
			return nil, nil, fmt.Errorf("read the key: %w", err)
		}
	}
	return cert, key, nil
}
