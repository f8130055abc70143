package store

import (
	"context"
	"fmt"
)

// Consistency says how many copies a read asks for. An answer from fewer is
// marked by a warning.
type Consistency uint8

const (
	// Quorum is a complete read: it shows every write acknowledged before it.
	Quorum Consistency = iota
	// One takes the first copy that answers.
	One
	// All asks every owner.
	All
)

// String returns the level as it is written in requests.
func (c Consistency) String() string {
	switch c {
	case One:
		return "one"
	case All:
		return "all"
	default:
		return "quorum"
	}
}

// ParseConsistency reads the value of the consistency parameter; empty is the
// default, Quorum.
func ParseConsistency(s string) (Consistency, error) {
	switch s {
	case "", "quorum":
		return Quorum, nil
	case "one":
		return One, nil
	case "all":
		return All, nil
	default:
		return Quorum, fmt.Errorf("unknown consistency %q: one, quorum and all are allowed", s)
	}
}

type consistencyKey struct{}

// WithConsistency sets the level for all reads under the context.
func WithConsistency(ctx context.Context, c Consistency) context.Context {
	return context.WithValue(ctx, consistencyKey{}, c)
}

// ConsistencyFrom returns the level that the reads under the context ask for.
func ConsistencyFrom(ctx context.Context) Consistency {
	c, _ := ctx.Value(consistencyKey{}).(Consistency)
	return c
}
