package partial

import (
	"errors"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/wire"
)

// Join merges results of the same part of a query, which the nodes that computed
// them spelled out or not: equal annotations of several become one.
func Join(query string, results []*Result) (*Result, error) {
	if len(results) == 0 {
		return nil, errors.New("no partial result")
	}
	all := results[0]
	if len(results) == 1 {
		return all, nil
	}
	all.spell(query)
	for _, r := range results[1:] {
		r.spell(query)
		all.Merge(r)
	}
	return all, nil
}

// spell makes the annotations complete texts, as they come over the wire.
func (r *Result) spell(query string) {
	d := wire.NewDecoder(appendAnnotations(nil, r.annos, query))
	r.annos = decodeAnnotations(&d)
}

// Places returns how many values the series and groups have room for.
func (r *Result) Places() int64 { return int64(len(r.rows)+len(r.groups)) * int64(r.grid.Len()) }

// Merge takes the result of other series, from another node: the same program on
// the same grid, each series in one of the results only. Results merge in any
// order; the outcome is in the order of labels. other is not used any more.
func (r *Result) Merge(other *Result) {
	r.absorb(other)
	r.mergeRows(other)
	if r.prog.agg.keepsLabels() {
		r.renumber(other)
	}
	r.mergeGroups(other)
	slices.SortFunc(r.groups, func(a, b *group) int { return labels.Compare(a.labels, b.labels) })
}

func (r *Result) mergeRows(other *Result) {
	r.rows = append(r.rows, other.rows...)
	slices.SortFunc(r.rows, func(a, b Series) int { return labels.Compare(a.Labels, b.Labels) })
}

// renumber numbers the series of both results by the order of their labels, in
// which ties go to the earlier.
func (r *Result) renumber(other *Result) {
	type place struct {
		of *Result
		i  int32
	}
	var all []place
	for _, res := range []*Result{r, other} {
		for i := range res.names {
			all = append(all, place{res, i})
		}
	}
	slices.SortFunc(all, func(a, b place) int { return labels.Compare(a.of.names[a.i], b.of.names[b.i]) })
	mine, theirs := map[int32]int32{}, map[int32]int32{}
	names := make(map[int32]labels.Labels, len(all))
	for n, p := range all {
		names[int32(n)] = p.of.names[p.i]
		if p.of == r {
			mine[p.i] = int32(n)
		} else {
			theirs[p.i] = int32(n)
		}
	}
	r.relabel(mine)
	other.relabel(theirs)
	r.names, other.names = names, nil
}

func (r *Result) relabel(number map[int32]int32) {
	for _, g := range r.groups {
		s, ok := g.state.(*topState)
		if !ok {
			continue
		}
		for _, entries := range s.steps {
			for i := range entries {
				entries[i].series = number[entries[i].series]
			}
		}
	}
}

// mergeGroups merges the groups of other into those of the receiver; new ones
// come behind them. other is not used any more.
func (r *Result) mergeGroups(other *Result) {
	byLabels := make(map[string]*group, len(r.groups))
	var key []byte
	for _, g := range r.groups {
		key = g.labels.Bytes(key)
		byLabels[string(key)] = g
	}
	for _, g := range other.groups {
		key = g.labels.Bytes(key)
		if mine := byLabels[string(key)]; mine != nil {
			mine.state.merge(g.state)
		} else {
			r.groups = append(r.groups, g)
		}
	}
}
