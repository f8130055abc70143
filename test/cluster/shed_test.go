package cluster

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/count-db/count/test/process"
)

// storageOf is what a node says of its storage and of what it does not own.
type storageOf struct {
	bytes, samples int64 // of data files
	shed           bool  // it holds nothing that it does not own, and all files are written anew
	status         string
}

func storage(n *process.Node) (storageOf, error) {
	var out storageOf
	_, body, err := n.Get("/metrics")
	if err != nil {
		return out, err
	}
	var waiting int64 = -1
	for line := range strings.Lines(body) {
		var v float64
		for name, to := range map[string]*int64{
			"count_engine_file_bytes": &out.bytes, "count_engine_file_samples": &out.samples, "count_engine_shed_files": &waiting,
		} {
			if _, err := fmt.Sscanf(line, name+" %g", &v); err == nil {
				*to = int64(v)
			}
		}
	}
	_, out.status, err = n.Get("/cluster/status")
	var s struct {
		Shed struct {
			Done bool `json:"done"`
		} `json:"shed"`
	}
	if err == nil {
		err = json.Unmarshal([]byte(out.status), &s)
	}
	out.shed = s.Shed.Done && waiting == 0
	return out, err
}

// TestUnownedDataLeavesTheDisk: a fourth node joins three; when all is done each
// node has about three quarters of what it had on its disk, every sample is there
// three times, and the directories are whole.
func TestUnownedDataLeavesTheDisk(t *testing.T) {
	c := start(t, 3, "ADMIN_API=true", "WRITE_DEADLINE=1s")
	const series, points = 400, 400
	base := time.Now().Add(-4 * time.Hour).UnixMilli()
	for s := range series {
		rng := rand.New(rand.NewPCG(uint64(s), 1))
		var body strings.Builder
		for i := range points {
			fmt.Fprintf(&body, `{"series":"shed.%d","timestamp":%d,"value":%d}`+"\n", s, base+int64(i)*15_000, rng.IntN(1_000_000))
		}
		if code, answer, err := c.all[s%3].Post("/insert", body.String()); err != nil || code != http.StatusCreated {
			t.Fatalf("%d %s %v", code, answer, err)
		}
	}
	flush := func() (total storageOf, each []storageOf) {
		for _, n := range c.all {
			mustFlush(t, n)
			s, err := storage(n)
			if err != nil {
				t.Fatal(err)
			}
			total.bytes += s.bytes
			total.samples += s.samples
			each = append(each, s)
		}
		return total, each
	}
	before, eachBefore := flush()
	if before.samples != 3*series*points {
		t.Fatalf("%d samples on disk, want %d three times", before.samples, series*points)
	}
	c.join("ADMIN_API=true", "WRITE_DEADLINE=1s")
	for _, n := range c.all {
		members(n, 4)
	}
	for _, n := range c.all {
		n.Eventually(150*time.Second, "what it does not own is off the disk", func() error {
			s, err := storage(n)
			if err == nil && !s.shed {
				err = fmt.Errorf("%+v", s)
			}
			return err
		})
	}
	copied(t, c, series*points)
	after, eachAfter := flush()
	for i, s := range eachAfter {
		was := storageOf{}
		if i < len(eachBefore) {
			was = eachBefore[i]
		}
		t.Logf("node %d: %d samples in %d bytes before the join, %d in %d after", i+1, was.samples, was.bytes, s.samples, s.bytes)
		if i < len(eachBefore) && (s.samples > was.samples*9/10 || s.bytes > was.bytes*95/100) {
			t.Errorf("node %d still has %d of %d samples in %d of %d bytes", i+1, s.samples, was.samples, s.bytes, was.bytes)
		}
	}
	if after.samples != before.samples {
		t.Errorf("%d samples on all disks, %d before the join", after.samples, before.samples)
	}
	c.node(2).Kill()
	c.sees(1, 3)
	for s := 0; s < series; s += 7 {
		got, complete, err := read(c.node(1), fmt.Sprintf("shed.%d", s))
		if err != nil || !complete || len(got) != points {
			t.Fatalf("series %d with one node dead: %d points, complete %v, %v", s, len(got), complete, err)
		}
	}
	for id := range c.all {
		if id+1 != 2 {
			c.node(id + 1).Stop()
		}
		out, err := exec.Command(process.Binary(t), "check", "data", c.data(id+1)).CombinedOutput()
		if err != nil {
			t.Errorf("check of node %d: %v\n%s", id+1, err, out)
		}
	}
}

// copied checks that the node that joined three copied its share, about three
// quarters of all series, and that nobody else copied anything.
func copied(t *testing.T, c *nodes, samples float64) {
	t.Helper()
	for i, n := range c.all {
		_, body, err := n.Get("/metrics")
		if err != nil {
			t.Fatal(err)
		}
		have := -1.0
		for line := range strings.Lines(body) {
			// Lines of other metrics do not scan.
			_, _ = fmt.Sscanf(line, "count_cluster_copied_samples_total %g", &have)
		}
		share := have / samples
		t.Logf("node %d copied %.2f of one copy of everything", i+1, share)
		if joined := i == len(c.all)-1; joined && (share < 0.6 || share > 0.9) || !joined && share != 0 {
			t.Errorf("node %d copied %g of %g samples", i+1, have, samples)
		}
	}
}

func mustFlush(t *testing.T, n *process.Node) {
	t.Helper()
	if code, body, err := n.Post("/api/v1/admin/tsdb/flush", ""); err != nil || code != http.StatusNoContent {
		t.Fatalf("flush of %s: %d %s %v", n.Address, code, body, err)
	}
}
