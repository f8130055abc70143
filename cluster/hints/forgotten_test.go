package hints

import (
	"errors"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// TestForgottenSeries: of a series that was forgotten nothing is noted, and what an
// earlier build noted of one, without its labels, does not hold up what comes behind.
func TestForgottenSeries(t *testing.T) {
	fs, asked := vfs.NewMem(), map[model.Ref]int{}
	s, err := Open(fs, "hints", Options{Labels: func(ref model.Ref) labels.Labels {
		asked[ref]++
		if ref == 3 || ref == 2 && asked[ref] > 1 { // it is forgotten while it is noted
			return labels.EmptyLabels()
		}
		return labelsOf(ref)
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		b    *model.Batch
		want error
	}{{batch(1, 1), nil}, {batch(2, 1, 3), ErrForgotten}, {batch(3, 1, 2), nil}, {batch(4, 1), nil}} {
		if err := s.Add(7, c.b, nil); !errors.Is(err, c.want) {
			t.Errorf("version %d: %v, want %v", c.b.Version, err, c.want)
		}
	}
	var to taker
	if _, err := s.Handover(7, &to); err != nil {
		t.Fatal(err)
	}
	if want := []string{"m1@10=1 v1", "m1@10=4 v4"}; !slices.Equal(to.got, want) {
		t.Errorf("handed over %q, want %q", to.got, want)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
