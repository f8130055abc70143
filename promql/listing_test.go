package promql_test

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"github.com/count-db/count/internal/wire"
	"github.com/count-db/count/promql"
	"github.com/count-db/count/promql/memstore"
)

func goldenListing() promql.Listing {
	return promql.Listing{
		MinT: 1_700_000_000_000, MaxT: 1_700_003_600_000, Limit: 101,
		Matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "__name__", "x"), labels.MustNewMatcher(labels.MatchNotRegexp, "a", "b|c")},
	}
}

func sameListing(a, b promql.Listing) bool {
	return a.MinT == b.MinT && a.MaxT == b.MaxT && a.Limit == b.Limit && slices.EqualFunc(a.Matchers, b.Matchers, func(x, y *labels.Matcher) bool { return x.String() == y.String() })
}

func TestListingGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/listing.hex")
	if err != nil {
		t.Fatal(err)
	}
	l := goldenListing()
	if got := hex.EncodeToString(l.Append(nil)); got != strings.TrimSpace(string(text)) {
		t.Errorf("the form has changed: %s", got)
	}
	data, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := promql.DecodeListing(data); err != nil || !sameListing(got, l) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := promql.DecodeFragment(data); !errors.Is(err, promql.ErrFragmentForm) {
		t.Errorf("read as a fragment: %v", err)
	}
	data[len(data)-1]++
	if _, err := promql.DecodeListing(data); !errors.Is(err, wire.ErrCorrupt) {
		t.Errorf("a flipped bit: %v", err)
	}
}

// TestListingAnswers: what a node answers are the series that have samples in the
// range, in their order.
func TestListingAnswers(t *testing.T) {
	e := newEngine(t, promql.Options{})
	rapid.Check(t, func(t *rapid.T) {
		m := memstore.New()
		var want []labels.Labels
		l := promql.Listing{MinT: rapid.Int64Range(0, 50).Draw(t, "mint"), Matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, "__name__", "x|y")}}
		l.MaxT = l.MinT + rapid.Int64Range(0, 20).Draw(t, "range")
		for _, name := range []string{"x", "y", "z"} {
			for _, i := range rapid.SliceOfNDistinct(rapid.StringN(1, 5, -1), 0, 5, rapid.ID[string]).Draw(t, "values") {
				ls, at := labels.FromStrings("__name__", name, "i", i), rapid.Int64Range(0, 100).Draw(t, "at")
				m.Append(ls, 0, at, 1)
				if at >= l.MinT && at <= l.MaxT && name != "z" {
					want = append(want, ls)
				}
			}
		}
		slices.SortFunc(want, labels.Compare)
		if l.Limit = rapid.IntRange(0, 5).Draw(t, "limit"); l.Limit > 0 && len(want) > l.Limit {
			want = want[:l.Limit]
		}
		answer, err := e.AnswerFragment(context.Background(), m, l.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		got, err := promql.DecodeListed(answer)
		if err != nil || !slices.EqualFunc(got, want, labels.Equal) {
			t.Fatalf("%+v: %v, want %v: %v", l, got, want, err)
		}
		if len(answer) > 2 {
			if _, err := promql.DecodeListed(answer[:len(answer)-1]); !errors.Is(err, promql.ErrAnswer) {
				t.Fatalf("cut: %v", err)
			}
		}
	})
}

func FuzzDecodeListing(f *testing.F) {
	l := goldenListing()
	f.Add(l.Append(nil)[wire.FrameOverhead:])
	f.Fuzz(func(t *testing.T, payload []byte) {
		got, err := promql.DecodeListing(wire.AppendFrame(nil, payload, 0))
		if err != nil {
			return
		}
		if again, err := promql.DecodeListing(got.Append(nil)); err != nil || !sameListing(got, again) {
			t.Errorf("%+v came back as %+v, %v", got, again, err)
		}
	})
}

func FuzzDecodeListed(f *testing.F) {
	f.Add([]byte{2, 1, 1, 1, 'a', 1, 'b'})
	f.Fuzz(func(_ *testing.T, answer []byte) {
		_, _ = promql.DecodeListed(answer) // it must not panic
	})
}
