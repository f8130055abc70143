package promql

import (
	"context"
	"fmt"
	"slices"

	"github.com/count-db/count/promql/partial"
	"github.com/count-db/count/promql/plan"
	"github.com/count-db/count/promql/store"
)

const (
	// leastCached is the number of steps below which a query is computed as it is:
	// its steps mostly are of this moment, as those of rules are.
	leastCached = 4
	// mostShare is the part of the cache that one query may take.
	mostShare = 4
)

// cachedRun evaluates a part with the help of the cache.
//
// The states of a step stay good while nothing was changed in the range of time
// that they were computed from. Entries have the mark of the storage that was taken
// before it was read; the storage says from when on something was changed since, and
// the steps that look no further are taken. The rest is computed, over the series
// that were selected for the whole, and put together with them; so counts of samples,
// series and points are as if all had been computed.
type cachedRun struct {
	cache  *Cache
	runner partial.Runner
	part   plan.Part
	sel    store.Tracked

	plan   string
	first  int64 // number of the first step of the grid among all multiples of the step
	blocks []cachedBlock
}

// cachedBlock is what a query needs of one block, the steps from up to before to of
// its grid, and what the cache has of that: those from have up to before till.
type cachedBlock struct {
	key        stateKey
	from, to   int
	have, till int
	entry      *stateEntry // nil: nothing
}

// run evaluates a part over a selection, with the cache where that is possible.
func (c *Cache) run(ctx context.Context, part plan.Part, sel Selection, runner partial.Runner) (*partial.Result, error) {
	tracked, ok := sel.(store.Tracked)
	if c == nil || !ok || part.Once || part.Grid.Len() < leastCached || !part.Program.Cacheable() || !store.MayCache(ctx) {
		return runner.Run(ctx, part.Program, part.Grid, sel) //nolint:wrapcheck // of package partial
	}
	run := &cachedRun{cache: c, runner: runner, part: part, sel: tracked}
	run.runner.Cuttable = true
	run.find()
	result, err := run.result(ctx)
	if err != nil {
		return nil, err
	}
	run.keep(result)
	return result, nil
}

// find looks up the blocks.
func (r *cachedRun) find() {
	g := r.part.Grid
	r.first = floorDiv(g.Start, g.Step)
	r.plan = fmt.Sprintf("%s\x00%d\x00%d\x00%s\x00%s", r.sel.Scope(), g.Step, g.Start-r.first*g.Step, r.part.Program.Fingerprint(), r.part.Text)
	for from := 0; from < g.Len(); {
		number := floorDiv(r.first+int64(from), blockSteps)
		to := int(min(int64(g.Len()), (number+1)*blockSteps-r.first))
		b := cachedBlock{key: stateKey{r.plan, number}, from: from, to: to}
		b.entry = r.cache.get(b.key)
		r.takeValid(&b)
		r.cache.stats.hits.Add(float64(b.till - b.have))
		r.cache.stats.misses.Add(float64(b.to - b.from - (b.till - b.have)))
		r.blocks = append(r.blocks, b)
		from = to
	}
}

// takeValid finds what of a block's entry is needed and still good.
func (r *cachedRun) takeValid(b *cachedBlock) {
	if b.entry == nil {
		return
	}
	g := r.part.Grid
	at := int(b.entry.from - r.first)
	have, till := max(b.from, at), min(b.to, at+b.entry.steps.Len())
	if b.entry.headless && have == at && have > 0 {
		have++
	}
	if have >= till {
		b.entry = nil
		return
	}
	mint, maxt := r.part.Program.Range(r.grid(have, till))
	if until := r.sel.ChangedFrom(b.entry.mark, mint, maxt); until <= maxt {
		// Steps look back from maxt, maxt-Step, ...: those before until are good.
		behind := (maxt-until)/g.Step + 1
		till = int(max(int64(have), int64(till)-behind))
	}
	if have >= till {
		b.entry = nil
		return
	}
	b.have, b.till = have, till
}

// grid returns the steps from up to before to of the part's.
func (r *cachedRun) grid(from, to int) partial.Grid {
	g := r.part.Grid
	return partial.Grid{Start: g.At(from), End: g.At(to - 1), Step: g.Step}
}

// gap is a run of steps that the cache does not have.
type gap struct{ from, to int }

// gaps returns them. Those are one between which so little is known that reading
// around it would be no less work.
func (r *cachedRun) gaps() []gap {
	var all []gap
	mint, maxt := r.part.Program.Range(r.grid(0, 1))
	near := max(blockSteps, int((maxt-mint)/r.part.Grid.Step))
	add := func(from, to int) {
		if from >= to {
			return
		}
		if n := len(all); n > 0 && from-all[n-1].to < near {
			all[n-1].to = to
			return
		}
		all = append(all, gap{from, to})
	}
	for i := range r.blocks {
		b := &r.blocks[i]
		if b.entry == nil {
			add(b.from, b.to)
			continue
		}
		add(b.from, b.have)
		add(b.till, b.to)
	}
	return all
}

// result computes what is missing and puts all together.
func (r *cachedRun) result(ctx context.Context) (*partial.Result, error) {
	p, g := r.part.Program, r.part.Grid
	gaps := r.gaps()
	whole := func() (*partial.Result, error) {
		return r.runner.Run(ctx, p, g, r.sel) //nolint:wrapcheck // of package partial
	}
	if len(gaps) == 1 && gaps[0] == (gap{0, g.Len()}) {
		return whole()
	}
	var pieces []partial.Piece
	for i := range r.blocks {
		b := &r.blocks[i]
		again := func(missing gap) bool { return missing.from <= b.have && b.till <= missing.to }
		if b.entry != nil && !slices.ContainsFunc(gaps, again) {
			at := int(b.entry.from - r.first)
			pieces = append(pieces, partial.Piece{Steps: b.entry.steps, From: b.have - at, To: b.till - at, At: b.have})
		}
	}
	for _, missing := range gaps {
		// One step before, so that the samples which that one read are known.
		from := missing.from
		if p.OverRange() {
			from = max(0, from-1)
		}
		result, err := r.runner.Run(ctx, p, r.grid(from, missing.to), r.sel)
		if err != nil {
			return nil, err //nolint:wrapcheck // of package partial
		}
		if !result.Cuttable() {
			return whole()
		}
		n := missing.to - from
		pieces = append(pieces, partial.Piece{Steps: result.Cut(0, n, r.sel), From: missing.from - from, To: n, At: missing.from})
	}
	result, ok := partial.Assemble(p, g, r.sel, pieces)
	if !ok {
		return whole()
	}
	if err := result.Check(r.runner.MaxSamples); err != nil {
		return nil, err //nolint:wrapcheck // of package partial
	}
	return result, nil
}

// keep puts the blocks into the cache that were not there whole.
func (r *cachedRun) keep(result *partial.Result) {
	if !result.Cuttable() || result.Size() > r.cache.limit/mostShare {
		return
	}
	mark := r.sel.Mark()
	for i := range r.blocks {
		b := &r.blocks[i]
		if b.entry != nil && b.have == b.from && b.till == b.to {
			continue
		}
		r.cache.put(&stateEntry{
			key: b.key, from: r.first + int64(b.from), steps: result.Cut(b.from, b.to, r.sel), mark: mark,
			headless: b.from == 0 && r.part.Program.OverRange(),
		})
	}
}

func floorDiv(a, b int64) int64 {
	n := a / b
	if a%b < 0 {
		n--
	}
	return n
}
