package cluster

import (
	"bufio"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/count-db/count/test/process"
)

// TestPartsOfQueries: with more nodes than copies the parts of a query are computed
// by owners of the series, and its answers stay complete and right while an owner
// is stopped, killed and back.
func TestPartsOfQueries(t *testing.T) {
	const series, samples = 60, 5
	c := start(t, 5, "REPLICATION_FACTOR=3")
	at := time.Now().Add(-time.Minute).Truncate(time.Second)
	var body strings.Builder
	want := 0.0
	for i := range series {
		for k := range samples {
			v := float64(i*samples + k)
			fmt.Fprintf(&body, `{"series":"part","labels":{"i":"%d"},"timestamp":%d,"value":%g}`+"\n", i, at.Add(time.Duration(k)*time.Second).UnixMilli(), v)
			if k == samples-1 {
				want += v
			}
		}
	}
	if code, _, text, err := c.node(2).Do(http.MethodPost, "/insert", http.Header{"Content-Type": {"application/x-ndjson"}}, []byte(body.String())); err != nil || code != http.StatusCreated {
		t.Fatalf("insert: %d %s %v", code, text, err)
	}
	now := at.Add(samples * time.Second)
	ask := func(n *process.Node) error {
		for query, value := range map[string]float64{"sum(part)": want, "count(part)": series, "max(max_over_time(part[1m]))": series*samples - 1} {
			got, err := n.Query(query, now)
			if err != nil {
				return fmt.Errorf("%s: %w", query, err)
			}
			if got["{}"] != value && got[""] != value {
				return fmt.Errorf("%s: %v, want %g", query, got, value)
			}
		}
		return nil
	}
	for _, n := range c.all {
		if err := ask(n); err != nil {
			t.Fatalf("through %s: %v", n.Address, err)
		}
	}
	if remote := counted(t, c.node(1), "remote"); remote == 0 {
		t.Error("node 1 asked no other node to compute")
	}
	// A silent node and one that dies, while queries run through the others.
	stop := make(chan struct{})
	var asking sync.WaitGroup
	var mu sync.Mutex
	asked, slowest := 0, time.Duration(0)
	for _, n := range c.all[:3] {
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				began := time.Now()
				if err := ask(n); err != nil {
					t.Errorf("through %s: %v", n.Address, err)
					return
				}
				mu.Lock()
				asked++
				slowest = max(slowest, time.Since(began))
				mu.Unlock()
			}
		})
	}
	more := func(n int) {
		mu.Lock()
		goal := asked + n
		mu.Unlock()
		c.node(1).Eventually(time.Minute, "queries are answered", func() error {
			mu.Lock()
			defer mu.Unlock()
			if asked < goal && !t.Failed() {
				return fmt.Errorf("%d of %d", asked, goal)
			}
			return nil
		})
	}
	more(50)
	c.node(5).Pause()
	more(50)
	c.node(5).Resume()
	c.node(4).Kill()
	more(50)
	c.node(4).Restart()
	more(50)
	close(stop)
	asking.Wait()
	c.whole()
	for _, n := range c.all {
		if err := ask(n); err != nil {
			t.Errorf("through %s: %v", n.Address, err)
		}
	}
	t.Logf("%d rounds of queries, the slowest took %s; parts of node 1: %g own, %g remote, %g merged", asked, slowest.Round(time.Millisecond),
		counted(t, c.node(1), "own"), counted(t, c.node(1), "remote"), counted(t, c.node(1), "merged"))
}

// counted returns how many parts of queries a node counted.
func counted(t *testing.T, n *process.Node, by string) float64 {
	t.Helper()
	_, text, err := n.Get("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), fmt.Sprintf("count_cluster_fragments_total{by=%q} ", by)); ok {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("no count of fragments by %s", by)
	return math.NaN()
}
