package promql

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// Engine evaluates PromQL: by the reduced evaluator what that computes, all else
// on Prometheus's engine. It implements promql.QueryEngine, so the HTTP API and the rules take it as they take
// Prometheus's. Safe for concurrent use.
type Engine struct {
	engine  *promql.Engine
	parser  parser.Parser
	active  *activeQueries
	slow    *slowQueries
	answers *answers
	// fragments bounds the fragments of other nodes' queries that run at once.
	fragments *activeQueries
	stats     *engineStats
	opts      Options
}

var (
	_ promql.QueryEngine       = (*Engine)(nil)
	_ promql.QuerySlotAcquirer = (*Engine)(nil)
)

// NewParser returns a parser for all of PromQL, experimental functions included,
// of queries of the default length.
func NewParser() parser.Parser { return newParser(DefaultMaxQueryLength) }

// newParser returns a parser of queries of at most maxLength bytes.
func newParser(maxLength int) parser.Parser {
	return &boundedParser{maxLength: maxLength, Parser: parser.NewParser(parser.Options{
		EnableExperimentalFunctions: true,
		EnableBinopFillModifiers:    true,
		EnableUnquotedUTF8Names:     true,
	})}
}

// New returns an engine.
func New(opts Options) (*Engine, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("query options: %w", err)
	}
	opts = opts.withDefaults()
	stats, err := newEngineStats(opts.Registerer)
	if err != nil {
		return nil, err
	}
	e := &Engine{parser: newParser(opts.MaxQueryLength), active: newActiveQueries(opts.Concurrency), fragments: newActiveQueries(opts.Concurrency), slow: &slowQueries{limit: opts.SlowQueries}, answers: newAnswers(opts.Memory), stats: stats, opts: opts}
	e.engine = promql.NewEngine(promql.EngineOpts{
		Logger:                   opts.Logger,
		Reg:                      opts.Registerer,
		MaxSamples:               opts.MaxSamples,
		Timeout:                  opts.Timeout,
		ActiveQueryTracker:       e.active,
		LookbackDelta:            opts.LookbackDelta,
		NoStepSubqueryIntervalFn: func(int64) int64 { return defaultSubqueryStep.Milliseconds() },
		EnableAtModifier:         true,
		EnableNegativeOffset:     true,
		EnablePerStepStats:       true,
		EnableDelayedNameRemoval: opts.DelayedNameRemoval,
		UseStartTimestamps:       opts.UseStartTimestamps,
		Parser:                   e.parser,
	})
	return e, nil
}

// Close releases the engine; no query may run any more.
func (e *Engine) Close() error {
	if err := e.engine.Close(); err != nil {
		return fmt.Errorf("close query engine: %w", err)
	}
	return nil
}

// Parser returns the parser of the engine's dialect.
func (e *Engine) Parser() parser.Parser { return e.parser }

// Cache returns what keeps partial states, nil for none.
func (e *Engine) Cache() *Cache { return e.opts.Cache }

// LookbackDelta returns the default lookback.
func (e *Engine) LookbackDelta() time.Duration { return e.opts.LookbackDelta }

// AcquireQuerySlot waits for one of the slots of concurrent queries, for work
// that is not PromQL. The function returned releases it and is never nil.
func (e *Engine) AcquireQuerySlot(ctx context.Context, what string) (func(), error) {
	slot, err := e.active.Insert(ctx, what)
	if err != nil {
		return func() {}, err
	}
	return func() { e.active.Delete(slot) }, nil
}

// Active lists the queries that run now, oldest first.
func (e *Engine) Active() []ActiveQuery { return e.active.list() }

// Slow lists the slowest queries of the last hour, the slowest first.
func (e *Engine) Slow() []SlowQuery { return e.slow.list(time.Now()) }

// Cancel ends the query of that id as if its client had gone. False: there is
// none.
func (e *Engine) Cancel(id uint64) bool { return e.active.cancel(id) }

// tracked lists the query as active while it runs.
func (e *Engine) tracked(q promql.Query, about ActiveQuery) promql.Query {
	return &trackedQuery{Query: q, engine: e, about: about}
}

type trackedQuery struct {
	promql.Query
	engine *Engine
	about  ActiveQuery
	taken  int64 // bytes of memory for its answer
}

// Close is called when the answer is written.
func (q *trackedQuery) Close() {
	q.Query.Close()
	q.engine.answers.give(q.taken)
	q.taken = 0
}

func (q *trackedQuery) Exec(ctx context.Context) *promql.Result {
	// The time limit is that of all of it, also where the query begins anew as a whole.
	ctx, cancel := context.WithTimeout(ctx, q.engine.opts.Timeout)
	defer cancel()
	about := q.engine.active.start(q.about, cancel)
	defer q.engine.active.finish(about.ID)
	res := q.Query.Exec(ctx)
	res.Err = endedBy(ctx, res.Err)
	var err error
	if q.taken, err = q.engine.answers.take(res); err != nil {
		res.Value, res.Err = nil, err
	}
	how := evaluatedWhole
	if r, ok := q.Query.(*reducedQuery); ok {
		how = evaluatedReduced
		if r.fellBack {
			how = evaluatedFallback
		}
	}
	took := time.Since(about.Since)
	q.engine.stats.queries.WithLabelValues(how).Inc()
	q.engine.stats.seconds.WithLabelValues(how).Observe(took.Seconds())
	ended := SlowQuery{ActiveQuery: about, Took: took, Evaluation: how, Series: seriesOf(res)}
	if res.Err != nil {
		ended.Err = res.Err.Error()
	}
	q.engine.slow.add(ended)
	return res
}
