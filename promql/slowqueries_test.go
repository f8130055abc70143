package promql

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func slow(s *slowQueries, id uint64, ended time.Time, took time.Duration) {
	s.add(SlowQuery{ActiveQuery: ActiveQuery{ID: id, Query: "q", Since: ended.Add(-took)}, Took: took})
}

func ids(all []SlowQuery) string {
	var out []uint64
	for _, q := range all {
		out = append(out, q.ID)
	}
	return fmt.Sprint(out)
}

func TestTheSlowestOfAnHourAreKept(t *testing.T) {
	s := &slowQueries{limit: 3}
	now := time.UnixMilli(1_700_000_000_000)
	for i, took := range []time.Duration{5, 1, 3, 2, 4, 1} {
		slow(s, uint64(i), now.Add(time.Duration(i)*time.Minute), took*time.Second)
	}
	if got := ids(s.list(now.Add(10 * time.Minute))); got != "[0 4 2]" {
		t.Errorf("kept %s, want the three slowest, slowest first", got)
	}
	// An hour after its end a query makes room, however slow it was.
	slow(s, 9, now.Add(61*time.Minute), time.Millisecond)
	if got := ids(s.list(now.Add(61 * time.Minute))); got != "[4 2 9]" {
		t.Errorf("kept %s after an hour", got)
	}
	if got := ids(s.list(now.Add(3 * time.Hour))); got != "[]" {
		t.Errorf("kept %s after three hours", got)
	}
}

func TestALongQueryIsCut(t *testing.T) {
	s := &slowQueries{limit: 1}
	s.add(SlowQuery{ActiveQuery: ActiveQuery{Query: "x" + strings.Repeat("ä", slowQueryText)}})
	if got := s.kept[0].Query; len(got) > slowQueryText+3 || !utf8.ValidString(got) {
		t.Errorf("%d bytes, valid %v", len(got), utf8.ValidString(got))
	}
}

func TestNoneAreKept(t *testing.T) {
	s := &slowQueries{}
	slow(s, 1, time.UnixMilli(0), time.Second)
	if len(s.kept) != 0 {
		t.Error("kept with a limit of 0")
	}
}
