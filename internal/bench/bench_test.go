package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
)

// fakeServer counts what it is sent and answers every question alike.
type fakeServer struct {
	samples, flushes, refusals atomic.Int64
	refuse                     int64 // the first requests, with 503
	code                       int   // of writes; 0 = 204
	value                      string
}

func (f *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/flush":
		f.flushes.Add(1)
		w.WriteHeader(http.StatusNoContent)
	case r.URL.Path == "/api/v1/write":
		f.write(w, r)
	case r.URL.Path == "/insert":
		f.insert(w)
	case r.URL.Path == "/api/v1/label/instance/values":
		fmt.Fprint(w, `{"status":"success","data":["a","b"]}`)
	case r.URL.Path == "/api/v1/series":
		fmt.Fprint(w, `{"status":"success","data":[{"b":"2","a":"1"}]}`)
	case r.FormValue("nocache") != "1":
		http.Error(w, "nocache is missing", http.StatusBadRequest)
	case r.URL.Path == "/api/v1/query":
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"1"},"value":[1,%q]}]}}`, f.value)
	default:
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"1"},"values":[[1,"1"],[2,%q]]}]}}`, f.value)
	}
}

func (f *fakeServer) write(w http.ResponseWriter, r *http.Request) {
	if f.code != 0 {
		http.Error(w, "no", f.code)
		return
	}
	if f.refusals.Add(1) <= f.refuse {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	body, err := io.ReadAll(r.Body)
	var req prompb.WriteRequest
	if err == nil {
		body, err = snappy.Decode(nil, body)
	}
	if err = errors.Join(err, req.Unmarshal(body)); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.samples.Add(int64(len(req.Timeseries)))
	w.WriteHeader(http.StatusNoContent)
}

func (f *fakeServer) insert(w http.ResponseWriter) {
	switch {
	case f.code != 0:
		w.WriteHeader(f.code)
	case f.refusals.Add(1) <= f.refuse:
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		f.samples.Add(1)
		w.WriteHeader(http.StatusCreated)
	}
}

func fakeTarget(t *testing.T, f *fakeServer) Target {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return Target{Name: "fake", Writes: []string{s.URL}, Queries: []string{s.URL}, PIDs: []int{os.Getpid()}, Params: url.Values{"nocache": {"1"}}}
}

func needsProc(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("CPU time and memory are read from /proc")
	}
}

func TestWriteSendsEverythingAndFlushesAsLive(t *testing.T) {
	needsProc(t)
	f := &fakeServer{refuse: 2}
	target := fakeTarget(t, f)
	target.Flush, target.FlushRounds = "/flush", 10
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "wal"), 0o700), os.WriteFile(filepath.Join(dir, "wal", "1"), make([]byte, 500), 0o600)); err != nil {
		t.Fatal(err)
	}
	target.Data = []string{dir}
	set := testSet(3, 10*time.Minute)
	const took = 200 * time.Millisecond
	r, err := Write(context.Background(), target, Encode(set, V1, 2), WriteOptions{MaxAhead: 2, Rate: float64(set.Samples()) / took.Seconds()})
	if err != nil || r.Wall < took/2 {
		t.Fatalf("at a rate for %v: %v, %v", took, r.Wall, err)
	}
	if int(f.samples.Load()) != set.Samples() || r.Samples != set.Samples() {
		t.Errorf("%d samples arrived of %d", f.samples.Load(), set.Samples())
	}
	if f.flushes.Load() != 4 || r.Flushes != 4 { // behind rounds 10, 20, 30 of 40, and at the end
		t.Errorf("%d flushes, %d told", f.flushes.Load(), r.Flushes)
	}
	if r.Retries != 2 || r.Disk != (Disk{1500, 1000}) || r.Peak.RSS == 0 || r.P99 < r.P50 || r.P50 == 0 {
		t.Errorf("%+v", r)
	}
	var out bytes.Buffer
	if err := PrintWrites(&out, set, []WriteResult{r}); err != nil || !strings.Contains(out.String(), "fake") {
		t.Errorf("%v\n%s", err, &out)
	}
}

func TestWriteStopsAtAPermanentError(t *testing.T) {
	needsProc(t)
	f := &fakeServer{code: http.StatusBadRequest}
	_, err := Write(context.Background(), fakeTarget(t, f), Encode(testSet(4, 10*time.Minute), V1, 4), WriteOptions{MaxAhead: 1})
	if !errors.Is(err, errRefused) {
		t.Fatalf("error %v", err)
	}
}

func TestInsert(t *testing.T) {
	needsProc(t)
	f := &fakeServer{refuse: 1}
	opts := InsertOptions{Clients: 2, Duration: 300 * time.Millisecond}
	r, err := Insert(context.Background(), fakeTarget(t, f), opts)
	if err != nil || r.Requests == 0 || int64(r.Requests) != f.samples.Load() || r.NotAvailable != 1 || r.Longest < r.P99 {
		t.Fatalf("%+v, %v", r, err)
	}
	before := f.samples.Load()
	opts.Rate = 50
	if r, err := Insert(context.Background(), fakeTarget(t, f), opts); err != nil || r.Requests > 16 || int64(r.Requests) != f.samples.Load()-before {
		t.Fatalf("50 a second for %v: %+v, %v", opts.Duration, r, err)
	}
	opts.Rate = 0
	var out bytes.Buffer
	if err := PrintInserts(&out, []InsertResult{r}); err != nil || !strings.Contains(out.String(), "fake: ") {
		t.Errorf("%v: %s", err, &out)
	}
	if _, err := Insert(context.Background(), fakeTarget(t, &fakeServer{code: 400}), opts); !errors.Is(err, errRefused) {
		t.Fatalf("error %v", err)
	}
}

