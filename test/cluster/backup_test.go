package cluster

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/count-db/count/test/process"
)

// count runs the binary as a command towards a node.
func count(t *testing.T, n *process.Node, args ...string) string {
	t.Helper()
	cmd := exec.Command(process.Binary(t), args...)
	cmd.Env = append(os.Environ(), "COUNT_SERVER="+n.URL, "CLUSTER_SECRET="+backupSecret)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("count %v: %v\n%s%s", args, err, out.String(), errs.String())
	}
	return out.String()
}

const backupSecret = "of this test"

// taken reads what count backup printed.
var taken = regexp.MustCompile(`(\d+) files with .* uploaded, (\d+) files with .* were there`)

func takeBackup(t *testing.T, n *process.Node, place string) (uploaded, reused int) {
	t.Helper()
	out := count(t, n, "backup", place)
	m := taken.FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("count backup printed %q", out)
	}
	uploaded, _ = strconv.Atoi(m[1])
	reused, _ = strconv.Atoi(m[2])
	t.Log(out)
	return uploaded, reused
}

// deleteSeries deletes by the administrative API, as often as it takes: under load
// a node may be short of time.
func deleteSeries(t *testing.T, n *process.Node, series string) {
	t.Helper()
	n.Eventually(30*time.Second, "the delete is taken", func() error {
		code, body, err := n.Post("/api/v1/admin/tsdb/delete_series?match[]="+series, "")
		if err == nil && code != http.StatusNoContent {
			err = fmt.Errorf("%d %s", code, body)
		}
		return err
	})
}

// TestBackupAndRestore: what was acknowledged before a backup began is in it,
// whatever is written meanwhile, and comes back in clusters of other sizes.
func TestBackupAndRestore(t *testing.T) {
	c := start(t, 3, "CLUSTER_SECRET="+backupSecret, "ADMIN_API=true", "FLUSH_INTERVAL=2s")
	place := filepath.Join(t.TempDir(), "backups")
	gone := key{"deleted", time.Now().Add(-time.Hour).UnixMilli()}
	l := newLedger()
	if err := l.write(c.node(1), gone); err != nil {
		t.Fatal(err)
	}
	deleteSeries(t, c.node(2), gone.series)
	delete(l.acked, gone)

	stop := make(chan struct{})
	running := l.load(t, c, 4, stop, func(i int) *process.Node { return c.all[i%3] })
	c.node(1).Eventually(30*time.Second, "something is written", func() error {
		if n := l.acks.Load(); n < 200 {
			return fmt.Errorf("%d acknowledgements", n)
		}
		return nil
	})
	first := l.acknowledged()
	if uploaded, reused := takeBackup(t, c.node(1), place); uploaded == 0 || reused != 0 {
		t.Errorf("the first backup uploaded %d files and found %d", uploaded, reused)
	}
	second := l.acknowledged()
	takeBackup(t, c.node(2), place)
	close(stop)
	running.Wait()
	// Nothing is written any more: a flush changes no file, and the next backup
	// finds every data file there.
	takeBackup(t, c.node(3), place)
	if uploaded, reused := takeBackup(t, c.node(3), place); reused == 0 || uploaded > 3*6 {
		t.Errorf("a backup of the same data uploaded %d files and found %d", uploaded, reused)
	}
	count(t, c.node(1), "check", "backup", place)
	for _, n := range c.all {
		n.Kill()
	}

	ids := regexp.MustCompile(`(?m)^\d{8}T\d{6}Z-\w+`).FindAllString(count(t, c.node(1), "backup", "list", place), -1)
	if len(ids) != 4 {
		t.Fatalf("%d backups are listed: %v", len(ids), ids)
	}
	alone := process.Start(t, t.TempDir(), "CLUSTER_SECRET="+backupSecret)
	count(t, alone, "restore", place, "--id", ids[0])
	l.restored(t, alone, first)
	count(t, alone, "restore", place, "--id", ids[1], "--overwrite")
	l.restored(t, alone, second)
	count(t, alone, "restore", place, "--id", ids[0]) // older: changes nothing
	l.restored(t, alone, second)

	other := start(t, 3, "CLUSTER_SECRET="+backupSecret)
	count(t, other.node(1), "restore", place, "--id", ids[0])
	l.restored(t, other.node(2), first)
	count(t, other.node(3), "restore", place, "--id", ids[1], "--overwrite")
	l.restored(t, other.node(1), second)
	count(t, other.node(3), "restore", place, "--id", ids[0])
	l.restored(t, other.node(1), second)
	for _, n := range []*process.Node{alone, other.node(1), other.node(3)} {
		if got, _, err := read(n, gone.series); err != nil || len(got) > 0 {
			t.Errorf("what was deleted is there again at %s: %v %v", n.Address, got, err)
		}
	}
	newerStays(t, l, other, place)

	out := count(t, other.node(1), "backup", "prune", place, "--keep", "1")
	count(t, other.node(1), "check", "backup", place)
	if left := count(t, other.node(1), "backup", "list", place); !regexp.MustCompile(`^BACKUP.*\n` + ids[3]).MatchString(left) {
		t.Errorf("%s left:\n%s", out, left)
	}
}

