// Package web serves Count's built-in page: the query console, the cluster
// and the cardinality explorer. The page's sources are in ui/, its built files
// in dist/ are embedded, so a node needs nothing but its binary.
package web

import (
	"embed"
	"fmt"
	"io/fs"
	"net/http"
)

//go:embed dist
var dist embed.FS

// contentSecurityPolicy lets the page talk to its own node and to nobody else;
// the editor and the graph set styles of their own.
const contentSecurityPolicy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'self'"

// Handler serves the page; it sees the paths below prefix, which ends in "/".
func Handler(prefix string) (http.Handler, error) {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		return nil, fmt.Errorf("open the embedded page: %w", err)
	}
	serve := http.StripPrefix(prefix, http.FileServerFS(files))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-cache")
		serve.ServeHTTP(w, r)
	}), nil
}
