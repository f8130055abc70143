package promql_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	prompromql "github.com/prometheus/prometheus/promql"

	"github.com/count-db/count/promql"
	"github.com/count-db/count/promql/memstore"
	"github.com/count-db/count/promql/prom"
	"github.com/count-db/count/promql/store"
)

// cachedQueries is how many generated queries a plain test run asks again and
// again; COUNT_CACHED_QUERIES sets another number.
const cachedQueries = 250

// tracked is a store that remembers when it was changed, in the plainest way.
type tracked struct {
	*memstore.Store
	mu      *sync.Mutex
	changes *[]int64 // time of each change
}

func newTracked(m *memstore.Store) tracked {
	m.NoRandomAccess = false
	return tracked{m, &sync.Mutex{}, new([]int64)}
}

func (s tracked) changed(t int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*s.changes = append(*s.changes, t)
}

func (s tracked) Select(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (promql.SeriesSet, error) {
	s.mu.Lock()
	mark := len(*s.changes)
	s.mu.Unlock()
	set, err := s.Store.Select(ctx, mint, maxt, ms...)
	if err != nil {
		return nil, err
	}
	return &trackedSet{SeriesSet: set, Selection: set.(store.Selection), store: s, mark: uint64(mark)}, nil
}

type trackedSet struct {
	store.SeriesSet
	store.Selection
	store tracked
	mark  uint64
}

var _ store.Tracked = (*trackedSet)(nil)

func (s *trackedSet) Mark() uint64 { return s.mark }

func (s *trackedSet) ChangedFrom(mark uint64, mint, maxt int64) int64 {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	first := maxt + 1
	for _, t := range (*s.store.changes)[mark:] {
		if t >= mint && t < first {
			first = t
		}
	}
	return first
}

func (s *trackedSet) Scope() string { return "" }

// TestCachedEqualsPrometheus asks generated queries again and again, with ranges
// that move and grow and data that changes in between: answers that rest on the
// cache must be those of Prometheus's engine in all that
// TestReducedEqualsPrometheus compares.
func TestCachedEqualsPrometheus(t *testing.T) {
	seed := uint64(envInt("COUNT_DIFFERENTIAL_SEED", 1))
	n := envInt("COUNT_CACHED_QUERIES", cachedQueries)
	const perStore = 25
	for round := range max(1, n/perStore) {
		rng := rand.New(rand.NewPCG(seed, uint64(1_000_000+round)))
		hosts := 1 + rng.IntN(2)
		opts := promql.Options{DelayedNameRemoval: rng.IntN(4) == 0, UseStartTimestamps: rng.IntN(2) == 0}
		plain, cached := opts, opts
		plain.NoReduction = true
		// Sometimes too small for much.
		cached.Cache = newCache(t, []int64{64 << 20, 64 << 10}[rng.IntN(2)], nil)
		m := newTracked(generateStore(rng, hosts))
		c := &comparison{
			t: t, store: m.Store, data: m, exact: true, label: fmt.Sprintf("seed %d round %d", seed, round),
			reduced: newEngine(t, cached), plain: newEngine(t, plain),
		}
		for range perStore {
			c.again(rng, m, (&generator{rng: rng}).vector(3))
			if t.Failed() {
				return
			}
		}
	}
}

// again asks a query several times.
func (c *comparison) again(rng *rand.Rand, m tracked, text string) {
	c.t.Helper()
	step := int64(5_000 + rng.IntN(60_000))
	start, steps := rng.Int64N(2_000_000), int64(4+rng.IntN(150))
	for range 6 {
		at := asked{start: time.UnixMilli(start), end: time.UnixMilli(start + steps*step), step: time.Duration(step) * time.Millisecond}
		c.compare(text, at)
		if c.t.Failed() {
			return
		}
		switch rng.IntN(8) {
		case 0: // narrower and wider
			start, steps = start+step*int64(rng.IntN(40)-20), max(4, steps+int64(rng.IntN(80)-40))
		case 1: // another phase, as another panel has
			start += rng.Int64N(step)
		default: // the dashboard goes on
			start += step * int64(rng.IntN(4))
		}
		for range rng.IntN(3) {
			m.changeOne(rng)
		}
	}
}

// changeOne writes a sample, somewhere or behind the newest.
func (s tracked) changeOne(rng *rand.Rand) {
	t := rng.Int64N(6_000_000)
	if rng.IntN(2) == 0 {
		t = 4_000_000 + rng.Int64N(2_000_000)
	}
	ls := labels.FromStrings(
		"__name__", []string{"c_total", "g", "odd", "mixed", "h"}[rng.IntN(5)],
		"instance", fmt.Sprintf("h%02d", rng.IntN(3)), "mode", []string{"user", "idle", "new"}[rng.IntN(3)],
	)
	s.Append(ls, 0, t, float64(rng.IntN(100)))
	s.changed(t)
}

func newCache(t *testing.T, bytes int64, reg prometheus.Registerer) *promql.Cache {
	t.Helper()
	c, err := promql.NewCache(bytes, reg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newCachedEngine returns an engine and what counts its hits and misses.
func newCachedEngine(t *testing.T, bytes int64) (*promql.Engine, func() (hits, misses float64)) {
	t.Helper()
	reg := prometheus.NewRegistry()
	e := newEngine(t, promql.Options{Cache: newCache(t, bytes, reg)})
	return e, func() (hits, misses float64) {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			switch f.GetName() {
			case "count_query_cache_hits_total":
				hits = f.GetMetric()[0].GetCounter().GetValue()
			case "count_query_cache_misses_total":
				misses = f.GetMetric()[0].GetCounter().GetValue()
			}
		}
		return hits, misses
	}
}

func runRange(ctx context.Context, t *testing.T, e *promql.Engine, s promql.Store, text string, start, end, step int64) *prompromql.Result {
	t.Helper()
	q, err := e.NewRangeQuery(ctx, prom.New(s), nil, text, time.UnixMilli(start), time.UnixMilli(end), time.Duration(step)*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	res := q.Exec(ctx)
	if res.Err != nil {
		t.Fatal(res.Err)
	}
	return res
}

// TestTheCacheIsUsed counts the steps that come from the cache.
func TestTheCacheIsUsed(t *testing.T) {
	m := newTracked(memstore.New())
	for i := range int64(1000) {
		m.Append(labels.FromStrings("__name__", "a_total", "x", fmt.Sprint(i%3)), 0, i*5000, float64(i))
	}
	e, counts := newCachedEngine(t, 1<<20)
	ask := func(ctx context.Context, from, to int64) {
		t.Helper()
		runRange(ctx, t, e, m, `sum(rate(a_total[1m]))`, from*1000, to*1000, 15_000)
	}
	expect := func(what string, hits, misses float64) {
		t.Helper()
		if h, m := counts(); h != hits || m != misses {
			t.Errorf("%s: %v hits and %v misses, want %v and %v", what, h, m, hits, misses)
		}
	}
	ctx := context.Background()
	ask(ctx, 600, 600+99*15)
	expect("at first", 0, 100)
	ask(ctx, 600, 600+99*15)
	expect("the same", 100, 100)
	ask(ctx, 630, 630+99*15)
	expect("two steps on", 198, 102)
	m.Append(labels.FromStrings("__name__", "a_total", "x", "new"), 0, 630_000+99*15_000, 5)
	m.changed(630_000 + 99*15_000)
	ask(ctx, 630, 630+99*15)
	expect("after a write that the last step sees", 297, 103)
	ask(ctx, 637, 637+99*15)
	expect("another phase", 297, 203)
	ask(promql.WithoutCache(ctx), 630, 630+99*15)
	expect("without the cache", 297, 203)
}
