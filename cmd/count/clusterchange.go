package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
)

// changeCluster asks a node to change the ring. A node that leaves may take
// long: there is no time limit but the context's.
func changeCluster(ctx context.Context, c call, node *client, args []string) error {
	path := "/cluster/" + args[0]
	switch {
	case args[0] == "set-replication-factor":
		if _, err := strconv.ParseUint(args[1], 10, 16); err != nil {
			return &usageError{fmt.Errorf("%q is not a number of copies", args[1])}
		}
		path = "/cluster/replication-factor?factor=" + args[1]
	case len(args) == 2:
		id, err := strconv.ParseUint(args[1], 10, 64)
		if err != nil || id == 0 {
			return &usageError{fmt.Errorf("%q is not the number of a node", args[1])}
		}
		path += "?node=" + args[1]
	}
	answer, err := node.patiently(ctx, "POST", path, "", nil)
	if err != nil {
		return err
	}
	var done struct {
		NodeID uint64 `json:"node_id"`
		Ring   uint64 `json:"ring"`
		Status string `json:"status"`
	}
	if err := json.Unmarshal(answer, &done); err != nil {
		return fmt.Errorf("the answer is not what the API promises: %w", err)
	}
	_, err = fmt.Fprintf(c.stdout, "node %d: %s, ring %d\n", done.NodeID, done.Status, done.Ring)
	return err
}

type repairFlags struct {
	start, end int64 // ms
	dry        bool
}

// repairCluster has a node compare with all others.
func repairCluster(ctx context.Context, c call, node *client, f repairFlags, raw bool) error {
	answer, err := node.patiently(ctx, "POST", fmt.Sprintf("/cluster/repair?start=%d&end=%d&dry_run=%v", f.start, f.end, f.dry), "", nil)
	if err != nil {
		return err
	}
	if raw {
		_, err := fmt.Fprint(c.stdout, string(answer))
		return err
	}
	var done struct {
		NodeID uint64 `json:"node_id"`
		With   []struct {
			NodeID  uint64 `json:"node_id"`
			Differ  int    `json:"differing_slices"`
			Sent    int    `json:"sent_samples"`
			Fetched int    `json:"fetched_samples"`
			Error   string `json:"error"`
		} `json:"with"`
	}
	if err := json.Unmarshal(answer, &done); err != nil {
		return fmt.Errorf("the answer is not what the API promises: %w", err)
	}
	table := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintf(table, "NODE %d WITH\tDIFFERING SLICES\tSENT\tFETCHED\tERROR\n", done.NodeID)
	for _, w := range done.With {
		fmt.Fprintf(table, "%d\t%d\t%d\t%d\t%s\n", w.NodeID, w.Differ, w.Sent, w.Fetched, w.Error)
	}
	return table.Flush()
}

// recoverCluster has a node found a ring by force.
func recoverCluster(ctx context.Context, c call, node *client, raw bool) error {
	answer, err := node.patiently(ctx, "POST", "/cluster/recover?force=true", "", nil)
	if err != nil {
		return err
	}
	if raw {
		_, err := fmt.Fprint(c.stdout, string(answer))
		return err
	}
	var done struct {
		Ring    uint64   `json:"ring"`
		Members []uint64 `json:"members"`
		Lost    []uint64 `json:"lost"`
		Missing float64  `json:"possibly_missing_share"`
	}
	if err := json.Unmarshal(answer, &done); err != nil {
		return fmt.Errorf("the answer is not what the API promises: %w", err)
	}
	_, err = fmt.Fprintf(c.stdout, "ring %d of nodes %v; lost are %v; of %.0f %% of the series acknowledged writes may be missing\n",
		done.Ring, done.Members, done.Lost, 100*done.Missing)
	return err
}

// secretOf is what the nodes of the cluster ask for.
func secretOf(c call) string {
	for _, kv := range c.environ {
		if v, ok := strings.CutPrefix(kv, "CLUSTER_SECRET="); ok {
			return v
		}
	}
	return ""
}
