package store

import "context"

type noCacheKey struct{}

// WithoutCache makes the queries under the context compute what a cache might have
// had, and keep nothing.
func WithoutCache(ctx context.Context) context.Context {
	return context.WithValue(ctx, noCacheKey{}, true)
}

// MayCache says whether queries under the context may use a cache.
func MayCache(ctx context.Context) bool {
	no, _ := ctx.Value(noCacheKey{}).(bool)
	return !no
}
