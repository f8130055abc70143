package plan_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/count-db/count/promql/partial"
	"github.com/count-db/count/promql/plan"
)

var rewrite = flag.Bool("rewrite", false, "write the expected plans anew")

// TestPlans splits the queries of testdata/*.plan and compares the plans. A file
// is made of blocks parted by blank lines: the query, a line of dashes, the plan.
// A first line "delayed" turns delayed name removal on.
func TestPlans(t *testing.T) {
	files, err := filepath.Glob("testdata/*.plan")
	if err != nil || len(files) == 0 {
		t.Fatal("no plans", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			text, opts := string(data), partial.Options{LookbackMs: 300_000}
			head := ""
			if rest, ok := strings.CutPrefix(text, "delayed\n\n"); ok {
				head, text, opts.DelayedNameRemoval = "delayed\n\n", rest, true
			}
			var out strings.Builder
			out.WriteString(head)
			for i, block := range strings.Split(strings.TrimSpace(text), "\n\n") {
				query, want, _ := strings.Cut(block, "\n----\n")
				got := strings.TrimSpace(split(t, query, opts))
				if i > 0 {
					out.WriteString("\n")
				}
				out.WriteString(query + "\n----\n" + got + "\n")
				if !*rewrite && got != strings.TrimSpace(want) {
					t.Errorf("%s\n got %s\nwant %s", query, got, want)
				}
			}
			if *rewrite {
				if err := os.WriteFile(name, []byte(out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func split(t *testing.T, query string, opts partial.Options) string {
	t.Helper()
	start, end, step := time.UnixMilli(1_000_000), time.UnixMilli(2_000_000), time.Minute
	e, err := parser.NewParser(parser.Options{EnableExperimentalFunctions: true}).ParseExpr(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	if e, err = promql.PreprocessExpr(e, start, end, step); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	g := partial.Grid{Start: start.UnixMilli(), End: end.UnixMilli(), Step: step.Milliseconds()}
	return plan.Split(e, g, opts).String()
}
