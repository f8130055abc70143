package antientropy

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/internal/model"
)

func TestDigestAddCarries(t *testing.T) {
	d := Digest{Sum: [2]uint64{1<<64 - 1, 1}, Count: 3}
	d.Add(Digest{Sum: [2]uint64{2, 1}, Count: 4})
	if want := (Digest{Sum: [2]uint64{1, 3}, Count: 7}); d != want {
		t.Errorf("sum %+v, want %+v", d, want)
	}
}

// TestCompareAgainstSets: whatever two sides hold, after each does what Compare
// says both hold the union.
func TestCompareAgainstSets(t *testing.T) {
	draw := func(t *rapid.T, name string) Series {
		s := Series{}
		for k, v := range rapid.MapOf(rapid.Byte(), rapid.Uint64Range(0, 2)).Draw(t, name) {
			s[model.SeriesID{k}] = Digest{Sum: [2]uint64{v, 0}, Count: v}
		}
		return s
	}
	rapid.Check(t, func(t *rapid.T) {
		mine, theirs := draw(t, "mine"), draw(t, "theirs")
		d := Compare(mine, theirs)
		back := Compare(theirs, mine)
		if !slices.Equal(d.Send, back.Fetch) || !slices.Equal(d.Fetch, back.Send) || !slices.Equal(d.Merge, back.Merge) {
			t.Fatalf("the sides do not agree: %+v and %+v", d, back)
		}
		for id := range union(mine, theirs) {
			m, o := mine[id], theirs[id]
			in := func(list []model.SeriesID) bool { return slices.Contains(list, id) }
			if in(d.Send) != (m.Count > 0 && o.Count == 0) || in(d.Fetch) != (m.Count == 0 && o.Count > 0) ||
				in(d.Merge) != (m.Count > 0 && o.Count > 0 && m != o) {
				t.Fatalf("series %v: %+v here, %+v there, %+v", id, m, o, d)
			}
		}
	})
}

func union(a, b Series) Series {
	out := Series{}
	for _, s := range []Series{a, b} {
		for id, d := range s {
			out[id] = d
		}
	}
	return out
}

// TestCutCoversAll: the ranges touch, cover everything, and are on a grid that
// stays: a range is not cut anew before it is old enough for a coarser one.
func TestCutCoversAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := rapid.Int64Range(0, 1<<42).Draw(t, "now")
		mint := rapid.Int64Range(0, 1<<42).Draw(t, "mint")
		maxt := rapid.Int64Range(0, 1<<42).Draw(t, "maxt")
		ranges := Cut(mint, maxt, now)
		if mint > maxt {
			if ranges != nil {
				t.Fatal("ranges of nothing")
			}
			return
		}
		if ranges[0].MaxT < maxt || ranges[len(ranges)-1].MinT > mint {
			t.Fatalf("%v does not cover %d to %d", ranges, mint, maxt)
		}
		for i := 1; i < len(ranges); i++ {
			if ranges[i].MaxT+1 != ranges[i-1].MinT || ranges[i].MinT > ranges[i].MaxT {
				t.Fatalf("%v and %v do not touch", ranges[i], ranges[i-1])
			}
		}
		if !slices.IsSortedFunc(ranges, newestFirst) {
			t.Fatal("not the newest first")
		}
	})
}

func TestCutIsBounded(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	if n := len(Cut(0, now, now)); n > 200 {
		t.Errorf("56 years are %d ranges", n)
	}
}

// TestSchedule: over a simulated month everything is compared as often as its
// period says, and not oftener.
func TestSchedule(t *testing.T) {
	now := time.UnixMilli(40 * day)
	s := NewSchedule(DefaultPeriods(), now)
	peers := []ring.NodeID{2, 3}
	ranges := Cut(0, now.UnixMilli(), now.UnixMilli())
	count := map[Task]int{}
	for end := now.Add(7 * 24 * time.Hour); now.Before(end); now = now.Add(time.Minute) {
		for range 50 {
			task, ok := s.Next(ranges, peers, now)
			if !ok {
				break
			}
			count[task]++
			s.Done(task, true, now)
		}
	}
	newest := Task{2, ranges[0]}
	if n := count[newest]; n < 24*7/4 || n > 24*7 {
		t.Errorf("the newest range was compared %d times in a week", n)
	}
	oldest := Task{3, ranges[len(ranges)-1]}
	if n := count[oldest]; n < 6 || n > 8 {
		t.Errorf("an old range was compared %d times in a week", n)
	}
	if o := s.Oldest(ranges, peers, now); o > 25*time.Hour {
		t.Errorf("the oldest unverified range is %s old", o)
	}
}

func TestScheduleRetriesAndForgets(t *testing.T) {
	now := time.UnixMilli(10 * day)
	s := NewSchedule(DefaultPeriods(), now)
	ranges, peers := []Range{{0, 99}}, []ring.NodeID{2}
	task, ok := s.Next(ranges, peers, now)
	if !ok {
		t.Fatal("what was never compared is not due")
	}
	s.Done(task, false, now)
	if _, ok := s.Next(ranges, peers, now.Add(time.Second)); ok {
		t.Error("tried again at once")
	}
	now = now.Add(2 * time.Minute)
	if _, ok := s.Next(ranges, peers, now); !ok {
		t.Error("not tried again")
	}
	s.Done(task, true, now)
	if _, ok := s.Next(ranges, peers, now.Add(time.Minute)); ok {
		t.Error("compared again before its time")
	}
	s.Forget(2)
	if o := s.Oldest(ranges, peers, now.Add(time.Hour)); o < time.Hour {
		t.Errorf("what was forgotten is %s old", o)
	}
	s.Done(task, true, now)
	s.Keep(nil, peers)
	if len(s.verified) > 0 {
		t.Error("ranges that are gone are remembered")
	}
}

func TestRest(t *testing.T) {
	if r := Rest(10*time.Millisecond, 0.01); r != 990*time.Millisecond {
		t.Errorf("10 ms of work at 1 %%: rest %s", r)
	}
}
