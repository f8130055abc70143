package antientropy

import (
	"cmp"
	"slices"
	"time"

	"github.com/count-db/count/cluster/ring"
)

// Range is a range of time in ms, inclusive.
type Range struct{ MinT, MaxT int64 }

const (
	hour  = int64(time.Hour / time.Millisecond)
	day   = 24 * hour
	month = 30 * day

	hourlyFor = 2 * day  // behind now: cut into windows of two hours
	dailyFor  = 60 * day // behind now: cut into days; older into months
	yearsBack = 24       // months; all that is older is one range
)

// Cut divides the time between the oldest and the newest sample into ranges on a
// grid that does not move: newest first, fine for new data and coarse for old.
func Cut(mint, maxt, now int64) []Range {
	if mint > maxt {
		return nil
	}
	var out []Range
	end := floor(maxt, 2*hour) + 2*hour
	for end > mint {
		size := 2 * hour
		switch age := now - end; {
		case age >= yearsBack*month:
			return append(out, Range{mint, end - 1})
		case age >= dailyFor && end%month == 0:
			size = month
		case age >= hourlyFor && end%day == 0:
			size = day
		}
		out = append(out, Range{end - size, end - 1})
		end -= size
	}
	return out
}

func floor(t, size int64) int64 {
	f := t / size * size
	if f > t {
		f -= size
	}
	return f
}

// Periods say how often a range is compared, by its age.
type Periods struct {
	New, Old, Rest time.Duration
}

// DefaultPeriods are an hour for what is younger than two days, a day for what is
// younger than two months and a week for the rest.
func DefaultPeriods() Periods {
	return Periods{New: time.Hour, Old: 24 * time.Hour, Rest: 7 * 24 * time.Hour}
}

// Of returns the period of a range at the time now (ms).
func (p Periods) Of(r Range, now int64) time.Duration {
	switch age := now - r.MaxT; {
	case age < hourlyFor:
		return p.New
	case age < dailyFor:
		return p.Old
	}
	return p.Rest
}

// Task is a comparison that is due.
type Task struct {
	Peer  ring.NodeID
	Range Range
}

// Schedule knows when each range was last found equal with each member. It is
// not safe for concurrent use.
type Schedule struct {
	periods  Periods
	began    time.Time
	verified map[Task]time.Time
	tried    map[Task]time.Time // since then it failed
}

// NewSchedule returns a schedule that has compared nothing.
func NewSchedule(p Periods, now time.Time) *Schedule {
	return &Schedule{periods: p, began: now, verified: map[Task]time.Time{}, tried: map[Task]time.Time{}}
}

// retryAfter is how long a comparison that failed waits.
const retryAfter = time.Minute

// Next returns the most overdue comparison among the ranges and members; false
// when none is due.
func (s *Schedule) Next(ranges []Range, peers []ring.NodeID, now time.Time) (Task, bool) {
	var best Task
	most := 0.0
	for _, r := range ranges {
		period := s.periods.Of(r, now.UnixMilli())
		for _, p := range peers {
			t := Task{p, r}
			if at, failed := s.tried[t]; failed && now.Sub(at) < retryAfter {
				continue
			}
			// Newer ranges come first while several have never been compared.
			overdue := now.Sub(s.last(t, period)).Seconds() / period.Seconds()
			if overdue >= 1 && overdue > most {
				best, most = t, overdue
			}
		}
	}
	return best, most > 0
}

// last is when a range was last found equal: for one that never was, a period
// before the start, so that it is due at once.
func (s *Schedule) last(t Task, period time.Duration) time.Time {
	if at, ok := s.verified[t]; ok {
		return at
	}
	return s.began.Add(-period)
}

// Done notes the outcome of a comparison: equal, by now or after healing, or
// failed, which is tried again after a minute.
func (s *Schedule) Done(t Task, ok bool, now time.Time) {
	if !ok {
		s.tried[t] = now
		return
	}
	delete(s.tried, t)
	s.verified[t] = now
}

// Forget makes everything of a member due again: it was away.
func (s *Schedule) Forget(peer ring.NodeID) {
	for t := range s.verified {
		if t.Peer == peer {
			delete(s.verified, t)
		}
	}
}

// Keep forgets what is no longer among the ranges and members.
func (s *Schedule) Keep(ranges []Range, peers []ring.NodeID) {
	for _, m := range []map[Task]time.Time{s.verified, s.tried} {
		for t := range m {
			if _, has := slices.BinarySearchFunc(ranges, t.Range, newestFirst); !has || !slices.Contains(peers, t.Peer) {
				delete(m, t)
			}
		}
	}
}

func newestFirst(a, b Range) int {
	return cmp.Or(cmp.Compare(b.MinT, a.MinT), cmp.Compare(b.MaxT, a.MaxT))
}

// Oldest returns how long ago the range was verified that waits longest: since
// the start for one that never was.
func (s *Schedule) Oldest(ranges []Range, peers []ring.NodeID, now time.Time) time.Duration {
	oldest := time.Duration(0)
	for _, r := range ranges {
		for _, p := range peers {
			at, ok := s.verified[Task{p, r}]
			if !ok {
				at = s.began
			}
			oldest = max(oldest, now.Sub(at))
		}
	}
	return oldest
}

// Rest returns how long to do nothing after work of the given length, so that it
// takes no more than a share (0 to 1) of one core.
func Rest(work time.Duration, share float64) time.Duration {
	if share <= 0 || share >= 1 {
		return 0
	}
	return time.Duration(float64(work) * (1/share - 1))
}
