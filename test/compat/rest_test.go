package compat

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/promql"
	"github.com/count-db/count/promql/rest"
)

// TestRESTOverAnyRange: the widest ranges that a request can name are answered
// from buffer and files alike.
func TestRESTOverAnyRange(t *testing.T) {
	db, err := engine.Open(vfs.NewMem(), "data", engine.Options{NoBackground: true, Sync: engine.SyncNever})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	ref, err := db.Intern(labels.FromStrings("__name__", "x"))
	if err != nil {
		t.Fatal(err)
	}
	b := &model.Batch{}
	times := []int64{0, 1, 1_000, 86_400_000, 1_700_000_000_000, 1_700_000_000_001}
	for i, ts := range times {
		b.Floats = append(b.Floats, model.FloatSample{Ref: ref, T: ts, V: float64(i)})
	}
	if _, err := db.Append(t.Context(), b, engine.AppendOptions{Fresh: true}); err != nil {
		t.Fatal(err)
	}
	h := rest.New(&dbStore{db}, promql.NewParser(), rest.Options{})
	for _, flush := range []bool{false, true} {
		if flush {
			if err := db.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			start, end int64
			want       string
		}{
			{0, 1_700_000_000_001, "6"},
			{math.MinInt64, math.MaxInt64, "6"},
			{1, 1_700_000_000_000, "4"},
			{2, 999, "0"},
			{1_700_000_000_001, math.MaxInt64, "1"},
		} {
			w := httptest.NewRecorder()
			h.GetAggregated(w, httptest.NewRequest(http.MethodGet, fmt.Sprintf("/query/aggregated/x?start=%d&end=%d&aggregation=count", c.start, c.end), nil))
			body, err := io.ReadAll(w.Body)
			if err != nil {
				t.Fatal(err)
			}
			if w.Code != http.StatusOK || string(body) != c.want {
				t.Errorf("flushed %v, %d to %d: status %d, %s, want %s", flush, c.start, c.end, w.Code, body, c.want)
			}
		}
	}
}
