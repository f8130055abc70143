package apiv1

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// familyMetadata is one entry of /metadata.
type familyMetadata struct {
	Type string `json:"type"`
	Help string `json:"help"`
	Unit string `json:"unit"`
}

// metadataHandler answers /metadata from what senders told. Prometheus's own
// handler knows only what it scraped itself.
func metadataHandler(reader MetadataReader, unavailable func(error) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limit := 0
		for _, name := range []string{"limit", "limit_per_metric"} {
			s := r.FormValue(name)
			if s == "" {
				continue
			}
			n, err := strconv.Atoi(s)
			if err != nil {
				failure(w, http.StatusBadRequest, "bad_data", name+" must be a number")
				return
			}
			// There is one entry a family, so limit_per_metric takes nothing away.
			if name == "limit" {
				limit = max(n, 0)
			}
		}
		all, err := reader.Metadata(r.Context(), r.FormValue("metric"), limit)
		if isUnavailable(unavailable, err) {
			failure(w, http.StatusServiceUnavailable, "unavailable", "read metadata: "+err.Error())
			return
		}
		if err != nil {
			failure(w, http.StatusInternalServerError, "internal", "read metadata: "+err.Error())
			return
		}
		families := make(map[string][]familyMetadata, len(all))
		for _, m := range all {
			kind := string(m.Type)
			if kind == "" {
				kind = "unknown"
			}
			families[m.Family] = append(families[m.Family], familyMetadata{Type: kind, Help: m.Help, Unit: m.Unit})
		}
		success(w, families)
	})
}

// success answers in Prometheus's envelope.
func success(w http.ResponseWriter, data any) {
	writeJSON(w, http.StatusOK, struct {
		Status string `json:"status"`
		Data   any    `json:"data"`
	}{"success", data})
}

// failure answers an error in Prometheus's envelope.
func failure(w http.ResponseWriter, code int, kind, text string) {
	writeJSON(w, code, struct {
		Status    string `json:"status"`
		ErrorType string `json:"errorType"`
		Error     string `json:"error"`
	}{"error", kind, text})
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "encode the answer: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(body) // the client has gone: nobody is left to tell
}
