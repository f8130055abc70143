package node

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	prompromql "github.com/prometheus/prometheus/promql"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/promql"
	"github.com/count-db/count/promql/prom"
)

// condenseRounds is how many times TestCondensedEqualsPrometheus changes the
// storage; COUNT_CONDENSE_ROUNDS sets another number.
const condenseRounds = 16

var condensedFuncs = []string{
	"rate", "increase", "delta", "sum_over_time", "avg_over_time", "min_over_time", "max_over_time",
	"count_over_time", "present_over_time", "last_over_time",
}

// kindOfValue makes the values of a series: each is kept by another codec, with
// other flags.
func kindOfValue(rng *rand.Rand, kind int, last float64) float64 {
	if kind >= 12 && rng.IntN(300) == 0 {
		return []float64{math.Float64frombits(value.StaleNaN), math.NaN(), math.Copysign(0, -1), math.Inf(1), 1e17}[rng.IntN(5)]
	}
	if math.IsNaN(last) || math.IsInf(last, 0) || last >= 1e17 {
		last = 1
	}
	switch kind % 12 {
	case 0: // a counter
		return last + float64(rng.IntN(9))
	case 1: // one that is reset
		if rng.IntN(300) == 0 {
			return 0
		}
		return last + float64(rng.IntN(9))
	case 2:
		return float64(rng.IntN(200) - 100)
	case 3:
		return float64(rng.IntN(200)-100) / 10
	case 4:
		return rng.NormFloat64()
	case 5: // rises, any bits
		return last + rng.Float64()
	case 6:
		return 5
	case 7:
		return math.Copysign(0, -1)
	case 8: // either zero
		return math.Copysign(0, rng.Float64()-0.5)
	case 9:
		return 0.1
	case 10: // integers too large to add up exactly
		return float64(1<<51) - float64(rng.IntN(1000))
	default:
		return float64(rng.IntN(3))
	}
}

// TestCondensedEqualsPrometheus asks for wide windows over data of all kinds and
// at all stages of its life: Prometheus's engine sees every sample.
func TestCondensedEqualsPrometheus(t *testing.T) {
	for _, versions := range []bool{false, true} {
		t.Run(fmt.Sprintf("versions=%v", versions), func(t *testing.T) { testCondensed(t, versions) })
	}
}

func testCondensed(t *testing.T, versions bool) {
	c := newCacheTest(t, uint64(envInt("COUNT_CACHE_SEED", 1)), versions)
	whole, err := promql.New(promql.Options{NoReduction: true})
	c.must("build an engine", err)
	defer func() { c.must("close an engine", whole.Close()) }()
	ctx := context.Background()
	last, condensed := map[int]float64{}, 0
	for round := range envInt("COUNT_CONDENSE_ROUNDS", condenseRounds) {
		for range 20 * (1 + c.rng.IntN(24)) {
			c.mu.Lock()
			c.now = c.now.Add(15 * time.Second)
			c.mu.Unlock()
			var b model.Batch
			for kind := range 24 {
				if c.rng.IntN(200) == 0 {
					continue
				}
				last[kind] = kindOfValue(c.rng, kind, last[kind])
				b.Floats = append(b.Floats, c.sample(c.time().UnixMilli(), last[kind], "__name__", "x_total", "kind", strconv.Itoa(kind), "half", strconv.Itoa(kind%2)))
			}
			c.append(&b)
		}
		switch c.rng.IntN(8) {
		case 0:
			c.late()
		case 1:
			c.append(&model.Batch{Floats: []model.FloatSample{c.sample(c.time().Add(-5*time.Hour).UnixMilli(), 7, "__name__", "x_total", "kind", "2", "half", "0")}})
		case 2:
			from := c.time().Add(-time.Duration(c.rng.IntN(20)) * time.Hour).UnixMilli()
			c.must("delete", c.db.Delete(ctx, model.Tombstone{MinT: from, MaxT: from + 600_000, Matchers: []*labels.Matcher{
				labels.MustNewMatcher(labels.MatchEqual, "kind", strconv.Itoa(c.rng.IntN(24))),
			}}))
		case 3:
			c.must("maintain", c.db.Maintain(ctx))
		default:
			c.must("flush", c.db.Flush(ctx))
		}
		for range 12 {
			fn := condensedFuncs[c.rng.IntN(len(condensedFuncs))]
			width := []string{"2h", "3h", "9h17m", "1d"}[c.rng.IntN(4)]
			text := fmt.Sprintf("%s(x_total[%s])", fn, width)
			if c.rng.IntN(3) == 0 {
				text = fmt.Sprintf("max by (half) (%s(x_total[%s] offset 17s))", fn, width)
			}
			at := asked{end: c.time().Add(-time.Duration(c.rng.IntN(7200)) * time.Second)}
			at.start = at.end
			if c.rng.IntN(2) == 0 {
				at.step = time.Duration(1+c.rng.IntN(4)) * time.Hour
				at.start = at.end.Add(-time.Duration(c.rng.IntN(10)) * at.step)
			}
			want, got := c.wide(whole, text, at), c.wide(c.plain, text, at)
			if diff := got.differs(want); diff != "" {
				t.Fatalf("round %d: %s to %d: %s", round, text, at.end.UnixMilli(), diff)
			}
		}
		condensed += c.summaries()
	}
	if condensed == 0 {
		t.Error("no block was answered from its entry")
	}
}

