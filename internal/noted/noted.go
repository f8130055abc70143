// Package noted carries the warnings and the error of reads past interfaces that
// have no place for them, in the context of a request (docs/decisions/0006).
package noted

import (
	"context"
	"slices"
	"strings"
	"sync"
)

// Warnings are the warnings of all reads under a context. It is safe for
// concurrent use.
type Warnings struct {
	mu    sync.Mutex
	texts []string // guarded by mu; each once
	err   error    // guarded by mu; the last
}

// Gone begins a warning that says that samples are lost for good: what is there is
// in the answer, and no later one will have more. All other warnings are about what
// another time may be there.
const Gone = "samples are lost: "

// OnlyGone says whether all warnings are of that kind: none are, too.
func OnlyGone(texts []string) bool {
	return !slices.ContainsFunc(texts, func(text string) bool { return !strings.HasPrefix(text, Gone) })
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

// Fail notes the error of a read under the context, if somebody wants it and
// there is one.
func Fail(ctx context.Context, err error) {
	w, _ := ctx.Value(key{}).(*Warnings)
	if w == nil || err == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

// Err returns the last error that was noted.
func (w *Warnings) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Texts returns what was noted so far.
func (w *Warnings) Texts() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.texts)
}
