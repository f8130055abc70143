package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/count-db/count/test/process"
)

// metric returns the value of a metric without labels.
func metric(n *process.Node, name string) (float64, error) {
	_, text, err := n.Get("/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			return strconv.ParseFloat(v, 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}

func wantMetric(t *testing.T, n *process.Node, name string, least float64) {
	t.Helper()
	n.Eventually(20*time.Second, fmt.Sprintf("%s is at least %v", name, least), func() error {
		v, err := metric(n, name)
		if err == nil && v < least {
			err = fmt.Errorf("it is %v", v)
		}
		return err
	})
}

// TestTimeLimits: RETENTION and MAX_FUTURE bound what is taken.
func TestTimeLimits(t *testing.T) {
	n := process.Start(t, t.TempDir(), "RETENTION=1d", "MAX_FUTURE=1m")
	now := time.Now()
	for _, c := range []struct {
		at   time.Time
		code int
	}{
		{now, 201},
		{now.Add(-23 * time.Hour), 201},
		{now.Add(-25 * time.Hour), 400},
		{now.Add(30 * time.Second), 201},
		{now.Add(2 * time.Minute), 400},
	} {
		code, text, err := n.Post("/insert", fmt.Sprintf(`{"series":"t","timestamp":%d,"value":1}`, c.at.UnixMilli()))
		if err != nil || code != c.code {
			t.Errorf("%v from now: %d %s %v, want %d", c.at.Sub(now), code, text, err, c.code)
		}
	}
}

// TestFlushBySizeAndTime: the buffer goes to a file when it holds so many
// samples, and when its time has come.
func TestFlushBySizeAndTime(t *testing.T) {
	at := minuteAgo()
	bySize := process.Start(t, t.TempDir(), "MEMORY_BUFFER_SIZE=50", "FLUSH_INTERVAL=1h")
	byTime := process.Start(t, t.TempDir(), "FLUSH_INTERVAL_SECONDS=1")
	for i := range int64(60) {
		if err := bySize.Insert("s", at+i, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := byTime.Insert("s", at, 1); err != nil {
		t.Fatal(err)
	}
	wantMetric(t, bySize, "count_engine_flushes_total", 1)
	wantMetric(t, byTime, "count_engine_flushes_total", 1)
	wantMetric(t, byTime, "count_engine_file_samples", 1)
	if got, err := bySize.Range("s", at, at+100); err != nil || len(got) != 60 {
		t.Errorf("%d samples %v", len(got), err)
	}
}

// TestSeriesLimit: new series are refused for good, known ones are taken.
func TestSeriesLimit(t *testing.T) {
	n := process.Start(t, t.TempDir(), "MAX_SERIES=2")
	at := minuteAgo()
	for i, want := range []int{201, 201, 400} {
		code, text, err := n.Post("/insert", fmt.Sprintf(`{"series":"s%d","timestamp":%d,"value":1}`, i, at))
		if err != nil || code != want {
			t.Errorf("series %d: %d %s %v, want %d", i, code, text, err, want)
		}
	}
	if err := n.Insert("s0", at+1, 2); err != nil {
		t.Errorf("a known series: %v", err)
	}
}
