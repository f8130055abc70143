package crash

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/test/process"
)

func TestMain(m *testing.M) {
	code := m.Run()
	process.Cleanup()
	os.Exit(code)
}

const (
	writers = 3
	each    = 4 // series of a writer
	rounds  = 4 // kills
)

// TestKillLoop is described in doc.go.
func TestKillLoop(t *testing.T) {
	for _, policy := range []string{"always", "interval", "never"} {
		t.Run(policy, func(t *testing.T) {
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			dir := t.TempDir()
			n := process.Start(t, dir, "ADMIN_API=true", "WAL_SYNC="+policy, "MEMORY_BUFFER_SIZE=300", "FLUSH_INTERVAL=1s")
			book := newLedger()
			for round := range rounds {
				killUnderLoad(t, n, book, rand.New(rand.NewPCG(seed, uint64(round))))
				checkDirectory(t, dir)
				n.Restart()
				n.WaitReady()
				checkAll(t, n, book)
				if t.Failed() {
					return
				}
			}
			if code := n.Stop(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			checkDirectory(t, dir)
		})
	}
}

// killUnderLoad lets clients work until a number of requests was acknowledged,
// and kills the node in the midst of it.
func killUnderLoad(t *testing.T, n *process.Node, book *ledger, rng *rand.Rand) {
	t.Helper()
	stop := make(chan struct{}) // closed just before the kill
	var wg sync.WaitGroup
	defer wg.Wait()
	for w := range writers {
		c := &client{Client: n.Client, book: book, rng: rand.New(rand.NewPCG(rng.Uint64(), 0)), writer: w}
		wg.Go(func() { c.work(t, stop) })
	}
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			// Flush, merge and seal all the time; it fails when the node dies.
			if _, _, err := n.PostForm("/api/v1/admin/tsdb/flush", nil); err != nil {
				return
			}
		}
	})
	want := book.acknowledged() + 50 + rng.IntN(250)
	n.Eventually(60*time.Second, "enough requests were acknowledged", func() error {
		if got := book.acknowledged(); got < want {
			return fmt.Errorf("%d of %d", got, want)
		}
		return nil
	})
	close(stop)
	n.Kill()
}

// client writes series that nobody else writes, one request at a time.
type client struct {
	process.Client
	book   *ledger
	rng    *rand.Rand
	writer int
}

func seriesName(writer, i int) string { return fmt.Sprintf("crash_%d_%d", writer, i) }

// work goes on until the node is killed, with a request in flight.
func (c *client) work(t *testing.T, stop <-chan struct{}) {
	for {
		var err error
		if c.rng.IntN(12) == 0 {
			err = c.delete()
		} else {
			err = c.write()
		}
		if err == nil {
			continue
		}
		select {
		case <-stop:
		default:
			t.Errorf("while the node lives: %v", err)
		}
		return
	}
}

// write inserts a batch: new samples of now, of windows long closed, and values
// over older ones.
func (c *client) write() error {
	now := time.Now().UnixMilli()
	seen := map[string]bool{}
	var points []point
	var body bytes.Buffer
	for range 1 + c.rng.IntN(20) {
		series := seriesName(c.writer, c.rng.IntN(each))
		t := now - c.rng.Int64N(1000)
		switch ts := c.book.timestamps(series); {
		case c.rng.IntN(4) == 0:
			t -= c.rng.Int64N(72 * time.Hour.Milliseconds())
		case c.rng.IntN(4) == 0 && len(ts) > 0:
			t = ts[c.rng.IntN(len(ts))]
		}
		key := series + "@" + strconv.FormatInt(t, 10)
		if seen[key] {
			continue
		}
		seen[key] = true
		p := point{series, t, event{value: float64(c.rng.IntN(1e9)) / 8}}
		points = append(points, p)
		line, err := json.Marshal(map[string]any{"series": p.series, "timestamp": p.t, "value": p.event.value})
		if err != nil {
			return err
		}
		body.Write(append(line, '\n'))
	}
	done := c.book.begin(points)
	code, _, text, err := c.Do(http.MethodPost, "/insert", http.Header{"Content-Type": {"application/x-ndjson"}}, body.Bytes())
	if err == nil && code != http.StatusCreated {
		err = fmt.Errorf("insert: %d %s", code, text)
	}
	if err == nil {
		done()
	}
	return err
}

// delete removes a range of one series.
func (c *client) delete() error {
	series := seriesName(c.writer, c.rng.IntN(each))
	ts := c.book.timestamps(series)
	if len(ts) == 0 {
		return nil
	}
	i := c.rng.IntN(len(ts))
	j := min(i+c.rng.IntN(5), len(ts)-1)
	var points []point
	for _, t := range ts[i : j+1] {
		points = append(points, point{series, t, event{deleted: true}})
	}
	done := c.book.begin(points)
	seconds := func(ms int64) string { return strconv.FormatFloat(float64(ms)/1000, 'f', 3, 64) }
	code, text, err := c.PostForm("/api/v1/admin/tsdb/delete_series", url.Values{
		"match[]": {series}, "start": {seconds(ts[i])}, "end": {seconds(ts[j])},
	})
	if err == nil && code != http.StatusNoContent {
		err = fmt.Errorf("delete: %d %s", code, text)
	}
	if err == nil {
		done()
	}
	return err
}

// checkAll compares all series with the ledger, and looks at what the node says
// of itself.
func checkAll(t *testing.T, n *process.Node, book *ledger) {
	t.Helper()
	for w := range writers {
		for i := range each {
			series := seriesName(w, i)
			points, err := n.Range(series, 0, time.Now().Add(time.Minute).UnixMilli())
			if err != nil {
				t.Fatal(err)
			}
			got := map[int64]float64{}
			for j, p := range points {
				if j > 0 && p.Timestamp <= points[j-1].Timestamp {
					t.Errorf("%s: %d behind %d", series, p.Timestamp, points[j-1].Timestamp)
				}
				got[p.Timestamp] = p.Value
			}
			if err := book.check(series, got); err != nil {
				t.Error(err)
			}
		}
	}
	code, text, err := n.Get("/health")
	if err != nil || code != http.StatusOK || !strings.Contains(text, `"healthy"`) {
		t.Errorf("/health after a restart: %d %s %v", code, text, err)
	}
	if strings.Contains(n.Log(), "gap") {
		t.Error("a killed process leaves no gap in the log, but the node reports one")
	}
}

// checkDirectory runs the fsck on what a dead process left.
func checkDirectory(t *testing.T, dir string) {
	t.Helper()
	report, err := engine.Check(vfs.OS(), dir)
	if err != nil {
		t.Error(err)
	}
	for _, fault := range report.Faults {
		t.Errorf("fsck: %v", fault)
	}
}
