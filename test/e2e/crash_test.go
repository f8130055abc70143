package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/count-db/count/test/process"
)

// ledger remembers what was acknowledged.
type ledger struct {
	mu    sync.Mutex
	acked map[string]map[int64]float64
}

func (l *ledger) ack(series string, at int64, v float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.acked[series] == nil {
		l.acked[series] = map[int64]float64{}
	}
	l.acked[series][at] = v
}

// TestKillLosesNothingAcknowledged kills the node again and again while
// clients write, and looks for every acknowledged sample afterwards.
func TestKillLosesNothingAcknowledged(t *testing.T) {
	const writers, rounds = 4, 5
	n := process.Start(t, t.TempDir(), "MEMORY_BUFFER_SIZE=200", "FLUSH_INTERVAL=1s")
	book := &ledger{acked: map[string]map[int64]float64{}}
	base := time.Now().Add(-24 * time.Hour).UnixMilli()
	for round := range rounds {
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for w := range writers {
			client := n.Client
			wg.Go(func() {
				series := fmt.Sprintf("crash_%d", w)
				for i := int64(0); ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					at := base + int64(round)*1_000_000 + i
					v := float64(rand.IntN(1e6))
					if client.Insert(series, at, v) == nil {
						book.ack(series, at, v)
					}
				}
			})
		}
		want := 60 * (round + 1)
		n.Eventually(30*time.Second, "enough samples were acknowledged", func() error {
			book.mu.Lock()
			defer book.mu.Unlock()
			total := 0
			for _, s := range book.acked {
				total += len(s)
			}
			if total < want*writers {
				return fmt.Errorf("%d", total)
			}
			return nil
		})
		n.Kill()
		close(stop)
		wg.Wait()
		n.Restart()
		n.WaitReady()
		checkLedger(t, n, book)
		if t.Failed() {
			return
		}
	}
}

func checkLedger(t *testing.T, n *process.Node, book *ledger) {
	t.Helper()
	for series, want := range book.acked {
		points, err := n.Range(series, 0, time.Now().UnixMilli())
		if err != nil {
			t.Fatal(err)
		}
		got := map[int64]float64{}
		for _, p := range points {
			got[p.Timestamp] = p.Value
		}
		lost := 0
		for at, v := range want {
			if g, ok := got[at]; !ok || g != v {
				lost++
				if lost < 4 {
					t.Errorf("%s at %d: %v (there: %v), acknowledged %v", series, at, g, ok, v)
				}
			}
		}
		if lost > 0 {
			t.Errorf("%s: %d of %d acknowledged samples are lost", series, lost, len(want))
		}
	}
}

// TestStopAndStart: SIGTERM ends with 0 and everything is there afterwards;
// a second process on the same data is refused.
func TestStopAndStart(t *testing.T) {
	dir := t.TempDir()
	n := process.Start(t, dir)
	at := minuteAgo()
	if err := n.Insert("kept", at, 5); err != nil {
		t.Fatal(err)
	}
	if code := n.Stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	n.Restart()
	n.WaitReady()
	wantRange(t, n, "kept", at, 5)
}

// TestDeleteAndFlush: deletes hide at once, what is written afterwards is
// there, and flushing changes neither.
func TestDeleteAndFlush(t *testing.T) {
	dir := t.TempDir()
	n := process.Start(t, dir, "ADMIN_API=true")
	at := time.Now().Add(-5 * time.Hour).UnixMilli()
	for i := range int64(4) {
		if err := n.Insert("d", at+i, float64(i)); err != nil {
			t.Fatal(err)
		}
	}
	post := func(path string, want int) {
		t.Helper()
		if code, text, err := n.Post(path, ""); err != nil || code != want {
			t.Fatalf("%s: %d %s %v, want %d", path, code, text, err, want)
		}
	}
	post("/api/v1/admin/tsdb/delete_series?match[]=d&start="+seconds(at)+"&end="+seconds(at+1), 204)
	check := func(when string, want ...process.Point) {
		t.Helper()
		got, err := n.Range("d", at-10, at+10)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v %v, want %v", when, got, err, want)
		}
	}
	check("after the delete", process.Point{Timestamp: at + 2, Value: 2}, process.Point{Timestamp: at + 3, Value: 3})
	if err := n.Insert("d", at, 10); err != nil {
		t.Fatal(err)
	}
	want := []process.Point{{Timestamp: at, Value: 10}, {Timestamp: at + 2, Value: 2}, {Timestamp: at + 3, Value: 3}}
	check("written again", want...)
	post("/api/v1/admin/tsdb/flush", 204)
	check("flushed", want...)
	post("/api/v1/admin/tsdb/clean_tombstones", 204)
	check("cleaned", want...)
	post("/api/v1/admin/tsdb/snapshot", 200)
	n.Kill() // its log is whole now
	for _, action := range []string{"delete_series", "flush", "clean_tombstones", "snapshot"} {
		if !strings.Contains(n.Log(), `"action":"`+action+`"`) {
			t.Errorf("no line in the log says that %s was done", action)
		}
	}
	n.Restart()
	n.WaitReady()
	check("restarted", want...)
	n.Kill()
	for _, args := range [][]string{{"check", "data"}, {"inspect"}} {
		if code, out := run(t, []string{"DATA_DIR=" + dir}, args...); code != 0 || !strings.Contains(out, "files") {
			t.Errorf("count %v: %d %s", args, code, out)
		}
	}
	flipped := flipByte(t, filepath.Join(dir, "files"))
	if code, out := run(t, nil, "check", "data", dir); code != 1 || !strings.Contains(out, "fault: "+flipped) {
		t.Errorf("count check data with a flipped byte in %s: %d %s", flipped, code, out)
	}
	snapshots, err := os.ReadDir(filepath.Join(dir, "snapshots"))
	if err != nil || len(snapshots) != 1 {
		t.Fatalf("snapshots: %v %v", snapshots, err)
	}
	restored := process.Start(t, filepath.Join(dir, "snapshots", snapshots[0].Name()))
	if got, err := restored.Range("d", at-10, at+10); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("from the snapshot: %v %v, want %v", got, err, want)
	}
}

// flipByte damages the first file of a folder, as a failing disk would, in a
// copy of its own: snapshots share the original. It returns the file's name.
func flipByte(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		t.Fatalf("data files: %v %v", entries, err)
	}
	name := filepath.Join(dir, entries[0].Name())
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return entries[0].Name()
}