// acknowledged returns what is acknowledged now.
func (l *ledger) acknowledged() map[key]float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.acked)
}

// restored compares a node with what was acknowledged before its backup.
func (l *ledger) restored(t *testing.T, n *process.Node, acked map[key]float64) {
	t.Helper()
	series := map[string]bool{}
	for k := range acked {
		series[k.series] = true
	}
	for s := range series {
		got, complete, err := read(n, s)
		if err != nil || !complete {
			t.Fatalf("read %s: %v, complete: %v", s, err, complete)
		}
		for k, v := range acked {
			if have, ok := got[k.t]; k.series == s && (!ok || have < v || have > l.tried[k]) {
				t.Errorf("%s at %d: acknowledged %g before the backup, restored %g (%v) at %s", s, k.t, v, have, ok, n.Address)
			}
		}
	}
}

// newerStays: a restore does not undo what was written and deleted after the
// backup, unless it is told to.
func newerStays(t *testing.T, l *ledger, c *nodes, place string) {
	t.Helper()
	var k key
	for k = range l.acked {
		break
	}
	if err := c.node(1).Insert(k.series, k.t, -7); err != nil {
		t.Fatal(err)
	}
	value := func(want func(float64) bool, when string) {
		t.Helper()
		got, complete, err := read(c.node(2), k.series)
		if err != nil || !complete || !want(got[k.t]) {
			t.Errorf("%s: %g (%v, complete: %v)", when, got[k.t], err, complete)
		}
	}
	count(t, c.node(1), "restore", place)
	value(func(v float64) bool { return v == -7 }, "what is there after a restore")
	count(t, c.node(1), "restore", place, "--overwrite")
	value(func(v float64) bool { return v > 0 }, "the value after a restore that overwrites")
}

// TestRestoreIntoADirectory: the files of a node's snapshot are a data directory.
func TestRestoreIntoADirectory(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	first := process.Start(t, filepath.Join(dir, "first"), "ADMIN_API=true", "NODE_ID=5")
	at := time.Now().Add(-time.Hour).UnixMilli()
	for i := range int64(100) {
		if err := first.Insert("placed", at+i, float64(i)); err != nil {
			t.Fatal(err)
		}
	}
	place, into := filepath.Join(dir, "backups"), filepath.Join(dir, "second")
	takeBackup(t, first, place)
	count(t, first, "restore", place, "--into", into, "--node", "5")
	count(t, first, "check", "data", into)
	second := process.Start(t, into, "NODE_ID=5")
	if got, _, err := read(second, "placed"); err != nil || len(got) != 100 {
		t.Errorf("%d samples: %v", len(got), err)
	}
	cmd := exec.Command(process.Binary(t), "backup", place, "--server", second.URL)
	if out, err := cmd.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("403")) {
		t.Errorf("a node without ADMIN_API and secret is backed up: %v %s", err, out)
	}
}
