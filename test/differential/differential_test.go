package differential

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/promql"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/test/process"
)

func TestMain(m *testing.M) {
	code := m.Run()
	process.Cleanup()
	os.Exit(code)
}

// duration is how long an ordinary test runs.
const duration = 10 * time.Second

func TestNodeIsAMap(t *testing.T) {
	seed, length := uint64(time.Now().UnixNano()), duration
	if text := os.Getenv("COUNT_DIFFERENTIAL_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	if text := os.Getenv("COUNT_DIFFERENTIAL_TIME"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		length = d
	}
	t.Logf("COUNT_DIFFERENTIAL_SEED=%d", seed)
	r := newRun(t, rand.New(rand.NewPCG(seed, 0)))
	end := time.Now().Add(length)
	for time.Now().Before(end) && !t.Failed() {
		r.step()
		if !t.Failed() {
			r.look()
		}
	}
	r.finishFlush()
	r.countJobs()
	if code := r.node.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	r.checkDirectory(r.dir)
	t.Logf("steps: %v", r.counts)
	if t.Failed() {
		for _, line := range r.history[max(0, len(r.history)-40):] {
			t.Log(line)
		}
	}
}

// run is a node, the map, and what was done.
type run struct {
	*testing.T
	gen     *generator
	node    *process.Node
	dir     string
	truth   *truth
	engine  *promql.Engine
	flush   chan error // of a flush that runs beside; nil = none does
	history []string
	counts  map[string]int
}

func newRun(t *testing.T, rng *rand.Rand) *run {
	r := &run{T: t, gen: newGenerator(rng), dir: t.TempDir(), truth: newTruth(), engine: oracle(), counts: map[string]int{}}
	env := []string{
		"ADMIN_API=true", "FLUSH_INTERVAL=" + pick(rng, []string{"1s", "300s"}),
		"MEMORY_BUFFER_SIZE=" + pick(rng, []string{"50", "3000", "1MiB", "16MiB"}),
		"WAL_SYNC=" + pick(rng, []string{"always", "interval", "never"}),
	}
	if rng.IntN(3) == 0 {
		r.gen.keep = 72 * time.Hour
		env = append(env, "RETENTION=3d")
	}
	if rng.IntN(3) == 0 {
		// A cluster of one: every sample has its version.
		env = append(env, "CLUSTER_ENABLED=true")
	}
	t.Logf("%v", env)
	r.node = process.Start(t, filepath.Join(r.dir, "data"), env...)
	r.dir = filepath.Join(r.dir, "data")
	return r
}

func (r *run) note(format string, args ...any) {
	r.history = append(r.history, time.Now().Format("05.000 ")+fmt.Sprintf(format, args...))
}

// step does one thing.
func (r *run) step() {
	g := r.gen
	switch n := g.IntN(30); {
	case n < 15:
		r.must(r.write())
	case n < 18:
		r.must(r.remove())
	case n < 21:
		r.finishFlush()
		r.note("flush begins")
		r.flush = make(chan error, 1)
		node := r.node
		go func(done chan<- error) { done <- admin(node.Client, "flush", nil) }(r.flush)
	case n < 24:
		r.finishFlush()
		r.must(request{name: "flush", method: http.MethodPost, path: "/api/v1/admin/tsdb/flush", code: http.StatusNoContent})
	case n < 25:
		r.must(request{name: "clean", method: http.MethodPost, path: "/api/v1/admin/tsdb/clean_tombstones", code: http.StatusNoContent})
	case n < 26:
		r.refused()
	case n < 27:
		r.snapshot()
	case n < 28:
		r.finishFlush()
		r.countJobs()
		r.counts["stop"]++
		r.note("SIGTERM")
		if code := r.node.Stop(); code != 0 {
			r.Errorf("exit code %d", code)
		}
		r.restart()
	default:
		r.kill()
	}
}

// write draws a write of one of the protocols.
func (r *run) write() request {
	g := r.gen
	n := 1
	switch g.IntN(4) {
	case 0:
		n = 1 + g.IntN(300)
	case 1:
		n = 1 + g.IntN(10)
	}
	var changes []change
	any := func() sample {
		if g.IntN(4) == 0 {
			return g.histogram()
		}
		return sample{v: g.float()}
	}
	switch protocol := g.IntN(4); {
	case g.IntN(6) == 0:
		changes = g.dense()
		if len(changes) == 0 {
			changes = g.draw(1, any)
		}
		if protocol > 1 {
			return g.writeV2(changes)
		}
		return g.writeV1(changes)
	case protocol < 2:
		return g.insert(g.draw(n, func() sample { return sample{v: g.plain()} }))
	case protocol == 2:
		return g.writeV1(g.draw(n, any))
	}
	return g.writeV2(g.draw(n, any))
}

