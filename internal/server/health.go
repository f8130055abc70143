package server

import (
	"encoding/json"
	"net/http"
)

// The states of /health.
const (
	Healthy   = "healthy"   // all is well
	Degraded  = "degraded"  // works, with less than it should have
	Unhealthy = "unhealthy" // refuses writes, or reads, or both
)

// Health is what /health answers.
type Health struct {
	Status      string `json:"status"`
	NodeID      uint64 `json:"node_id"`
	ClusterSize int    `json:"cluster_size"` // nodes now seen alive, this one included
	Ready       bool   `json:"ready"`
	Version     string `json:"version"`
	Series      int    `json:"series"` // in memory
	// Reasons say in words why the status is not healthy.
	Reasons []string `json:"reasons,omitempty"`
	// Cluster has what the cluster adds; nil on a single node.
	Cluster any `json:"cluster,omitempty"`
}

// HealthHandler answers /health: 200 when healthy or degraded, else 503.
func HealthHandler(now func() Health) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := now()
		code := http.StatusOK
		if h.Status == Unhealthy {
			code = http.StatusServiceUnavailable
		}
		WriteJSON(w, code, h)
	})
}

// HealthyHandler answers /-/healthy: the process runs.
func HealthyHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeText(w, http.StatusOK, "Count is Healthy.\n")
	})
}

// ReadyHandler answers /-/ready: 503 with the reason until ready returns none.
func ReadyHandler(notReady func() string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if why := notReady(); why != "" {
			w.Header().Set("Retry-After", "1")
			writeText(w, http.StatusServiceUnavailable, "Not ready: "+why+".\n")
			return
		}
		writeText(w, http.StatusOK, "Count is Ready.\n")
	})
}

// WriteJSON answers with v as JSON. It is for small answers: results of
// queries are written by their own encoders.
func WriteJSON(w http.ResponseWriter, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		WriteError(w, http.StatusInternalServerError, "encode the answer: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n')) // the client has gone: nobody is left to tell
}

func writeText(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text)) // the client has gone: nobody is left to tell
}
