package registry

import (
	"fmt"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
)

func TestChurn(t *testing.T) {
	r := New(Options{})
	series := func(name string, i int) model.Ref {
		ref, _, err := r.Intern(labels.FromStrings(labels.MetricName, name, "i", fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		return ref
	}
	if got := r.Churn(10, 10); len(got) != 0 {
		t.Errorf("an empty registry: %+v", got)
	}
	// Window 10 has 300 pods; 20 of them and 700 new ones, of two metrics, are in
	// window 12; window 11 has no samples at all.
	for i := range 300 {
		r.MarkPresent(series("pods", i), 10)
	}
	for i := 280; i < 900; i++ {
		r.MarkPresent(series("pods", i), 12)
	}
	for i := range 100 {
		r.MarkPresent(series("jobs", i), 12)
	}
	r.MarkPresent(series("jobs", 0), 13)
	got := r.Churn(10, 1)
	want := `[{13 1 0 []} {12 720 700 [{pods 600}]}]`
	if fmt.Sprint(got) != want {
		t.Errorf("churn %v\nwant  %s", got, want)
	}
	if got := r.Churn(1, 1); len(got) != 1 || got[0].Window != 13 {
		t.Errorf("one window: %v", got)
	}
}
