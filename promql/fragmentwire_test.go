package promql_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	prompromql "github.com/prometheus/prometheus/promql"
	"pgregory.net/rapid"

	"github.com/count-db/count/internal/wire"
	"github.com/count-db/count/promql"
	"github.com/count-db/count/promql/memstore"
	"github.com/count-db/count/promql/partial"
)

func goldenFragment() promql.Fragment {
	return promql.Fragment{
		Query: `sum by (job) (rate(x{a="b"}[5m]))`, Node: 3, Start: 1_700_000_000_000, End: 1_700_003_600_000, Step: 15_000,
		Options:    partial.Options{LookbackMs: 300_000, UseStartTimestamps: true, SubqueryStepMs: 60_000},
		MaxSamples: 50_000_000,
	}
}

func TestFragmentGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/fragment.hex")
	if err != nil {
		t.Fatal(err)
	}
	f := goldenFragment()
	if got := hex.EncodeToString(f.Append(nil)); got != strings.TrimSpace(string(text)) {
		t.Errorf("the form has changed: %s", got)
	}
	data, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := promql.DecodeFragment(data); err != nil || got != f {
		t.Errorf("%+v, %v", got, err)
	}
	data[len(data)-1]++
	if _, err := promql.DecodeFragment(data); !errors.Is(err, wire.ErrCorrupt) {
		t.Errorf("a flipped bit: %v", err)
	}
}

func TestFragmentRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := rapid.Int64()
		f := promql.Fragment{
			Query: rapid.String().Draw(t, "query"), Node: rapid.IntRange(0, math.MaxInt32).Draw(t, "node"),
			Start: ms.Draw(t, "start"), End: ms.Draw(t, "end"), Step: ms.Draw(t, "step"), MaxSamples: ms.Draw(t, "samples"), NoCache: rapid.Bool().Draw(t, "nocache"),
			Options: partial.Options{
				LookbackMs: ms.Draw(t, "lookback"), SubqueryStepMs: ms.Draw(t, "subquery"),
				UseStartTimestamps: rapid.Bool().Draw(t, "st"), DelayedNameRemoval: rapid.Bool().Draw(t, "names"), Plain: rapid.Bool().Draw(t, "plain"),
			},
		}
		if got, err := promql.DecodeFragment(f.Append(nil)); err != nil || got != f {
			t.Fatalf("%+v came back as %+v, %v", f, got, err)
		}
	})
}

// TestFragmentAnswers: what ends a query on the node that is asked ends it on the
// asking one as it would there; other errors are no answers.
func TestFragmentAnswers(t *testing.T) {
	m := memstore.New()
	for i := range 10 {
		m.Append(labels.FromStrings("__name__", "x", "i", string(rune('a'+i))), 0, 1000, float64(i))
	}
	m.AppendHistogram(labels.FromStrings("__name__", "h"), 0, 1000, &histogram.Histogram{Schema: 0, Count: 1, Sum: 1, ZeroCount: 1}, nil)
	e := newEngine(t, promql.Options{})
	ask := func(ctx context.Context, f promql.Fragment) (*partial.Result, error) {
		t.Helper()
		f.LookbackMs, f.Step = 300_000, 1
		part, err := e.Part(f)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := e.AnswerFragment(ctx, m, f.Append(nil))
		if err != nil {
			return nil, err
		}
		return promql.DecodeAnswer(part, answer)
	}
	at := func(query string, limit int64) promql.Fragment {
		return promql.Fragment{Query: query, Start: 2000, End: 2000, MaxSamples: limit}
	}
	if r, err := ask(t.Context(), at("sum(x)", 0)); err != nil || r.Series != 10 {
		t.Errorf("result: %+v, %v", r, err)
	}
	var tooMany prompromql.ErrTooManySamples
	if _, err := ask(t.Context(), at("sum(x)", 5)); !errors.As(err, &tooMany) {
		t.Errorf("over its limit: %v", err)
	}
	if _, err := ask(t.Context(), at("limitk(1, h)", 0)); !errors.Is(err, partial.ErrFallback) {
		t.Errorf("not reducible: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ask(ended, at("sum(x)", 0)); !errors.Is(err, context.Canceled) {
		t.Errorf("the asking node has gone: %v", err)
	}
	part, err := e.Part(at("sum(x)", 0))
	if err != nil {
		t.Fatal(err)
	}
	for _, answer := range [][]byte{nil, {1}, {2, 0}, {1, 9}, {1, 0}, {1, 0, 1, 2, 3}} {
		if _, err := promql.DecodeAnswer(part, answer); !errors.Is(err, promql.ErrAnswer) {
			t.Errorf("answer %x: %v", answer, err)
		}
	}
}

func FuzzDecodeFragment(f *testing.F) {
	golden := goldenFragment()
	f.Add(golden.Append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := promql.DecodeFragment(data)
		if err != nil {
			return
		}
		if again := got.Append(nil); !bytes.Equal(again, data) {
			if back, err := promql.DecodeFragment(again); err != nil || back != got {
				t.Fatalf("%+v, %v", back, err)
			}
		}
	})
}
