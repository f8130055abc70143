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

// KnowsSecret says whether a request shows that it knows the secret of the
// cluster: Authorization is "Bearer" and the secret. It is false where there is
// no secret. How long it takes says nothing of the secret.
func KnowsSecret(r *http.Request, secret string) bool {
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || secret == "" {
		return false
	}
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(secret))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// besidePasswords lets whoever knows the secret go to the routes of nodes without
// the password that everybody else is asked for: the other nodes know only its
// hash. Nor are they counted by the limit of requests of the web config file.
func (s *Server) besidePasswords(asked http.Handler) http.Handler {
	ours := slices.DeleteFunc(slices.Clone(s.table), func(r route) bool { return !forNodes(r.path) })
	nodes := stripPrefix(s.opts.RoutePrefix, router(ours, s.around, asked))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if KnowsSecret(r, s.opts.ClusterSecret) {
			nodes.ServeHTTP(w, r)
			return
		}
		asked.ServeHTTP(w, r)
	})
}

// masked keeps the secret, which may have been given as a flag, out of a short
// answer that its handler writes at once.
func masked(next http.Handler, secret string) http.Handler {
	if secret == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(&masking{w, secret}, r) })
}

type masking struct {
	http.ResponseWriter
	secret string
}

// Write implements http.ResponseWriter.
func (m *masking) Write(p []byte) (int, error) {
	if _, err := m.ResponseWriter.Write(bytes.ReplaceAll(p, []byte(m.secret), []byte("<secret>"))); err != nil {
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
