package cluster

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/count-db/count/test/process"
)

// TestLossIsMarked: a file of the only copy is damaged. Answers over what it held
// are marked, those over other times are not, on a node alone and in a cluster of
// single copies through every node, until the file with the mark is removed.
func TestLossIsMarked(t *testing.T) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n, " nodes"), func(t *testing.T) {
			env := []string{"REPLICATION_FACTOR=1", "ADMIN_API=true"}
			if n == 1 {
				env = append(env, "CLUSTER_NODES=")
			}
			c := start(t, n, env...)
			old := time.Now().Add(-50 * time.Hour).UnixMilli()
			for i := range 30 {
				if err := c.node(1).Insert(lossKey(i), old, 1); err != nil {
					t.Fatal(err)
				}
			}
			if code, text, err := c.node(n).Post("/api/v1/admin/tsdb/flush", ""); err != nil || code != http.StatusNoContent {
				t.Fatal(code, text, err)
			}
			c.node(n).Stop()
			damage(t, c.data(n))
			c.node(n).Restart()
			marked(t, c, "sum(count_over_time(lost[1h]))", old, true)
			marked(t, c, "sum(count_over_time(lost[1h]))", old+4*3600*1000, false)
			marked(t, c, "last_over_time(lost[1h])", old, true)
			for i := range 30 {
				c.node(1).Eventually(30*time.Second, "a new write", func() error { return c.node(1).Insert(lossKey(i), old+1, 1) })
			}
			marked(t, c, "count(lost)", old+1, true)
			backupLacks(t, c.node(1))
			c.node(n).Stop()
			if err := os.Remove(filepath.Join(c.data(n), "lost")); err != nil {
				t.Fatal(err)
			}
			c.node(n).Restart()
			marked(t, c, "count(lost)", old+1, false)
		})
	}
}

// backupLacks takes a backup, which says that it may lack acknowledged samples.
func backupLacks(t *testing.T, n *process.Node) {
	t.Helper()
	cmd := exec.Command(process.Binary(t), "backup", t.TempDir())
	cmd.Env = append(os.Environ(), "COUNT_SERVER="+n.URL)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 3 || !strings.Contains(string(out), "may lack acknowledged samples") {
		t.Errorf("a backup without what was lost: %v\n%s", err, out)
	}
}

// lossKey is one of the series that the test writes.
func lossKey(i int) string { return fmt.Sprintf(`lost{i="%d"}`, i) }

// damage changes a byte in the middle of each data file.
func damage(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "files", "*.*"))
	if err != nil || len(files) == 0 {
		t.Fatal("no data files", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 4
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// marked waits until every node answers at a time, through PromQL and as REST
// counts, and marks what it answers or does not.
func marked(t *testing.T, c *nodes, query string, at int64, want bool) {
	t.Helper()
	for _, n := range c.all {
		n.Eventually(time.Minute, fmt.Sprintf("%s at %d is marked: %v", query, at, want), func() error {
			code, body, err := n.Get(fmt.Sprintf("/api/v1/query?time=%d.%03d&query=%s", at/1000, at%1000, url.QueryEscape(query)))
			if err != nil {
				return err
			}
			if code != http.StatusOK {
				return fmt.Errorf("%d %s", code, body)
			}
			if got := strings.Contains(body, `"warnings":["`+"samples are lost"); got != want {
				return fmt.Errorf("%s", body)
			}
			return restMarked(n, at, want)
		})
	}
}

func restMarked(n *process.Node, at int64, want bool) error {
	some := false
	for i := range 30 {
		code, header, body, err := n.Do(http.MethodGet, fmt.Sprintf("/query/range/%s?start=%d&end=%d", url.PathEscape(lossKey(i)), at-1000, at), nil, nil)
		if err != nil {
			return err
		}
		if code != http.StatusOK {
			return fmt.Errorf("%d %s", code, body)
		}
		warning := header.Get("X-Count-Warning")
		some = some || strings.Contains(warning, "samples are lost")
	}
	if some != want {
		return fmt.Errorf("REST: marked is %v", some)
	}
	return nil
}
