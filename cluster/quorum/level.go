package quorum

import (
	"context"

	"github.com/count-db/count/cluster/ring"
)

// Level says how many copies a read asks for.
type Level uint8

const (
	// Quorum asks for W candidates of every series: such a read shows every write
	// acknowledged before it (C1).
	Quorum Level = iota
	// One takes the first copy.
	One
	// All asks for every owner.
	All
)

// Complete says whether answers of the given nodes are enough for the level.
func (l Level) Complete(lists []ring.List, has func(ring.NodeID) bool) bool {
	for i := range lists {
		list := &lists[i]
		switch l {
		case One:
			if !list.Any(has) {
				return false
			}
		case All:
			for _, id := range list.Nodes[:list.Owners] {
				if !has(id) {
					return false
				}
			}
		default:
			if !list.Complete(has) {
				return false
			}
		}
	}
	return true
}

type levelKey struct{}

// WithLevel sets the level of all reads under the context.
func WithLevel(ctx context.Context, l Level) context.Context {
	return context.WithValue(ctx, levelKey{}, l)
}

// LevelFrom returns the level of the reads under the context: Quorum unless set.
func LevelFrom(ctx context.Context) Level {
	l, _ := ctx.Value(levelKey{}).(Level)
	return l
}
