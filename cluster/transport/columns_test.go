package transport

import (
	"reflect"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	count "github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

func sampleColumns() *count.Columns {
	return &count.Columns{
		T: []int64{1000, 2000, 3000, 9000}, V: []float64{1, 2, 3, 4}, ST: []int64{0, 900, 900, 9000},
		Ver:  []count.Version{1 << 60, 1<<60 + 1, 1 << 59, 1 << 60},
		Hist: []count.HistogramPoint{{T: 5000, ST: 1, Ver: 7, H: &histogram.Histogram{Sum: 5, Count: 1}}},
	}
}

func TestColumnsInParts(t *testing.T) {
	want := sampleColumns()
	var got count.Columns
	for _, part := range [][]byte{AppendColumns(nil, want, 0, 3, false), AppendColumns(nil, want, 3, 4, true)} {
		d := wire.NewDecoder(part)
		if DecodeColumns(&d, &got); d.Err() != nil || d.Len() != 0 {
			t.Fatal(d.Err(), d.Len())
		}
	}
	if !reflect.DeepEqual(&got, want) {
		t.Fatalf("got %+v\nwant %+v", got, want)
	}
}

func TestColumnsProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &count.Columns{}
		for range rapid.IntRange(0, 20).Draw(t, "n") {
			c.T = append(c.T, rapid.Int64Range(0, 1<<50).Draw(t, "t"))
			c.V = append(c.V, float64(rapid.Int().Draw(t, "v")))
			c.Ver = append(c.Ver, count.Version(rapid.Uint64().Draw(t, "ver")))
		}
		var got count.Columns
		d := wire.NewDecoder(AppendColumns(nil, c, 0, len(c.T), true))
		DecodeColumns(&d, &got)
		if d.Err() != nil || len(got.T) != len(c.T) {
			t.Fatal(d.Err())
		}
		for i := range c.T {
			if got.T[i] != c.T[i] || got.V[i] != c.V[i] || got.Ver[i] != c.Ver[i] {
				t.Fatalf("sample %d", i)
			}
		}
	})
}

func TestTombstones(t *testing.T) {
	want := []count.Tombstone{{Version: 9, MinT: -5, MaxT: 7, Matchers: []*labels.Matcher{
		labels.MustNewMatcher(labels.MatchRegexp, "a", "b.*"), labels.MustNewMatcher(labels.MatchNotEqual, "c", ""),
	}}}
	d := wire.NewDecoder(AppendTombstones(nil, want))
	got := DecodeTombstones(&d)
	if d.Err() != nil || len(got) != 1 || got[0].Version != 9 || got[0].MinT != -5 || got[0].Matchers[0].String() != `a=~"b.*"` {
		t.Fatalf("%+v, %v", got, d.Err())
	}
}

func FuzzDecodeColumns(f *testing.F) {
	c := sampleColumns()
	f.Add(AppendColumns(nil, c, 0, len(c.T), true))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := wire.NewDecoder(data)
		var c count.Columns
		if DecodeColumns(&d, &c); d.Err() == nil && len(c.T) != len(c.V) {
			t.Fatal("columns of different lengths")
		}
		m := wire.NewDecoder(data)
		DecodeTombstones(&m)
	})
}