func TestQueryAsksEveryClass(t *testing.T) {
	needsProc(t)
	target := fakeTarget(t, &fakeServer{value: "2"})
	results, err := Query(context.Background(), target, testSet(3, time.Hour), QueryOptions{MaxQueries: 3, MaxTime: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != len(Classes()) || len(results) != 15 {
		t.Fatalf("%d classes", len(results))
	}
	for _, r := range results {
		if r.Asked != 3 {
			t.Errorf("%s: %d asked", r.Class, r.Asked)
		}
	}
	var out bytes.Buffer
	if err := PrintQueries(&out, []QueriesOf{{"a", results}, {"b", results}}); err != nil || strings.Count(out.String(), "\n") != 16 {
		t.Errorf("%v\n%s", err, &out)
	}
}

func TestQuestionsFollowFromTheSeed(t *testing.T) {
	set := testSet(30, 6*time.Hour)
	a, b := Questions(set, "", 5), Questions(set, "", 5)
	if len(a) != 75 {
		t.Fatalf("%d questions", len(a))
	}
	for i := range a {
		if a[i].Form.Encode() != b[i].Form.Encode() {
			t.Fatalf("question %d differs: %v, %v", i, a[i], b[i])
		}
		for _, bound := range []string{"start", "end", "time"} {
			text := a[i].Form.Get(bound)
			if text != "" && (text < unix(set.Start().Add(-Step)) || text > unix(set.End)) {
				t.Errorf("%s: %s %s is outside of the data", a[i].Class, bound, text)
			}
		}
	}
}

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		got, want string
		different bool
	}{
		{"1.5", "1.5", false},
		{"1.50", "1.5", false},
		{"1.5000000000001", "1.5", false},
		{"1.50001", "1.5", true},
		{"NaN", "NaN", false},
		{"NaN", "1", true},
		{"+Inf", "1", true},
		{"0", "-0", false},
		{"0", "1e-300", true},
	} {
		set := testSet(2, time.Hour)
		results, err := Compare(context.Background(), fakeTarget(t, &fakeServer{value: c.got}), fakeTarget(t, &fakeServer{value: c.want}), set, 2, "join-1h")
		if err != nil {
			t.Fatal(err)
		}
		if r := results[0]; r.Asked != 2 || (r.Different == 2) != c.different || r.Points != 4 || (r.Example != "") != c.different {
			t.Errorf("%s and %s: %+v", c.got, c.want, r)
		}
	}
}

func TestDiffer(t *testing.T) {
	base := func() answer {
		return answer{"a": {points: []answerPoint{{1, "1"}, {2, "2"}}}, "b": {points: []answerPoint{{1, "3"}}}}
	}
	if _, fault := differ(base(), base()); fault != "" {
		t.Errorf("equal ones differ: %s", fault)
	}
	for name, change := range map[string]func(answer){
		"missing":    func(a answer) { delete(a, "a") },
		"too many":   func(a answer) { a["c"] = answerSeries{} },
		"not 2":      func(a answer) { a["a"] = answerSeries{points: a["a"].points[:1]} },
		"at 5":       func(a answer) { a["a"].points[1].t = 5 },
		"at 2: 9":    func(a answer) { a["a"].points[1].text = "9" },
		"point 0 is": func(a answer) { a["b"].points[0].t = 0 },
	} {
		changed := base()
		change(changed)
		if _, fault := differ(changed, base()); !strings.Contains(fault, name) {
			t.Errorf("%s: %q", name, fault)
		}
	}
}

func TestCountSamples(t *testing.T) {
	n, err := CountSamples(context.Background(), fakeTarget(t, &fakeServer{value: "7"}), testSet(1, time.Hour))
	if err != nil || n != 7*len(MetricNames()) {
		t.Fatalf("%d, %v", n, err)
	}
}

func TestParseTarget(t *testing.T) {
	got, err := ParseTarget("name=count,url=http://a:1/,write-url=http://b:2/x,pid=12,pid=13,data=/d,flush=/f,flush-rounds=20,param=nocache=1")
	want := Target{
		Name: "count", Writes: []string{"http://a:1", "http://b:2/x"}, Queries: []string{"http://a:1"}, PIDs: []int{12, 13},
		Data: []string{"/d"}, Flush: "/f", FlushRounds: 20, Params: url.Values{"nocache": {"1"}},
	}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"", "name=a", "url=http://a", "name=a,url=x", "name=a,url=http://a,pid=x", "name=a,url=http://a,what=1", "name=a,url=http://a,flush-rounds=-1", "name=a,url=http://a,param=x"} {
		if _, err := ParseTarget(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func TestTicksOf(t *testing.T) {
	got, err := ticksOf([]byte("12 (a) b) S 1 2 3 4 5 6 7 8 9 10 100 23 0 0 20 0"))
	if err != nil || got != 123 {
		t.Errorf("%d, %v", got, err)
	}
	for _, text := range []string{"", "12 (x", "12 (x) S 1", "12 (x) S 1 2 3 4 5 6 7 8 9 10 a b"} {
		if _, err := ticksOf([]byte(text)); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}
