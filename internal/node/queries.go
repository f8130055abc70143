package node

import (
	"strings"
	"time"

	"github.com/count-db/count/cluster"
	"github.com/count-db/count/promql"
	"github.com/count-db/count/remote/apiv1"
)

// queries shows the query engine as the HTTP API wants it.
type queries struct {
	*promql.Engine
	cluster *cluster.Cluster
}

// Explain implements apiv1.Queries: how a query would be split, and which nodes
// would compute its parts now.
func (q queries) Explain(query string, start, end time.Time, step time.Duration) (string, error) {
	text, err := q.Engine.Explain(query, start, end, step)
	if where := q.cluster.ExplainSpread(); err == nil && where != "" {
		text = strings.TrimSuffix(text, "\n") + "\n" + where + "\n"
	}
	return text, err
}

// Active implements apiv1.Queries.
func (q queries) Active() []apiv1.ActiveQuery {
	running := q.Engine.Active()
	out := make([]apiv1.ActiveQuery, len(running))
	for i, a := range running {
		out[i] = apiv1.ActiveQuery{
			ID: a.ID, Query: a.Query, Start: seconds(a.Start), End: seconds(a.End), Step: a.Step.Seconds(), Running: time.Since(a.Since).Seconds(),
		}
	}
	return out
}

// Slow implements apiv1.Queries.
func (q queries) Slow() []apiv1.SlowQuery {
	slowest := q.Engine.Slow()
	out := make([]apiv1.SlowQuery, len(slowest))
	for i, s := range slowest {
		out[i] = apiv1.SlowQuery{
			ID: s.ID, Query: s.Query, Start: seconds(s.Start), End: seconds(s.End), Step: s.Step.Seconds(),
			Began: seconds(s.Since), Took: s.Took.Seconds(), Evaluation: s.Evaluation, Series: s.Series, Error: s.Err,
		}
	}
	return out
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