// summaries counts the blocks of the last day that are described.
func (c *cacheTest) summaries() (n int) {
	sel, err := c.db.Select(context.Background(), c.time().Add(-24*time.Hour).UnixMilli(), c.time().UnixMilli(), labels.MustNewMatcher(labels.MatchEqual, "__name__", "x_total"))
	c.must("select", err)
	defer sel.Close()
	var dst model.Condensed
	for i := range sel.Len() {
		ok, err := sel.Condense(i, 0, c.time().UnixMilli(), model.Condense{Uncut: func(int64, int64) bool { return true }}, &dst)
		c.must("condense", err)
		if ok {
			n += len(dst.Summaries)
		}
	}
	return n
}

// asked is when a query is evaluated; no step: at end.
type asked struct {
	start, end time.Time
	step       time.Duration
}

func (c *cacheTest) wide(e *promql.Engine, text string, at asked) answer {
	c.Helper()
	ctx := context.Background()
	opts := prompromql.NewPrometheusQueryOpts(true, 0, nil)
	data := prom.New(&localStore{db: c.db})
	var q prompromql.Query
	var err error
	if at.step == 0 {
		q, err = e.NewInstantQuery(ctx, data, opts, text, at.end)
	} else {
		q, err = e.NewRangeQuery(ctx, data, opts, text, at.start, at.end, at.step)
	}
	c.must(text, err)
	defer q.Close()
	res := q.Exec(ctx)
	c.must(text, res.Err)
	var m prompromql.Matrix
	switch v := res.Value.(type) {
	case prompromql.Vector:
		for _, s := range v {
			m = append(m, prompromql.Series{Metric: s.Metric, Floats: []prompromql.FPoint{{T: s.T, F: s.F}}})
		}
	case prompromql.Matrix:
		for _, s := range v {
			m = append(m, prompromql.Series{Metric: s.Metric, Floats: slices.Clone(s.Floats)})
		}
	}
	slices.SortFunc(m, func(a, b prompromql.Series) int { return labels.Compare(a.Metric, b.Metric) })
	warnings, infos := res.Warnings.AsStrings(text, 0, 0)
	s := q.Stats().Samples
	return answer{m, append(warnings, infos...), fmt.Sprint(s.TotalSamples, s.SamplesRead, s.TotalSeries, s.TotalSamplesPerStep, s.SamplesReadPerStep)}
}
