package promql_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	prompromql "github.com/prometheus/prometheus/promql"

	"github.com/count-db/count/promql"
	"github.com/count-db/count/promql/prom"
)

// endless is a store whose series never come. fail is what the set ends with when
// its context has ended; nil is the error of the context.
type endless struct {
	promql.Store
	entered chan struct{}
	fail    error
}

type endlessSet struct {
	promql.SeriesSet
	ctx context.Context
	of  endless
}

func (s endless) Select(ctx context.Context, _, _ int64, _ ...*labels.Matcher) (promql.SeriesSet, error) {
	return &endlessSet{ctx: ctx, of: s}, nil
}

func (s *endlessSet) Next() bool {
	if s.of.entered != nil {
		close(s.of.entered)
	}
	<-s.ctx.Done()
	return false
}

func (s *endlessSet) Err() error {
	if s.of.fail != nil {
		return s.of.fail
	}
	return s.ctx.Err()
}
func (s *endlessSet) Warnings() promql.Warnings { return nil }
func (s *endlessSet) Close()                    {}

// TestTimeoutsHaveOneName: wherever a query's time is up, while series are taken
// from a storage among others, it ends with the error that the API answers with 503
// and the type "timeout", in Prometheus's words.
func TestTimeoutsHaveOneName(t *testing.T) {
	for _, opts := range []promql.Options{{NoReduction: true}, {}} {
		for _, query := range []string{`x`, `sum(rate(x[5m]))`, `label_replace(x, "a", "$1", "b", "(.*)")`, `absent(x)`} {
			for _, fail := range []error{nil, io.ErrUnexpectedEOF} {
				name := fmt.Sprintf("%s whole %v fail %v", query, opts.NoReduction, fail)
				short := opts
				short.Timeout = time.Millisecond
				byOption := newEngine(t, short)
				ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
				defer cancel()
				for what, res := range map[string]*prompromql.Result{
					"option":  execEndless(t, context.Background(), byOption, endless{fail: fail}, query),
					"request": execEndless(t, ctx, newEngine(t, opts), endless{fail: fail}, query),
				} {
					var timeout prompromql.ErrQueryTimeout
					if !errors.As(res.Err, &timeout) || !strings.HasPrefix(res.Err.Error(), "query timed out in ") {
						t.Errorf("%s, time limit of the %s: %v", name, what, res.Err)
					}
				}
				var canceled prompromql.ErrQueryCanceled
				ctx, cancel = context.WithCancel(context.Background())
				s := endless{fail: fail, entered: make(chan struct{})}
				go func() {
					<-s.entered
					cancel()
				}()
				if res := execEndless(t, ctx, newEngine(t, opts), s, query); !errors.As(res.Err, &canceled) || !strings.HasPrefix(res.Err.Error(), "query was canceled in ") {
					t.Errorf("%s, the client is gone: %v", name, res.Err)
				}
			}
		}
	}
}

// TestFailuresKeepTheirName: an error of the storage is no timeout while there is
// time.
func TestFailuresKeepTheirName(t *testing.T) {
	for _, query := range []string{`x`, `absent(x)`} {
		res := execEndless(t, context.Background(), newEngine(t, promql.Options{}), failing{}, query)
		if !errors.Is(res.Err, context.DeadlineExceeded) || errors.As(res.Err, new(prompromql.ErrQueryTimeout)) {
			t.Errorf("%s: %v", query, res.Err)
		}
	}
}

// failing is a store of which a part took too long.
type failing struct{ promql.Store }

func (failing) Select(context.Context, int64, int64, ...*labels.Matcher) (promql.SeriesSet, error) {
	return nil, fmt.Errorf("ask a node: %w", context.DeadlineExceeded)
}

func execEndless(t *testing.T, ctx context.Context, e *promql.Engine, s promql.Store, query string) *prompromql.Result { //nolint:revive // the test comes first
	t.Helper()
	q, err := e.NewRangeQuery(ctx, prom.New(s), nil, query, time.UnixMilli(0), time.UnixMilli(60_000), 15*time.Second)
	if err != nil {
		return &prompromql.Result{Err: err}
	}
	defer q.Close()
	return q.Exec(ctx)
}
