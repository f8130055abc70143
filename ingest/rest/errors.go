package rest

import (
	"encoding/json"
	"net/http"
)

// writeError answers with {"error": "..."}.
func writeError(w http.ResponseWriter, code int, err error) {
	// A struct of a string can't fail to encode.
	body, _ := json.Marshal(struct {
		Error string `json:"error"`
	}{err.Error()})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// The client may be gone; nobody is left to be told.
	_, _ = w.Write(append(body, '\n'))
}
