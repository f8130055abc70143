package cluster

import (
	"context"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
)

// unversioned is a storage with one series, of which some samples have no
// version.
type unversioned struct{ Local }

func (unversioned) Select(context.Context, int64, int64, ...*labels.Matcher) (Selection, error) {
	return unversionedSelection{}, nil
}

type unversionedSelection struct{ Selection }

func (unversionedSelection) Read(_ int, _, _ int64, dst *model.Columns) error {
	dst.Reset()
	dst.T, dst.V, dst.Ver = []int64{1, 2, 3}, []float64{1, 2, 3}, []model.Version{0, 50}
	dst.Hist = []model.HistogramPoint{{T: 4}, {T: 5, Ver: 60}}
	return nil
}

// TestBaseline: what has no version gets the baseline, all else keeps its own.
func TestBaseline(t *testing.T) {
	sel, err := (&based{Local: unversioned{}, baseline: 40}).Select(context.Background(), 0, 9)
	if err != nil {
		t.Fatal(err)
	}
	var cols model.Columns
	if err := sel.Read(0, 0, 9, &cols); err != nil {
		t.Fatal(err)
	}
	if want := []model.Version{40, 50, 40}; !slices.Equal(cols.Ver, want) {
		t.Errorf("versions %v, want %v", cols.Ver, want)
	}
	if cols.Hist[0].Ver != 40 || cols.Hist[1].Ver != 60 {
		t.Errorf("histograms %+v", cols.Hist)
	}
}
