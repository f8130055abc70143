package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/count-db/count/test/process"
)

// TestGivenUpWhileFrozen: writes and deletes wait in the connections of a frozen
// node, their clients give them up and have newer writes acknowledged by the
// others: thawed, the node stores nothing of the old ones over the new ones.
func TestGivenUpWhileFrozen(t *testing.T) {
	const keys = 30
	c := start(t, 3, "ADMIN_API=true")
	frozen, other := c.node(3), c.node(1)
	for k := range keys {
		if err := other.Insert(fmt.Sprintf("given%d", k), 1000, 1); err != nil {
			t.Fatal(err)
		}
	}
	frozen.Pause()
	thawed := false
	defer func() {
		if !thawed {
			frozen.Resume()
		}
	}()
	var conns []net.Conn
	for k := range keys {
		request := fmt.Sprintf("POST /api/v1/admin/tsdb/delete_series?match[]=given%d HTTP/1.1\r\nHost: count\r\nContent-Length: 0\r\n\r\n", k)
		if k%3 > 0 {
			body := fmt.Sprintf(`{"series":"given%d","timestamp":1000,"value":2}`, k)
			request = fmt.Sprintf("POST /insert HTTP/1.1\r\nHost: count\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
		conns = append(conns, send(t, frozen, request))
	}
	c.sees(1, 2) // which takes its time, as clients do
	for _, nc := range conns {
		if err := nc.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for k := range keys {
		other.Eventually(30*time.Second, "the others write on", func() error { return other.Insert(fmt.Sprintf("given%d", k), 1000, 3) })
	}
	frozen.Resume()
	thawed = true
	frozen.Eventually(30*time.Second, "the old requests are through", func() error { return handled(frozen, keys) })
	c.whole()
	for k := range keys {
		for _, n := range c.all {
			series := fmt.Sprintf("given%d", k)
			n.Eventually(30*time.Second, "complete reads", func() error {
				got, complete, err := read(n, series)
				if err == nil && !complete {
					err = errors.New("not complete")
				}
				if err == nil && got[1000] != 3 {
					t.Fatalf("%s is %v: what its client gave up came over what was acknowledged later", series, got)
				}
				return err
			})
		}
	}
}

// send sends a request whose answer nobody reads.
func send(t *testing.T, n *process.Node, request string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", n.Address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	return nc
}

// handled returns nil when a node has answered so many inserts and deletes.
func handled(n *process.Node, want int) error {
	code, body, err := n.Get("/metrics")
	if err != nil || code != http.StatusOK {
		return fmt.Errorf("metrics: %d, %w", code, err)
	}
	got := 0
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "count_http_requests_total{") && (strings.Contains(line, `"/insert"`) || strings.Contains(line, "delete_series")) {
			var x float64
			if _, err := fmt.Sscan(line[strings.LastIndexByte(strings.TrimSpace(line), ' '):], &x); err != nil {
				return err
			}
			got += int(x)
		}
	}
	if got < want {
		return fmt.Errorf("%d of %d", got, want)
	}
	return nil
}
