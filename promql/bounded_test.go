package promql

import (
	"strings"
	"testing"
	"time"
)

// TestCostlyQueriesAreRefused: what would keep the parser busy for minutes, or
// take all memory, is refused at once, in whatever disguise.
func TestCostlyQueriesAreRefused(t *testing.T) {
	p := NewParser()
	const n = 100_000
	for name, q := range map[string]string{
		"parentheses":       strings.Repeat("(", n) + "1" + strings.Repeat(")", n),
		"open parentheses":  strings.Repeat("(", n),
		"calls":             strings.Repeat("abs(", n) + "x" + strings.Repeat(")", n),
		"behind a UTF-8 é":  "é + " + strings.Repeat("(", n),
		"behind quotes":     `"\"" == '` + "`" + `' + ` + "`\\` + " + strings.Repeat("(", n),
		"behind a comment":  "# \"\n" + strings.Repeat("(", n),
		"behind a selector": `{a="}",b='"'} + ` + strings.Repeat("(", n),
		"minus":             strings.Repeat("-", n) + "1",
		"sum":               "1" + strings.Repeat("+1", n),
		"or":                "x" + strings.Repeat(" Or x", n),
		"comparisons":       "x" + strings.Repeat(">x", n),
		"subqueries":        "x" + strings.Repeat("[1h:1m]", n),
		"durations":         "x[" + strings.Repeat("(", n) + "1" + strings.Repeat(")", n) + "]",
		"sum of durations":  "x[1" + strings.Repeat("+1", n) + "]",
		"long":              `"` + strings.Repeat("a", DefaultMaxQueryLength) + `"`,
	} {
		began := time.Now()
		if _, err := p.ParseExpr(q); err == nil || len(err.Error()) > 200 {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s took %v", name, took)
		}
		if _, err := p.ParseMetricSelector(q); err == nil {
			t.Errorf("%s as a selector: no error", name)
		}
	}
	if _, err := p.ParseMetricSelectors(make([]string, n)); err == nil {
		t.Error("100,000 selectors: no error")
	}
}

func TestUsualQueriesAreTaken(t *testing.T) {
	p := NewParser()
	for name, q := range map[string]string{
		"chain":          "x" + strings.Repeat(" + x", 1000),
		"nested":         strings.Repeat("abs(", 400) + "x" + strings.Repeat(")", 400),
		"many values":    `x{a=~"` + strings.Repeat("node-(1)-[+*/]|", 5000) + `"}`,
		"many matchers":  "x{" + strings.Repeat(`a!="=",`, 5000) + "}",
		"many groups":    "sum by (" + strings.Repeat("or_,", 5000) + "a) (x)",
		"quoted bracket": `x{a="` + strings.Repeat("(", 5000) + `"}`,
		"comment":        "x # " + strings.Repeat("(", 5000) + "\n + x",
	} {
		if _, err := p.ParseExpr(q); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzShape: what passes is cheap to parse, and nothing that is short is refused.
func FuzzShape(f *testing.F) {
	f.Add("sum(rate(x[5m])) by (a) + 1 or y", 1)
	f.Add("é('\\'`\"{a=\"", 300)
	f.Fuzz(func(t *testing.T, part string, n int) {
		if len(part) > 64 || n < 0 || n > 3000 {
			t.Skip()
		}
		q := strings.Repeat(part, n)
		began := time.Now()
		_, _ = NewParser().ParseExpr(q)
		if took := time.Since(began); took > 20*time.Second {
			t.Fatalf("%q times %d took %v", part, n, took)
		}
		if err := checkShape(part); err != nil {
			t.Fatalf("%q: %v", part, err)
		}
	})
}
