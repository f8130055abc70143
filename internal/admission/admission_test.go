package admission

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

func TestStatusOf(t *testing.T) {
	for _, c := range []struct {
		name  string
		err   error
		code  int
		after time.Duration
	}{
		{"none", nil, 200, 0},
		{"overload", fmt.Errorf("write: %w", ErrOverloaded), 503, time.Second},
		{"no majority", fmt.Errorf("write: %w", &UnavailableError{Reason: "need 2, acked 1", RetryAfter: 5 * time.Second}), 503, 5 * time.Second},
		{"no time given", &UnavailableError{Reason: "starting"}, 503, time.Second},
		{"deadline", context.DeadlineExceeded, 503, time.Second},
		{"client gone", context.Canceled, 503, time.Second},
		{"rejection", fmt.Errorf("x: %w", &Rejection{Reason: TooOld, Detail: "old"}), 400, 0},
		{"too large", ErrTooLarge, 413, 0},
		{"storage", fmt.Errorf("append: %w", ErrStorage), 500, 0},
		{"unknown", errors.New("boom"), 500, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, after := StatusOf(c.err)
			if code != c.code || after != c.after {
				t.Fatalf("StatusOf(%v) = %d, %v; want %d, %v", c.err, code, after, c.code, c.after)
			}
		})
	}
}

func TestRetryAfterSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{time.Second: "1", 1500 * time.Millisecond: "2", 30 * time.Second: "30"} {
		if got := RetryAfterSeconds(d); got != want {
			t.Errorf("RetryAfterSeconds(%v) = %s, want %s", d, got, want)
		}
	}
}

func TestCheckLabels(t *testing.T) {
	limits := Limits{MaxLabels: 3, MaxNameBytes: 10, MaxValueBytes: 12}
	for _, c := range []struct {
		name string
		ls   labels.Labels
		want string // reason; empty: accepted
	}{
		{"plain", labels.FromStrings("__name__", "m"), ""},
		{"three", labels.FromStrings("__name__", "m", "a", "1", "b", "2"), ""},
		{"utf-8 name", labels.FromStrings("__name__", "m.ü", "é", "1"), ""},
		{"four", labels.FromStrings("__name__", "m", "a", "1", "b", "2", "c", "3"), "label_limit"},
		{"no name", labels.FromStrings("a", "1"), "missing_metric_name"},
		{"none", labels.EmptyLabels(), "missing_metric_name"},
		{"bad name", labels.FromStrings("__name__", "m\xff"), "invalid_labels"},
		{"bad label name", labels.FromStrings("__name__", "m", "a\xff", "1"), "invalid_labels"},
		{"bad value", labels.FromStrings("__name__", "m", "a", "\xff"), "invalid_labels"},
		{"empty label name", labels.FromStrings("__name__", "m", "", "1"), "invalid_labels"},
		{"twice", twice(), "invalid_labels"},
		{"long metric name", labels.FromStrings("__name__", "elevenbytes"), "label_limit"},
		{"long label name", labels.FromStrings("__name__", "m", "elevenbytes", "1"), "label_limit"},
		{"long value", labels.FromStrings("__name__", "m", "a", "thirteenbytes"), "label_limit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			if rej := limits.CheckLabels(c.ls); rej != nil {
				got = rej.Reason.String()
			}
			if got != c.want {
				t.Fatalf("CheckLabels(%s) = %q, want %q", c.ls, got, c.want)
			}
		})
	}
}

func twice() labels.Labels {
	b := labels.NewScratchBuilder(3)
	b.Add("__name__", "m")
	b.Add("a", "1")
	b.Add("a", "2")
	return b.Labels()
}

func TestReportIsBounded(t *testing.T) {
	var r Report
	long := strings.Repeat("é", 1<<20)
	for range 10000 {
		r.Add(TooOld, 2, func() string { return long })
	}
	r.AddRejection(&Rejection{Reason: MissingName, Detail: "no name\nat all"}, 1)
	text := r.String()
	if len(text) > 4096 || strings.ContainsRune(text, '\n') || strings.ContainsRune(text, '\uFFFD') {
		t.Fatalf("%d bytes: %.200q", len(text), text)
	}
	if want := "20001 refused (missing_metric_name: 1, too_old: 20000): éé"; !strings.HasPrefix(text, want) {
		t.Fatalf("got %.80q", text)
	}
	if !r.Refused() || r.Count(TooOld) != 20000 {
		t.Fatalf("counts: %d", r.Count(TooOld))
	}
	r.Reset()
	r.Add(InvalidExemplar, 1, func() string { return "exemplar" })
	if r.Refused() || r.Total() != 1 {
		t.Fatal("an exemplar alone refuses nothing")
	}
}

func TestLimitsValidate(t *testing.T) {
	if err := DefaultLimits().Validate(); err != nil {
		t.Fatal(err)
	}
	err := Limits{MaxLabels: 0, MaxNameBytes: -1, MaxValueBytes: 1 << 30}.Validate()
	for _, name := range []string{"MaxLabels", "MaxNameBytes", "MaxValueBytes"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Fatalf("%v does not name %s", err, name)
		}
	}
}

// gate is a Memory of a few bytes.
type gate struct{ limit, used int64 }

func (g *gate) Reserve(n int64) error {
	switch {
	case n > g.limit:
		return ErrTooLarge
	case g.used+n > g.limit:
		return ErrOverloaded
	}
	g.used += n
	return nil
}

func (g *gate) Release(n int64) { g.used -= n }

// TestClaimMore: a request that grows beyond what there is at all need not come
// again, one that has only met others may.
func TestClaimMore(t *testing.T) {
	for _, c := range []struct {
		others, held, more int64
		want               error
	}{
		{0, 50, 50, nil},
		{0, 50, 51, ErrTooLarge},
		{30, 50, 30, ErrOverloaded},
		{30, 50, 60, ErrTooLarge},
	} {
		g := &gate{limit: 100, used: c.others + c.held}
		claim := Claim{memory: g, held: c.held}
		err := claim.More(c.more)
		if !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c, err)
		}
		if used := c.others + c.held; err != nil && g.used != used {
			t.Errorf("%+v: %d bytes are claimed, not %d", c, g.used, used)
		}
		if claim.Release(); g.used != c.others {
			t.Errorf("%+v: %d bytes are claimed when it has ended", c, g.used)
		}
	}
}
