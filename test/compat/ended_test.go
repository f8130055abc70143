package compat

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	prompromql "github.com/prometheus/prometheus/promql"

	"github.com/count-db/count/promql"
	"github.com/count-db/count/promql/prom"
)

// TestQueriesEndInTimeOnNodes: a query that other nodes keep waiting ends with its
// time, or with its client, and says so in Prometheus's words, whether its parts
// were spread, its series merged, or Prometheus's engine runs it whole. What the
// other nodes do not say in that time is no incomplete answer.
func TestQueriesEndInTimeOnNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("founds clusters")
	}
	for _, c := range []struct{ nodes, rf int }{{3, 2}, {3, 3}} {
		s := newSpreadCluster(t, c.nodes, c.rf, 1)
		s.scrape(3, 0, 1, 2)
		s.compare(0, `sum(g)`)
		for _, other := range s.seeds[1:] {
			s.network.Freeze(other)
		}
		for _, query := range []string{`sum by (mode) (rate(c_total[2m]))`, `g`, `label_replace(g, "x", "$1", "host", "h(.*)")`, `absent(c_total)`, `g + on (host, mode) c_total`} {
			for _, level := range []promql.Consistency{promql.Quorum, promql.All} {
				ctx, cancel := context.WithTimeout(promql.WithConsistency(context.Background(), level), 20*time.Millisecond)
				var timeout prompromql.ErrQueryTimeout
				if err := s.run(ctx, query); !errors.As(err, &timeout) || !strings.HasPrefix(err.Error(), "query timed out in ") {
					t.Errorf("%d nodes, rf %d: %s: %v", c.nodes, c.rf, query, err)
				}
				cancel()
				ctx, cancel = context.WithCancel(promql.WithConsistency(context.Background(), level))
				time.AfterFunc(20*time.Millisecond, cancel)
				var canceled prompromql.ErrQueryCanceled
				if err := s.run(ctx, query); !errors.As(err, &canceled) {
					t.Errorf("%d nodes, rf %d: %s: %v, want it cancelled", c.nodes, c.rf, query, err)
				}
				cancel()
			}
		}
		for _, other := range s.seeds[1:] {
			s.network.Thaw(other)
		}
		s.compare(0, `sum(g)`)
	}
}

// run asks a query through the first node until the context ends.
func (s *spreadCluster) run(ctx context.Context, query string) error {
	q, err := s.reduced[0].NewRangeQuery(ctx, prom.New(s.stores[0]), nil, query, time.UnixMilli(s.begin), time.UnixMilli(s.now), 30*time.Second)
	if err != nil {
		return err
	}
	defer q.Close()
	return q.Exec(ctx).Err
}
