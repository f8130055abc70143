package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

func runBenchText(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(context.Background(), append([]string{"bench"}, args...), call{stdout: &out, stderr: &errs})
	return code, out.String(), errs.String()
}

func TestBenchData(t *testing.T) {
	code, out, errs := runBenchText("data", "--set", "A", "--scale", "0.05", "--hours", "0.5", "--end", "1700000000")
	if code != exitOK || !strings.Contains(out, "500 series x 30m0s") || !strings.Contains(out, "B a sample on the wire") {
		t.Fatalf("code %d: %s%s", code, out, errs)
	}
}

func TestBenchUsage(t *testing.T) {
	const target = "name=a,url=http://127.0.0.1:1"
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "say what"},
		{[]string{"nothing"}, `unknown "nothing"`},
		{[]string{"write"}, "--target is needed"},
		{[]string{"compare", "--target", target}, "--reference is needed"},
		{[]string{"write", "--target", "x"}, "not key=value"},
		{[]string{"data", "--set", "C"}, "there are A and B"},
		{[]string{"data", "--scale", "0"}, "not above 0"},
		{[]string{"data", "--hours", "0.001"}, "no data set"},
		{[]string{"data", "--jitter", "1m"}, "no data set"},
		{[]string{"write", "--target", target, "--protocol", "3"}, "1 or 2"},
		{[]string{"insert", "--target", target, "--clients", "0"}, "positive"},
		{[]string{"query", "--target", target, "--class", "x"}, "unknown class"},
		{[]string{"data", "more"}, "unexpected argument"},
	} {
		code, _, errs := runBenchText(c.args...)
		if code != exitUsage || !strings.Contains(errs, c.want) {
			t.Errorf("bench %v: code %d, %q; want %q", c.args, code, errs, c.want)
		}
	}
}

func TestBenchUnreachableTarget(t *testing.T) {
	code, _, errs := runBenchText("query", "--target", "name=a,url=http://127.0.0.1:1", "--scale", "0.05", "--class", "series")
	if code != exitFailed || !strings.Contains(errs, "ask a for series") {
		t.Fatalf("code %d: %s", code, errs)
	}
}