// remove draws a delete.
func (r *run) remove() request {
	g := r.gen
	ls := pick(g.Rand, g.labels)
	matcher := labels.MustNewMatcher(labels.MatchEqual, "__name__", ls.Get("__name__"))
	matchers := []*labels.Matcher{matcher}
	selector := `{` + matcher.String() + `}`
	if i := ls.Get("i"); i != "" && g.IntN(3) > 0 {
		m := labels.MustNewMatcher(labels.MatchEqual, "i", i)
		matchers = append(matchers, m)
		selector = `{` + matcher.String() + `,` + m.String() + `}`
	}
	form := url.Values{}
	mint, maxt := g.timestamp(), g.timestamp()
	mint, maxt = min(mint, maxt), max(mint, maxt)
	switch g.IntN(8) {
	case 0: // all of it, of whatever age
		mint, maxt = 0, future()
		if g.IntN(2) == 0 {
			matchers = []*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, "__name__", "d.+")}
			selector = `{__name__=~"d.+"}`
		}
	case 1:
		maxt = mint
		fallthrough
	default:
		form.Set("start", seconds(mint))
		form.Set("end", seconds(maxt))
	}
	form.Set("match[]", selector)
	req := request{
		name: "delete " + form.Encode(), method: http.MethodPost, path: "/api/v1/admin/tsdb/delete_series", code: http.StatusNoContent,
		header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, body: []byte(form.Encode()),
	}
	for _, s := range r.truth.series {
		if slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(s.labels.Get(m.Name)) }) {
			continue
		}
		for t := range s.at {
			if t >= mint && t <= maxt {
				req.changes = append(req.changes, change{s.labels, t, sample{gone: true}})
			}
		}
	}
	return req
}

// must sends a request that has to succeed.
func (r *run) must(req request) {
	r.counts[firstWord(req.name)]++
	r.note("%s of %d", req.name, len(req.changes))
	code, _, text, err := r.node.Do(req.method, req.path, req.header, req.body)
	if err == nil && code != req.code {
		err = fmt.Errorf("%d %s", code, text)
	}
	if err != nil {
		r.Errorf("%s: %v\n%.500q", req.name, err, req.body)
		return
	}
	r.truth.apply(req.changes)
	r.gen.remember(req.changes)
}

func firstWord(s string) string {
	for i, c := range s {
		if c == ' ' {
			return s[:i]
		}
	}
	return s
}

// refused sends writes with a sample that may not be stored: a batch of REST is
// refused whole, of remote write only that sample.
func (r *run) refused() {
	g := r.gen
	t := time.Now().Add(time.Hour).UnixMilli()
	if g.keep > 0 && g.IntN(2) == 0 {
		t = time.Now().Add(-g.keep - time.Minute).UnixMilli()
	}
	bad := change{pick(g.Rand, g.labels), t, sample{v: 1}}
	good := g.draw(1+g.IntN(10), func() sample { return sample{v: g.plain()} })
	all := slices.Insert(slices.Clone(good), g.IntN(len(good)+1), bad)
	req := g.insert(all)
	req.changes = nil
	if g.IntN(2) == 0 {
		req = g.writeV1(all)
		req.changes = good
	}
	req.name, req.code = "refused", http.StatusBadRequest
	r.must(req)
}

// kill kills the node, mostly in the middle of a request.
func (r *run) kill() {
	g := r.gen
	r.counts["kill"]++
	var req request
	switch g.IntN(5) {
	case 0, 1:
		req = r.write()
	case 2:
		req = r.remove()
	case 3:
		req = request{name: "flush", method: http.MethodPost, path: "/api/v1/admin/tsdb/flush", code: http.StatusNoContent}
	case 4:
		req = request{name: "clean", method: http.MethodPost, path: "/api/v1/admin/tsdb/clean_tombstones", code: http.StatusNoContent}
	}
	answered := make(chan bool, 1)
	client := r.node.Client
	go func() {
		code, _, _, err := client.Do(req.method, req.path, req.header, req.body)
		answered <- err == nil && code == req.code
	}()
	pause := time.Duration(g.Int64N(int64(30 * time.Millisecond)))
	ok := false
	select {
	case ok = <-answered:
		r.node.Kill()
	case <-time.After(pause):
		r.node.Kill()
		ok = <-answered
	}
	r.note("kill -9 in %s of %d, answered: %v", req.name, len(req.changes), ok)
	if ok {
		r.truth.apply(req.changes)
	} else {
		r.truth.suspect(req.changes)
	}
	if r.flush != nil {
		<-r.flush // it may have failed
		r.flush = nil
	}
	r.restart()
}

