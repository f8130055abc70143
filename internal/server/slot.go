package server

import (
	"net/http"
	"sync/atomic"
)

// Slot is a handler whose part is not there yet while the node starts: until
// Set it answers 503. Safe for concurrent use.
type Slot struct {
	starting func() string // why there is nothing yet
	handler  atomic.Pointer[http.Handler]
}

// NewSlot returns an empty slot; starting says what the node is doing.
func NewSlot(starting func() string) *Slot { return &Slot{starting: starting} }

// Set puts the part in place.
func (s *Slot) Set(h http.Handler) { s.handler.Store(&h) }

// ServeHTTP implements http.Handler.
func (s *Slot) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := s.handler.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	w.Header().Set("Retry-After", "1")
	WriteError(w, http.StatusServiceUnavailable, "not ready: "+s.starting())
}

// Clear takes the part out again: from now on the slot answers 503.
func (s *Slot) Clear() { s.handler.Store(nil) }
