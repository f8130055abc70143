package e2e

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/count-db/count/internal/interchange"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/test/process"
)

// count runs the binary as a command and returns its standard output.
func count(t *testing.T, n *process.Node, stdin []byte, args ...string) string {
	t.Helper()
	cmd := exec.Command(process.Binary(t), args...)
	cmd.Env = append(os.Environ(), "COUNT_SERVER="+n.URL)
	cmd.Stdin = bytes.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("count %v: %v\n%s", args, err, errs.String())
	}
	return out.String()
}

// everyKind are series with everything that a sample can be.
func everyKind(base int64) []interchange.Series {
	bits := []uint64{
		math.Float64bits(1), math.Float64bits(0.1), 1 << 63, 0, math.Float64bits(math.Inf(1)), math.Float64bits(math.Inf(-1)),
		value.NormalNaN, value.StaleNaN, 0x7ff8000000001234, math.Float64bits(math.MaxFloat64), 1,
	}
	floats := interchange.Series{Labels: labels.FromStrings(labels.MetricName, "kinds", "text", "a\"b\\c\nd,é")}
	for i, b := range bits {
		floats.Floats = append(floats.Floats, interchange.Float{T: base + int64(i)*1000, V: math.Float64frombits(b)})
	}
	hists := interchange.Series{Labels: labels.FromStrings(labels.MetricName, "native.histogram", "my label", "x")}
	for i := range int64(5) {
		hists.Hists = append(hists.Hists, model.HistogramPoint{T: base + i*1000, H: tsdbutil.GenerateTestHistogram(i)})
	}
	float := interchange.Series{Labels: labels.FromStrings(labels.MetricName, "native_float")}
	for i := range int64(5) {
		float.Hists = append(float.Hists, model.HistogramPoint{T: base + i*1000, FH: tsdbutil.GenerateTestGaugeFloatHistogram(i)})
	}
	custom := interchange.Series{Labels: labels.FromStrings(labels.MetricName, "native_custom"), Hists: []model.HistogramPoint{{T: base, H: tsdbutil.GenerateTestCustomBucketsHistogram(3)}}}
	return []interchange.Series{floats, hists, custom, float}
}

// TestExportAndImport: what is written, exported in an exact form and imported
// into another node is the same there, bit for bit, however it travels.
func TestExportAndImport(t *testing.T) {
	dir := t.TempDir()
	base := (minuteAgo()/7200_000 - 2) * 7200_000
	var text bytes.Buffer
	w, err := interchange.NewWriter(interchange.JSONLines, &text)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range everyKind(base) {
		if err := w.Write(&s); err != nil {
			t.Fatal(err)
		}
	}
	first, second, third := process.Start(t, t.TempDir()), process.Start(t, t.TempDir()), process.Start(t, t.TempDir())
	count(t, first, text.Bytes(), "import", "--form", "jsonl", "-")
	exported := count(t, first, nil, "export")
	for _, want := range []string{"StaleNaN", "NaN(0x7ff8000000001234)", "-0,", `"+Inf"`, `"custom_values"`, `"reset_hint":"gauge"`} {
		if !strings.Contains(exported, want) {
			t.Errorf("the export has no %s:\n%s", want, exported)
		}
	}
	file := filepath.Join(dir, "all.jsonl")
	if err := os.WriteFile(file, []byte(exported), 0o600); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(dir, "state")
	for range 2 { // the second time there is nothing left to do
		count(t, second, nil, "import", "--resume", state, file)
	}
	if again := count(t, second, nil, "export"); again != exported {
		t.Errorf("JSON lines changed it: %s\nbefore: %s", again, exported)
	}
	blocks := filepath.Join(dir, "blocks")
	count(t, first, nil, "export", "--form", "blocks", "--start", fmt.Sprint(base/1000), "-o", blocks)
	count(t, third, nil, "import", blocks)
	count(t, third, nil, "import", blocks) // again changes nothing
	if again := count(t, third, nil, "export"); again != exported {
		t.Errorf("blocks changed it: %s\nbefore: %s", again, exported)
	}
}

// TestLossyForms: CSV and OpenMetrics carry what they can express.
func TestLossyForms(t *testing.T) {
	base := minuteAgo()
	first := process.Start(t, t.TempDir())
	for i := range int64(10) {
		if err := first.Insert(`lossy{a="b c"}`, base+i, float64(i)/3); err != nil {
			t.Fatal(err)
		}
	}
	exported := count(t, first, nil, "export", "--form", "csv", "lossy")
	for _, form := range []string{"csv", "openmetrics"} {
		other := process.Start(t, t.TempDir())
		count(t, other, []byte(count(t, first, nil, "export", "--form", form, "lossy")), "import", "--form", form, "-")
		if again := count(t, other, nil, "export", "--form", "csv"); again != exported {
			t.Errorf("%s changed it:\n%s\nbefore:\n%s", form, again, exported)
		}
	}
}

// TestImportOfPromtoolsBlocks needs promtool (PROMTOOL_BIN).
func TestImportOfPromtoolsBlocks(t *testing.T) {
	promtool := os.Getenv("PROMTOOL_BIN")
	if promtool == "" {
		t.Skip("PROMTOOL_BIN is not set")
	}
	dir := t.TempDir()
	first := process.Start(t, t.TempDir())
	var text strings.Builder
	text.WriteString("# TYPE x counter\n")
	for i := range 200 {
		fmt.Fprintf(&text, "x_total{i=\"%d\"} %d %d.5\n", i%3, i, 1_700_000_000+i*60)
	}
	text.WriteString("# EOF\n")
	source := filepath.Join(dir, "x.om")
	if err := os.WriteFile(source, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	blocks := filepath.Join(dir, "blocks")
	if out, err := exec.Command(promtool, "tsdb", "create-blocks-from", "openmetrics", source, blocks).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	count(t, first, nil, "import", blocks)
	second := process.Start(t, t.TempDir())
	count(t, second, nil, "import", source)
	a, b := count(t, first, nil, "export"), count(t, second, nil, "export")
	if a != b || strings.Count(a, "\n") != 3 {
		t.Errorf("by blocks:\n%s\nby text:\n%s", a, b)
	}
}
