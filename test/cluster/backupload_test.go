package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/count-db/count/test/process"
)

// TestBackupsUnderFaults: backups of a cluster under load, in which nodes are
// killed in the middle, files are merged, sealed and dropped, and the ring changes. A
// backup that says it is one has all that was acknowledged before it began.
// COUNT_BACKUP_SEEDS=N tries more.
func TestBackupsUnderFaults(t *testing.T) {
	seeds, err := strconv.ParseUint(cmp.Or(os.Getenv("COUNT_BACKUP_SEEDS"), "1"), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { backupsUnderFaults(t, seed) })
	}
}

// tried is a backup and what it must have.
type triedBackup struct {
	id    string
	acked map[key]float64
}

var newBackup = regexp.MustCompile(`(?m)^backup (\S+) of`)

func backupsUnderFaults(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 2))
	env := []string{"CLUSTER_SECRET=" + backupSecret, "ADMIN_API=true", "FLUSH_INTERVAL=500ms", "REPLICATION_FACTOR=3"}
	c := start(t, 3, env...)
	place := filepath.Join(t.TempDir(), "backups")
	l := newLedger()
	stop := make(chan struct{})
	founders := slices.Clone(c.all)
	running := l.load(t, c, 6, stop, func(i int) *process.Node { return founders[i%3] })
	l.more(c.node(1), 200)

	var taken []triedBackup
	backup := func(disturb func(), args ...string) (code int, out string) {
		acked := l.acknowledged()
		cmd := command(t, c.node(1), append([]string{"backup", place, "--patience", "2s"}, args...)...)
		done := make(chan struct{})
		var text []byte
		var err error
		go func() {
			defer close(done)
			text, err = cmd.CombinedOutput()
		}()
		<-time.After(time.Duration(r.IntN(60)) * time.Millisecond)
		disturb()
		<-done
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if m := newBackup.FindSubmatch(text); m != nil && err == nil {
			taken = append(taken, triedBackup{string(m[1]), acked})
		}
		t.Logf("%v: %d %s", args, cmd.ProcessState.ExitCode(), text)
		return cmd.ProcessState.ExitCode(), string(text)
	}

	flush := func() {
		for _, n := range c.all {
			if _, _, err := n.Post("/api/v1/admin/tsdb/flush", ""); err != nil {
				t.Log(err) // one that is away
			}
		}
	}
	if code, out := backup(flush); code != 0 {
		t.Fatalf("a backup while files are merged failed: %s", out)
	}
	for range 2 {
		victim := c.node(2 + r.IntN(2))
		code, out := backup(func() { victim.Kill() })
		if code != 0 && !strings.Contains(out, "cannot be reached") && !strings.Contains(out, "no answer from") && !strings.Contains(out, "given up after") {
			t.Errorf("a backup while a node dies says %q", out)
		}
		if code, out := backup(func() {}, "--skip-unreachable"); code != 0 {
			t.Errorf("a backup without one node of three failed: %s", out)
		}
		victim.Restart()
		c.whole()
		victim = c.node(2 + r.IntN(2))
		if code, out := backup(func() { victim.Kill() }, "--skip-unreachable"); code != 0 {
			t.Errorf("a backup that may leave out the node that dies failed: %s", out)
		}
		victim.Restart()
		c.whole()
	}
	fourth := c.join(env...)
	for i := 0; i == 0 || inDualRing(c); i++ {
		if code, out := backup(flush); code != 0 {
			t.Errorf("a backup while a node joins failed: %s", out)
		}
		if i > 20 {
			break
		}
	}
	fourth.WaitReady()
	if code, out := backup(flush); code != 0 || !strings.Contains(out, "of 4 nodes") {
		t.Errorf("a backup of four nodes: %s", out)
	}
	close(stop)
	running.Wait()
	count(t, c.node(1), "check", "backup", place)
	for _, n := range c.all {
		n.Kill()
	}
	if len(taken) < 6 {
		t.Errorf("%d backups were taken only", len(taken))
	}
	for i, b := range taken {
		alone := process.Start(t, filepath.Join(t.TempDir(), fmt.Sprint(i)), "CLUSTER_SECRET="+backupSecret)
		count(t, alone, "restore", place, "--id", b.id)
		l.restored(t, alone, b.acked)
		alone.Kill()
	}
}

// inDualRing says whether a change of the ring is under way.
func inDualRing(c *nodes) bool {
	_, body, err := c.node(1).Get("/cluster/status")
	return err == nil && strings.Contains(body, `"change":`)
}
