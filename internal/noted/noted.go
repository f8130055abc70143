// Package noted carries the warnings of reads past interfaces that have no place
// for them, in the context of a request.
package noted

import (
	"context"
	"slices"
	"sync"
)

// Warnings are the warnings of all reads under a context. It is safe for
// concurrent use.
type Warnings struct {
	mu    sync.Mutex
	texts []string // guarded by mu; each once
}

type key struct{}

// With returns a context whose reads' warnings are noted.
func With(ctx context.Context) (context.Context, *Warnings) {
	w := &Warnings{}
	return context.WithValue(ctx, key{}, w), w
}

// Add notes warnings of a read under the context, if somebody wants them.
func Add(ctx context.Context, texts []string) {
	w, _ := ctx.Value(key{}).(*Warnings)
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, text := range texts {
		if !slices.Contains(w.texts, text) {
			w.texts = append(w.texts, text)
		}
	}
}

// Texts returns what was noted so far.
func (w *Warnings) Texts() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.texts)
}