func (r *run) restart() {
	r.checkDirectory(r.dir)
	r.node.Restart()
	r.node.WaitReady()
}

// finishFlush waits for the flush that runs beside.
func (r *run) finishFlush() {
	if r.flush == nil {
		return
	}
	if err := <-r.flush; err != nil {
		r.Errorf("flush beside other requests: %v", err)
	}
	r.flush = nil
	r.note("flush ended")
}

func admin(c process.Client, verb string, form url.Values) error {
	code, text, err := c.PostForm("/api/v1/admin/tsdb/"+verb, form)
	if err == nil && code != http.StatusNoContent {
		err = fmt.Errorf("%s: %d %s", verb, code, text)
	}
	return err
}

// snapshot makes one, checks it and opens it as a data directory.
func (r *run) snapshot() {
	r.counts["snapshot"]++
	r.note("snapshot")
	code, text, err := r.node.PostForm("/api/v1/admin/tsdb/snapshot", nil)
	if err != nil || code != http.StatusOK {
		r.Errorf("snapshot: %d %s %v", code, text, err)
		return
	}
	names, err := filepath.Glob(filepath.Join(r.dir, "snapshots", "*"))
	if err != nil || len(names) != 1 {
		r.Errorf("snapshots %q %v", names, err)
		return
	}
	r.checkDirectory(names[0])
	db, err := engine.Open(vfs.OS(), names[0], engine.Options{})
	if err != nil {
		r.Error(err)
		return
	}
	if err := r.truth.compareDB(db); err != nil {
		r.Errorf("snapshot: %v", err)
	}
	if err := db.Close(); err != nil {
		r.Error(err)
	}
	if err := os.RemoveAll(names[0]); err != nil {
		r.Error(err)
	}
}

// compareDB counts the samples of an open directory.
func (w *truth) compareDB(db *engine.DB) error {
	sel, err := db.Select(context.Background(), 0, future(), labels.MustNewMatcher(labels.MatchRegexp, "__name__", "d.*"))
	if err != nil {
		return err
	}
	defer sel.Close()
	want := 0
	for _, s := range w.series {
		want += len(s.at)
	}
	got, err := countSamples(sel)
	if err == nil && got != want {
		err = fmt.Errorf("%d samples, want %d", got, want)
	}
	return err
}

// countJobs notes what the node has done to its files since it was started.
func (r *run) countJobs() {
	_, text, err := r.node.Get("/metrics")
	if err != nil {
		r.Error(err)
	}
	for line := range strings.Lines(text) {
		for _, job := range []string{"flushes", "merges", "sealed_windows", "day_files_built", "dropped_files"} {
			if value, ok := strings.CutPrefix(line, "count_engine_"+job+"_total "); ok {
				n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
				if err != nil {
					r.Error(err)
				}
				r.counts["job "+job] += int(n)
			}
		}
	}
}

// checkDirectory runs the fsck.
func (r *run) checkDirectory(dir string) {
	report, err := engine.Check(vfs.OS(), dir)
	if err != nil {
		r.Error(err)
	}
	for _, fault := range report.Faults {
		r.Errorf("fsck: %v", fault)
	}
}

// look compares in some ways, all of it by one of the forms of remote read.
func (r *run) look() {
	g := r.gen
	forms := []prompb.ReadRequest_ResponseType{prompb.ReadRequest_SAMPLES, prompb.ReadRequest_STREAMED_XOR_CHUNKS}
	r.expect(r.truth.compareAll(r.node.Client, pick(g.Rand, forms)))
	if len(r.truth.series) == 0 || r.Failed() {
		return
	}
	mint, maxt := g.timestamp(), g.timestamp()
	mint, maxt = min(mint, maxt), max(mint, maxt)
	key := pick(g.Rand, r.truth.keys())
	switch g.IntN(4) {
	case 0:
		r.expect(r.truth.compareRange(r.node.Client, key, mint, maxt, pick(g.Rand, forms)))
	case 1:
		r.expect(r.truth.compareREST(r.node.Client, key, mint, maxt, max(1, (maxt-mint)/(1+g.Int64N(50)))))
	case 2:
		end := time.Now().UnixMilli() - g.Int64N(g.oldest.Milliseconds())
		if g.IntN(2) == 0 {
			end = time.Now().UnixMilli()
		}
		start := end - g.Int64N(6*3600_000)
		step := time.Duration(1+g.IntN(1200)) * time.Second
		r.expect(r.truth.comparePromQL(r.node.Client, r.engine, pick(g.Rand, queries), start, end, step))
	case 3:
		r.expect(r.truth.compareFederate(r.node.Client))
	}
}

func (r *run) expect(err error) {
	if err != nil {
		r.Error(err)
	}
}
