package server

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// KnowsSecret says whether a request shows that it knows a secret of the cluster:
// Authorization is "Bearer" and one of those that the function returns. It is false
// where there are none. How long it takes says nothing of the secrets.
func KnowsSecret(r *http.Request, secrets func() []string) bool {
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || secrets == nil {
		return false
	}
	shown, known := sha256.Sum256([]byte(given)), 0
	for _, secret := range secrets() {
		if secret != "" {
			hash := sha256.Sum256([]byte(secret))
			known |= subtle.ConstantTimeCompare(shown[:], hash[:])
		}
	}
	return known == 1
}

// besidePasswords lets whoever knows the secret go to the routes of nodes without
// the password that everybody else is asked for: the other nodes know only its
// hash. Nor are they counted by the limit of requests of the web config file.
func (s *Server) besidePasswords(asked http.Handler) http.Handler {
	ours := slices.DeleteFunc(slices.Clone(s.table), func(r route) bool { return !forNodes(r.path) })
	nodes := stripPrefix(s.opts.RoutePrefix, router(ours, s.around, asked))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if KnowsSecret(r, s.opts.ClusterSecrets) {
			nodes.ServeHTTP(w, r)
			return
		}
		asked.ServeHTTP(w, r)
	})
}

// masked keeps the secrets, which may have been given as a flag, out of a short
// answer that its handler writes at once.
func masked(next http.Handler, secrets func() []string) http.Handler {
	if secrets == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(&masking{w, secrets()}, r) })
}

type masking struct {
	http.ResponseWriter
	secrets []string
}

// Write implements http.ResponseWriter.
func (m *masking) Write(p []byte) (int, error) {
	shown := p
	for _, secret := range m.secrets {
		shown = bytes.ReplaceAll(shown, []byte(secret), []byte("<secret>"))
	}
	if _, err := m.ResponseWriter.Write(shown); err != nil {
		return 0, err
	}
	return len(p), nil
}

// starting is a listener that calls start before it takes the first connection.
type starting struct {
	net.Listener
	start func()
	once  sync.Once
}

// Accept implements net.Listener.
func (s *starting) Accept() (net.Conn, error) {
	s.once.Do(s.start)
	return s.Listener.Accept()
}
