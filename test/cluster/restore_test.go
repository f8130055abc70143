package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/count-db/count/test/process"
)

// command is count with arguments, towards a node.
func command(t *testing.T, n *process.Node, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(process.Binary(t), args...)
	cmd.Env = append(os.Environ(), "COUNT_SERVER="+n.URL, "CLUSTER_SECRET="+backupSecret)
	return cmd
}

// manySeries writes a file for count import: floats and native histograms of some
// hours, every value another.
func manySeries(t *testing.T, series, samples int) string {
	t.Helper()
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	base := time.Now().Add(-9 * time.Hour).UnixMilli()
	for s := range series {
		metric := map[string]string{"__name__": "m" + fmt.Sprint(s%7), "série": fmt.Sprintf("%d ü", s)}
		var values []float64
		var times []int64
		for i := range samples {
			values = append(values, float64(s)+float64(i)/1000)
			times = append(times, base+int64(i)*int64(8*time.Hour/time.Millisecond)/int64(samples))
		}
		line := map[string]any{"metric": metric, "values": values, "timestamps": times}
		if s%10 == 0 {
			line["histograms"] = []map[string]any{{
				"timestamp": base - 1, "schema": 1, "count": 3, "sum": float64(s), "positive_spans": [][2]int{{0, 2}}, "positive_buckets": []int{1, 2},
			}}
		}
		if err := enc.Encode(line); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(t.TempDir(), "many.jsonl")
	if err := os.WriteFile(name, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestRestoreGoesOn: a restore that is killed again and again goes on where it
// was, and what it has written in the end is what was backed up.
func TestRestoreGoesOn(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	source := process.Start(t, filepath.Join(dir, "source"), "CLUSTER_SECRET="+backupSecret)
	count(t, source, "import", manySeries(t, 200, 200))
	place, scratch := filepath.Join(dir, "backups"), filepath.Join(dir, "scratch")
	takeBackup(t, source, place)
	want := count(t, source, "export")

	c := start(t, 3, "CLUSTER_SECRET="+backupSecret)
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	args := []string{"restore", place, "--scratch", scratch, "--batch", "500", "--rate"}
	for kills := range 8 {
		cmd := command(t, c.all[0], append(args, "5000")...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if kills < 3 { // at any time: while it fetches, perhaps
			<-time.After(time.Duration(r.IntN(300)) * time.Millisecond)
		} else { // not before it came further
			before := howFar(t, scratch)
			c.all[0].Eventually(60*time.Second, "the restore comes further", func() error {
				if howFar(t, scratch) == before {
					return fmt.Errorf("it is still at %q", before)
				}
				return nil
			})
		}
		_ = cmd.Process.Kill() // it may have ended
		if cmd.Wait() == nil {
			t.Fatal("the restore ended before it was killed")
		}
	}
	written := howFar(t, scratch)
	t.Log(count(t, c.all[0], append(args, "0")...))
	if got := count(t, c.all[1], "export"); got != want {
		t.Errorf("%d bytes of export after the restore, not %d, or others", len(got), len(want))
	}
	if written == "" {
		t.Error("it was never noted how far the restore is")
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("%v is left: %v", left, err)
	}
	// Another time it finds all there.
	if out := count(t, c.all[2], "restore", place); !strings.Contains(out, ": 0 samples written") {
		t.Error(out)
	}
}

// howFar returns what a restore notes; empty where it has noted nothing.
func howFar(t *testing.T, scratch string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(scratch, "count-restore-*", "progress"))
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		return ""
	}
	text, err := os.ReadFile(names[0])
	if err != nil {
		return ""
	}
	return string(text)
}

// TestRestoreTable: what the table in docs/operating.md says of a restore into the
// cluster that the backup is of, and into others.
func TestRestoreTable(t *testing.T) {
	for _, from := range []struct{ nodes, copies int }{{1, 1}, {3, 3}, {3, 2}} {
		t.Run(fmt.Sprintf("%d nodes, %d copies", from.nodes, from.copies), func(t *testing.T) {
			restoreTable(t, from.nodes, from.copies)
		})
	}
}

func restoreTable(t *testing.T, nodes, copies int) {
	env := []string{"CLUSTER_SECRET=" + backupSecret, "ADMIN_API=true", fmt.Sprintf("REPLICATION_FACTOR=%d", copies)}
	c := start(t, nodes, env...)
	at := time.Now().Add(-3 * time.Hour).UnixMilli()
	n := func(i int) *process.Node { return c.all[i%nodes] }
	insert := func(n *process.Node, series string, v float64) {
		t.Helper()
		n.Eventually(30*time.Second, "the sample is taken", func() error { return n.Insert(series, at, v) })
	}
	for _, series := range []string{"same", "other", "deleted", "untouched", "rewritten", "gone"} {
		insert(n(0), series, 1)
	}
	deleteSeries(t, n(1), "gone")
	place := filepath.Join(t.TempDir(), "backups")
	takeBackup(t, n(2), place)

	insert(n(0), "other", 2)
	insert(n(0), "new", 2)
	through := n(2)
	if nodes > 1 {
		through.Kill() // it misses the deletes, and restores as soon as it is back
	}
	deleteSeries(t, n(1), "deleted")
	deleteSeries(t, n(1), "rewritten")
	insert(n(0), "rewritten", 2)
	if nodes > 1 {
		through.Restart()
	}
	want := map[string]float64{"same": 1, "untouched": 1, "other": 2, "new": 2, "rewritten": 2}
	count(t, through, "restore", place)
	shows(t, n(1), at, "a restore into the cluster", want)
	count(t, n(1), "restore", place, "--overwrite")
	want = map[string]float64{"same": 1, "other": 1, "new": 2, "rewritten": 1, "deleted": 1, "untouched": 1}
	shows(t, n(2), at, "one that overwrites", want)
	for _, size := range []int{1, 2, 5} {
		other := start(t, size, env[:2]...)
		target := other.all[size/2]
		target.Eventually(30*time.Second, "the sample is taken", func() error { return target.Insert("other", at, 3) })
		count(t, other.all[0], "restore", place)
		want := map[string]float64{"same": 1, "other": 3, "deleted": 1, "untouched": 1, "rewritten": 1}
		shows(t, target, at, fmt.Sprintf("a restore into %d nodes", size), want)
		count(t, other.all[size-1], "restore", place, "--overwrite")
		want["other"] = 1
		shows(t, target, at, fmt.Sprintf("one that overwrites, into %d nodes", size), want)
		for _, n := range other.all {
			n.Kill()
		}
	}
}

// shows compares what a node shows at a time with what is expected.
func shows(t *testing.T, n *process.Node, at int64, after string, want map[string]float64) {
	t.Helper()
	for _, series := range []string{"same", "other", "new", "deleted", "untouched", "rewritten", "gone"} {
		var got map[int64]float64
		n.Eventually(30*time.Second, "the read is complete", func() error {
			points, complete, err := read(n, series)
			if err == nil && !complete {
				err = fmt.Errorf("%s is read in part", series)
			}
			got = points
			return err
		})
		v, ok := got[at]
		if expected, wanted := want[series]; ok != wanted || v != expected || len(got) > 1 {
			t.Errorf("after %s: %s is %v, expected %g (%v)", after, series, got, expected, wanted)
		}
	}
}
