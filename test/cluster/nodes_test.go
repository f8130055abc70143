package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/count-db/count/test/process"
)

func TestMain(m *testing.M) {
	code := m.Run()
	process.Cleanup()
	os.Exit(code)
}

// nodes is a cluster of processes.
type nodes struct {
	t   *testing.T
	dir string
	all []*process.Node
}

// freeAddresses returns addresses that nobody listens at now.
func freeAddresses(t *testing.T, n int) []string {
	t.Helper()
	var out []string
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := ln.Close(); err != nil {
				t.Error(err)
			}
		}()
		out = append(out, ln.Addr().String())
	}
	return out
}

// start founds a cluster and waits until every node sees all others.
func start(t *testing.T, n int, env ...string) *nodes {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	return startAt(t, freeAddresses(t, n), func(_ int, run func()) { run() }, env...)
}

// startAt is start at given addresses; around runs what starts node i's process.
func startAt(t *testing.T, addresses []string, around func(i int, run func()), env ...string) *nodes {
	t.Helper()
	return startBinary(t, process.Binary(t), addresses, around, func(int) []string { return env })
}

// startBinary is startAt with a binary and settings of each node.
func startBinary(t *testing.T, binary string, addresses []string, around func(i int, run func()), env func(i int) []string) *nodes {
	t.Helper()
	c := &nodes{t: t, dir: t.TempDir()}
	for i, address := range addresses {
		settings := append([]string{
			fmt.Sprintf("NODE_ID=%d", i+1), "BIND_ADDRESS=" + address, "CLUSTER_NODES=" + strings.Join(addresses, ","),
			"HEARTBEAT_INTERVAL=500ms", "FAILURE_TIMEOUT=3s",
		}, env(i)...)
		around(i, func() { c.all = append(c.all, process.StartBinary(t, binary, c.data(i+1), settings...)) })
	}
	c.whole()
	return c
}

func (c *nodes) data(id int) string { return filepath.Join(c.dir, fmt.Sprint(id)) }

// node returns a node by its id.
func (c *nodes) node(id int) *process.Node { return c.all[id-1] }

// health is what /health says, as far as the tests look at it.
type health struct {
	Status      string   `json:"status"`
	ClusterSize int      `json:"cluster_size"`
	Ready       bool     `json:"ready"`
	Reasons     []string `json:"reasons"`
}

func healthOf(n *process.Node) (health, error) {
	var h health
	_, body, err := n.Get("/health")
	if err == nil {
		err = json.Unmarshal([]byte(body), &h)
	}
	return h, err
}

// whole waits until every node is healthy and sees all.
func (c *nodes) whole() {
	c.t.Helper()
	for _, n := range c.all {
		n.Eventually(30*time.Second, "the cluster is whole", func() error {
			h, err := healthOf(n)
			if err == nil && (h.Status != "healthy" || h.ClusterSize != len(c.all)) {
				err = fmt.Errorf("%+v", h)
			}
			return err
		})
	}
}

// sees waits until a node sees so many.
func (c *nodes) sees(id, size int) {
	c.t.Helper()
	c.node(id).Eventually(30*time.Second, fmt.Sprintf("node %d sees %d", id, size), func() error {
		h, err := healthOf(c.node(id))
		if err == nil && h.ClusterSize != size {
			err = fmt.Errorf("%+v", h)
		}
		return err
	})
}

// read reads a series and says whether the answer is complete.
func read(n *process.Node, series string) (points map[int64]float64, complete bool, err error) {
	code, header, body, err := n.Do(http.MethodGet, "/query/range/"+series+"?start=0&end=9999999999999", nil, nil)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("%d %s", code, body)
	}
	if err != nil {
		return nil, false, err
	}
	var all []process.Point
	if err := json.Unmarshal([]byte(body), &all); err != nil {
		return nil, false, err
	}
	points = map[int64]float64{}
	for _, p := range all {
		points[p.Timestamp] = p.Value
	}
	return points, header.Get("X-Count-Warning") == "", nil
}

// own returns a node's own copy of a series, by the documented internal form.
func own(n *process.Node, series string) (map[int64]float64, error) {
	code, body, err := n.Post("/query/range", fmt.Sprintf(`{"series":%q,"start_time":0,"end_time":9999999999999,"aggregation":null,"request_id":"r"}`, series))
	if err != nil {
		return nil, err
	}
	var answer struct {
		Success bool
		Data    []process.Point
		Error   *string
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return nil, err
	}
	if code != http.StatusOK || !answer.Success {
		return nil, errors.New(body)
	}
	out := map[int64]float64{}
	for _, p := range answer.Data {
		out[p.Timestamp] = p.Value
	}
	return out, nil
}
