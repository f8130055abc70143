package promql

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/prometheus/promql"
)

const (
	// slowQueryMemory is how long a query that has ended counts among the slowest.
	slowQueryMemory = time.Hour
	// slowQueryText is how many bytes of a query's text are kept.
	slowQueryText = 4096
)

// SlowQuery is a query that has ended and took longer than most.
type SlowQuery struct {
	ActiveQuery
	Took       time.Duration
	Evaluation string // how it was evaluated: reduced, whole or fallback
	Series     int    // in the answer
	Err        string // empty: it was answered
}

// slowQueries are the slowest queries of the last hour, a bounded number of
// them: a query takes the place of one that is too long ago, or of the fastest.
type slowQueries struct {
	limit int // 0: none are kept

	mu   sync.Mutex
	kept []SlowQuery
}

func (s *slowQueries) add(q SlowQuery) {
	if s.limit == 0 {
		return
	}
	if len(q.Query) > slowQueryText {
		q.Query = strings.ToValidUTF8(q.Query[:slowQueryText], "") + "..."
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetLocked(q.Since.Add(q.Took))
	if len(s.kept) < s.limit {
		s.kept = append(s.kept, q)
		return
	}
	fastest := 0
	for i := range s.kept {
		if s.kept[i].Took < s.kept[fastest].Took {
			fastest = i
		}
	}
	if q.Took > s.kept[fastest].Took {
		s.kept[fastest] = q
	}
}

// list returns what is kept, the slowest first.
func (s *slowQueries) list(now time.Time) []SlowQuery {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetLocked(now)
	out := slices.Clone(s.kept)
	slices.SortFunc(out, func(a, b SlowQuery) int { return cmp.Or(cmp.Compare(b.Took, a.Took), cmp.Compare(a.ID, b.ID)) })
	return out
}

func (s *slowQueries) forgetLocked(now time.Time) {
	s.kept = slices.DeleteFunc(s.kept, func(q SlowQuery) bool { return now.Sub(q.Since.Add(q.Took)) > slowQueryMemory })
}

// seriesOf is the number of series in an answer.
func seriesOf(res *promql.Result) int {
	switch v := res.Value.(type) {
	case promql.Vector:
		return len(v)
	case promql.Matrix:
		return len(v)
	}
	return 0
}
