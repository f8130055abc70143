package config

import (
	"errors"
	"fmt"
	"strings"
)

const (
	// MaxSecretsFile bounds a CLUSTER_SECRET_FILE, in bytes.
	MaxSecretsFile = 64 << 10
	maxSecrets     = 16
)

// ParseSecrets reads the text of a CLUSTER_SECRET_FILE: one secret a line, without
// the white space around it; empty lines do not count. The first is the one that is
// shown to other nodes, all are taken from them. There is at least one in the
// result, and no error names a secret.
func ParseSecrets(text []byte) ([]string, error) {
	if len(text) > MaxSecretsFile {
		return nil, fmt.Errorf("it is larger than %d bytes", MaxSecretsFile)
	}
	var all []string
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		secret := strings.TrimSpace(line)
		if secret == "" {
			continue
		}
		if strings.ContainsFunc(secret, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, fmt.Errorf("line %d has a control character", number) // no header of HTTP can carry it
		}
		all = append(all, secret)
	}
	switch {
	case len(all) == 0:
		return nil, errors.New("no secret is in it")
	case len(all) > maxSecrets:
		return nil, fmt.Errorf("%d secrets are in it, more than %d", len(all), maxSecrets)
	}
	return all, nil
}
