package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func runWith(t *testing.T, environ []string, stdin string, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(context.Background(), args, call{environ: environ, stdin: strings.NewReader(stdin), stdout: &stdout, stderr: &stderr})
	return code, stdout.String(), stderr.String()
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"help"}, {"-h"}} {
		code, out, _ := runWith(t, nil, "", args...)
		if code != 0 || !strings.Contains(out, "Commands:") {
			t.Errorf("%v: %d %s", args, code, out)
		}
		for _, v := range verbs() {
			if !strings.Contains(out, v.name) {
				t.Errorf("%v does not name %s", args, v.name)
			}
		}
	}
	for _, v := range verbs() {
		for _, args := range [][]string{{v.name, "--help"}, {"help", v.name}} {
			code, out, _ := runWith(t, nil, "", args...)
			if code != 0 || !strings.Contains(out, "Usage:") || !strings.HasPrefix(out, "count "+v.name+": ") {
				t.Errorf("%v: %d %s", args, code, out)
			}
		}
	}
	if code, out, _ := runWith(t, nil, "", "serve", "--help"); code != 0 || !strings.Contains(out, "--replication-factor") {
		t.Errorf("serve --help lists no settings: %d %s", code, out)
	}
}

func TestWrongCalls(t *testing.T) {
	for _, args := range [][]string{
		{"nonsense"},
		{"serve", "--nonsense"},
		{"--node-id", "x"},
		{"insert"},
		{"insert", "a", "x"},
		{"insert", "--nonsense"},
		{"query"},
		{"query", "a", "b"},
		{"query", "--start", "soon", "a"},
		{"check"},
		{"check", "nothing"},
		{"check", "config", "--node-id=0"},
		{"health", "x"},
		{"health", "--server", "http://"},
	} {
		if code, _, errs := runWith(t, nil, "", args...); code != exitUsage || errs == "" {
			t.Errorf("%v: exit code %d, %q", args, code, errs)
		}
	}
}

func TestCheckConfig(t *testing.T) {
	code, out, _ := runWith(t, []string{"NODE_ID=7"}, "", "check", "config", "--zone", "a")
	if code != 0 || !strings.Contains(out, "node_id: 7") || !strings.Contains(out, "zone: a") {
		t.Errorf("%d %s", code, out)
	}
}

// fakeNode answers like a node and remembers what it was sent.
func fakeNode(t *testing.T, answers map[string]string) (env []string, got *[]string) {
	t.Helper()
	got = &[]string{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*got = append(*got, r.Method+" "+r.URL.Path+" "+string(body))
		if r.URL.Path == "/insert" {
			w.WriteHeader(http.StatusCreated)
			return
		}
		if answers[r.URL.Path] == "" {
			http.Error(w, `{"error":"no"}`, http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, answers[r.URL.Path])
	}))
	t.Cleanup(s.Close)
	return []string{"COUNT_SERVER=" + s.URL}, got
}

func TestInsertCommand(t *testing.T) {
	env, got := fakeNode(t, nil)
	for _, c := range []struct {
		args        []string
		stdin, want string
	}{
		{[]string{"insert", "cpu", "1.5", "--timestamp", "17"}, "", `POST /insert {"series":"cpu","timestamp":17,"value":1.5}`},
		{[]string{"insert", "--timestamp=17", "cpu", "-Inf"}, "", `POST /insert {"series":"cpu","timestamp":17,"value":"-Inf"}`},
		{[]string{"insert", "cpu", "-1.5", "--timestamp=17"}, "", `POST /insert {"series":"cpu","timestamp":17,"value":-1.5}`},
		{[]string{"insert", "cpu", "nan", "--timestamp", "17"}, "", `POST /insert {"series":"cpu","timestamp":17,"value":"NaN"}`},
		{[]string{"insert", "-"}, "lines", `POST /insert lines`},
	} {
		*got = nil
		code, _, errs := runWith(t, env, c.stdin, c.args...)
		if code != 0 || len(*got) != 1 || (*got)[0] != c.want {
			t.Errorf("%v: %d %s %v", c.args, code, errs, *got)
		}
	}
}

func TestQueryCommand(t *testing.T) {
	env, got := fakeNode(t, map[string]string{
		"/api/v1/query":       `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a"},"value":[1.5,"1"]}]},"warnings":["w"]}`,
		"/api/v1/query_range": `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"2"],[2,"3"]]}]}}`,
	})
	code, out, errs := runWith(t, env, "", "query", "up")
	if code != 0 || out != "up{job=\"a\"}\t1\t1970-01-01T00:00:01.500Z\n" || !strings.Contains(errs, "note: w") {
		t.Errorf("%d %q %q", code, out, errs)
	}
	code, out, _ = runWith(t, env, "", "query", "sum(up)", "--start", "1h", "--step", "30s")
	if code != 0 || strings.Count(out, "\n") != 2 || !strings.Contains((*got)[1], "step=30") {
		t.Errorf("%d %q %v", code, out, *got)
	}
	if code, out, _ := runWith(t, env, "", "query", "--json", "up"); code != 0 || !strings.HasPrefix(out, `{"status"`) {
		t.Errorf("%d %q", code, out)
	}
}

func TestHealthCommand(t *testing.T) {
	env, _ := fakeNode(t, map[string]string{"/health": `{"status":"healthy"}`})
	if code, out, _ := runWith(t, env, "", "health"); code != 0 || !strings.Contains(out, "healthy") {
		t.Errorf("%d %q", code, out)
	}
	if code, _, errs := runWith(t, env, "", "health", "--ready"); code != exitFailed || !strings.Contains(errs, "503") {
		t.Errorf("%d %q", code, errs)
	}
}

func TestVersion(t *testing.T) {
	if code, out, _ := runWith(t, nil, "", "version"); code != 0 || !strings.HasPrefix(out, "count ") {
		t.Errorf("%d %q", code, out)
	}
	if code, out, _ := runWith(t, nil, "", "--version"); code != 0 || !strings.HasPrefix(out, "count ") {
		t.Errorf("--version: %d %q", code, out)
	}
}
