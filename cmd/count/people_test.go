package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const someRange = `{"status":"success","data":{"resultType":"matrix","result":[
{"metric":{"__name__":"m","a":"1"},"values":[[1,"0"],[2,"5"],[3,"NaN"],[4,"10"]]},
{"metric":{"__name__":"m","a":"2"},"values":[[2,"2.5"]],"histograms":[[4,{"count":"1"}]]}]}}`

const someVector = `{"status":"success","data":{"resultType":"vector","result":[
{"metric":{"__name__":"m","a":"1"},"value":[1,"4"]},{"metric":{"__name__":"m","a":"2"},"value":[1,"+Inf"]},{"metric":{},"value":[1,"2"]}]}}`

func TestQueryOutputs(t *testing.T) {
	env, _ := fakeNode(t, map[string]string{"/api/v1/query": someVector, "/api/v1/query_range": someRange})
	for _, c := range []struct {
		args []string
		want []string // in this order
	}{
		{[]string{"--output", "table", "q"}, []string{"SERIES", "VALUE", "TIME", "\nm{a=\"1\"}  4 ", "\n{}"}},
		{[]string{"--output", "csv", "q"}, []string{"series,timestamp,value\n\"m{a=\"\"1\"\"}\",1000,4\n", "+Inf\n"}},
		{[]string{"--output", "graph", "q"}, []string{"m{a=\"1\"} ████", " 4\nm{a=\"2\"}  +Inf\n", "{} "}},
		{[]string{"--output=lines", "q"}, []string{"m{a=\"1\"}\t4\t1970-01-01T00:00:01.000Z\n"}},
		{[]string{"--start", "1h", "--output", "table", "q"}, []string{"TIME", "m{a=\"1\"}", "m{a=\"2\"}", "\n1970-01-01T00:00:02.000Z  5", "2.5", "\n1970-01-01T00:00:04.000Z  10", `{"count":"1"}`}},
		{[]string{"--start", "1h", "--output", "graph", "q"}, []string{"10 ┤", "0 ┤", "└───", "00:00:01", "00:00:04 UTC", "━━ m{a=\"1\"}  10", "━━ m{a=\"2\"}"}},
	} {
		code, out, errs := runWith(t, env, "", append([]string{"query"}, c.args...)...)
		if code != 0 {
			t.Errorf("%v: %d %s", c.args, code, errs)
		}
		rest := out
		for _, w := range c.want {
			i := strings.Index(rest, w)
			if i < 0 {
				t.Errorf("%v has no %q behind the others:\n%s", c.args, w, out)
				break
			}
			rest = rest[i+len(w):]
		}
	}
	if code, _, errs := runWith(t, env, "", "query", "--output", "picture", "q"); code != exitUsage || !strings.Contains(errs, "graph") {
		t.Errorf("%d %s", code, errs)
	}
	empty, _ := fakeNode(t, map[string]string{"/api/v1/query": `{"data":{"resultType":"vector","result":[]}}`})
	for _, form := range []string{"table", "graph"} {
		if code, out, _ := runWith(t, empty, "", "query", "--output", form, "q"); code != 0 || out != "no data\n" {
			t.Errorf("%s: %d %q", form, code, out)
		}
	}
}

func TestGraphOfOddValues(t *testing.T) {
	p := &presenter{out: &bytes.Buffer{}, width: 10, height: 3}
	for _, all := range [][]queried{
		{{key: "a", points: []queriedPoint{{t: 1, v: 1}, {t: 1, v: 1}}}},
		{{key: "a", points: []queriedPoint{{t: 1, v: 1e308}, {t: 2, v: -1e308}}}},
		{{key: strings.Repeat("ü", 100), points: []queriedPoint{{t: 1, v: 0}}}},
	} {
		if err := p.graph(all); err != nil {
			t.Error(err)
		}
	}
}

func TestBarLine(t *testing.T) {
	for _, c := range []struct {
		part float64
		took time.Duration
		want string
	}{
		{-1, time.Second, "text"},
		{0.5, time.Minute, "[############............]  50 %  text  1m0s left"},
		{1, time.Minute, "[########################] 100 %  text"},
	} {
		if got := barLine(c.part, "text", c.took, 80); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if got := barLine(0.5, "text", 0, 10); got != "[#########" {
		t.Errorf("%q", got)
	}
}

func TestCompletions(t *testing.T) {
	env, _ := fakeNode(t, map[string]string{"/api/v1/label/__name__/values": `{"data":["met_a","met_b"]}`})
	for _, c := range []struct {
		words []string
		want  string // one of them
	}{
		{[]string{"ins"}, "insert"},
		{[]string{"cluster", "le"}, "leave"},
		{[]string{"query", "--out"}, "--output"},
		{[]string{"query", "--output", "gr"}, "graph"},
		{[]string{"import", "--form", ""}, "blocks"},
		{[]string{"query", "met"}, "met_b"},
		{[]string{"serve", "--data"}, "--data-dir"},
		{[]string{"help", "ex"}, "export"},
		{[]string{"completion", ""}, "fish"},
	} {
		_, out, _ := runWith(t, env, "", append([]string{"completion", "words"}, c.words...)...)
		if !slices.Contains(strings.Split(out, "\n"), c.want) {
			t.Errorf("%q has no %s: %q", c.words, c.want, out)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if code, out, _ := runWith(t, nil, "", "completion", shell); code != 0 || !strings.Contains(out, "completion words") {
			t.Errorf("%s: %d %s", shell, code, out)
		}
	}
}

// TestHelpTeaches: a long help has examples, and fits a screen.
func TestHelpTeaches(t *testing.T) {
	for _, v := range verbs() {
		if v.name == "version" || v.name == "serve" {
			continue
		}
		if !strings.Contains(v.usage, "Examples:") && len(v.usage) > 600 {
			t.Errorf("the help of %s has no examples", v.name)
		}
		for line := range strings.Lines(v.usage) {
			if len([]rune(line)) > 121 {
				t.Errorf("a line of the help of %s is %d characters wide: %s", v.name, len([]rune(line)), line)
			}
		}
	}
}

func TestImportState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s, err := openResumeState(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.note("a", 5); err != nil {
		t.Fatal(err)
	}
	if err := s.note("a", 7); err != nil { // too soon to be written
		t.Fatal(err)
	}
	if err := s.save(); err != nil {
		t.Fatal(err)
	}
	if s, err = openResumeState(path); err != nil || s.offset("a") != 7 || s.offset("b") != 0 {
		t.Errorf("%+v %v", s, err)
	}
	if err := os.WriteFile(path, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openResumeState(path); err == nil {
		t.Error("nonsense is taken for a state")
	}
}

func TestWrongTransfers(t *testing.T) {
	for _, args := range [][]string{
		{"import"},
		{"import", "-"},
		{"import", "--form", "blocks", "-"},
		{"import", "--form", "x", "y"},
		{"import", "--senders", "0", "y"},
		{"import", "--patience", "x", "y"},
		{"export", "a", "b"},
		{"export", "a{"},
		{"export", "--form", "blocks"},
		{"export", "--start", "1h", "--end", "2h"},
		{"completion"},
		{"completion", "tcsh"},
	} {
		if code, _, errs := runWith(t, nil, "", args...); code != exitUsage || errs == "" {
			t.Errorf("%v: exit code %d, %q", args, code, errs)
		}
	}
	if code, _, errs := runWith(t, nil, "", "import", filepath.Join(t.TempDir(), "none.csv")); code != exitFailed || !strings.Contains(errs, "none.csv") {
		t.Errorf("%d %q", code, errs)
	}
}
