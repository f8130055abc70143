package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/count-db/count/test/process"
)

// rotating is a cluster whose nodes have their secrets in files, while samples are
// written through every node that is not being restarted.
type rotating struct {
	*nodes
	done, ended chan struct{}
	mu          sync.RWMutex // read-locked during a write
	away        int          // guarded by mu; the node that is being restarted; 0: none
	want        map[int64]float64
	faults      []error // read behind ended
}

func secretFile(dir string, id int) string { return filepath.Join(dir, fmt.Sprint(id, ".secret")) }

func startRotating(t *testing.T, secrets ...string) *rotating {
	t.Helper()
	files := t.TempDir()
	r := &rotating{done: make(chan struct{}), ended: make(chan struct{}), want: map[int64]float64{}}
	for id := range 3 {
		giveSecrets(t, secretFile(files, id+1), secrets...)
	}
	r.nodes = newNodes(t, freeAddresses(t, 3), process.Client{URL: "http://"}, func(id int) []string {
		return []string{"CLUSTER_SECRET_FILE=" + secretFile(files, id), "ADMIN_API=true"}
	})
	r.dir = files
	go r.write()
	return r
}

// giveSecrets writes the file in one step.
func giveSecrets(t *testing.T, name string, secrets ...string) {
	t.Helper()
	err := os.WriteFile(name+".new", []byte(strings.Join(secrets, "\n")+"\n"), 0o600)
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (r *rotating) write() {
	defer close(r.ended)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for at := int64(1); ; at++ {
		select {
		case <-r.done:
			return
		case <-tick.C:
		}
		r.mu.RLock()
		id := int(at%3) + 1
		if id == r.away {
			id = id%3 + 1
		}
		if err := r.node(id).Insert("m", at, float64(at)); err != nil {
			r.faults = append(r.faults, fmt.Errorf("through node %d: %w", id, err))
		}
		r.want[at] = float64(at)
		r.mu.RUnlock()
	}
}

// restart makes a node connect anew, and the others to it.
func (r *rotating) restart(id int) {
	r.t.Helper()
	r.mu.Lock()
	r.away = id
	r.mu.Unlock()
	if code := r.node(id).Stop(); code != 0 {
		r.t.Fatalf("node %d ended with %d", id, code)
	}
	r.node(id).Restart()
	r.whole()
	r.mu.Lock()
	r.away = 0
	r.mu.Unlock()
}

// give writes the files of nodes; each notices by the next time that it is asked.
func (r *rotating) give(ids []int, secrets ...string) {
	r.t.Helper()
	for _, id := range ids {
		giveSecrets(r.t, secretFile(r.dir, id), secrets...)
		if _, text, err := r.node(id).Get("/metrics"); err != nil || !strings.Contains(text, fmt.Sprintf("\ncount_cluster_secrets %d\n", len(secrets))) {
			r.t.Errorf("node %d does not say that it takes %d secrets: %v", id, len(secrets), err)
		}
	}
}

// TestSecretChanges: the cluster's secret is changed file by file while samples are
// written, and nodes that connect anew at every step still know one another. Every
// write is taken and read. In the end the old secret opens nothing.
func TestSecretChanges(t *testing.T) {
	r := startRotating(t, "old")
	all := []int{1, 2, 3}
	r.give(all[:1], "old", "new")
	r.restart(2)
	r.give(all[1:], "old", "new")
	r.give(all[:1], "new", "old") // it shows what the others take beside the old one
	r.restart(1)
	r.give(all[1:], "new", "old")
	r.give(all[1:2], "new")
	r.restart(3)
	r.give([]int{1, 3}, "new")
	r.restart(2)
	close(r.done)
	<-r.ended
	if len(r.faults) > 0 {
		t.Errorf("%d of %d writes were refused, the first %v", len(r.faults), len(r.want), r.faults[0])
	}
	r.expectEverywhere("m", r.want)
	r.checkSecrets("new", "old")
}

// checkSecrets checks what opens the routes of nodes, and what a file that cannot be
// read does.
func (r *rotating) checkSecrets(known, unknown string) {
	r.t.Helper()
	n, file := r.node(1), secretFile(r.dir, 1)
	for _, c := range []struct{ env, want string }{
		{"CLUSTER_SECRET=" + known, "RING"},
		{"CLUSTER_SECRET_FILE=" + file, "RING"},
		{"CLUSTER_SECRET=" + unknown, "403"},
		{"CLUSTER_SECRET_FILE=" + file + ".lost", "CLUSTER_SECRET_FILE: open"},
	} {
		cmd := exec.Command(process.Binary(r.t), "cluster", "set-replication-factor", "3", "--server", n.URL)
		cmd.Env = append(os.Environ(), c.env)
		if out, _ := cmd.CombinedOutput(); !strings.Contains(strings.ToUpper(string(out)), strings.ToUpper(c.want)) {
			r.t.Errorf("with %s: %s, want %s", c.env, out, c.want)
		}
	}
	if err := os.Truncate(file, 0); err != nil {
		r.t.Fatal(err)
	}
	h, err := healthOf(n)
	if err != nil || h.Status != "degraded" || !h.Ready || !strings.Contains(strings.Join(h.Reasons, "\n"), "CLUSTER_SECRET_FILE cannot be read") {
		r.t.Errorf("with an empty file: %+v %v", h, err)
	}
	r.node(2).Kill()
	r.sees(1, 2)
	r.node(2).Restart() // it shows what node 1 has read before
	r.sees(1, 3)
	r.sees(2, 3)
	giveSecrets(r.t, file, known)
	if h, err := healthOf(n); err != nil || h.Status != "healthy" {
		r.t.Errorf("with the file back: %+v %v", h, err)
	}
}
