package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"
)

func clusterVerb() verb {
	return verb{
		name:    "cluster",
		summary: "look at a cluster",
		usage: `Usage:
  count cluster status [--server URL] [--json]

Prints the ring and every node as the asked node sees them.

  --server URL   the node; default COUNT_SERVER, or ` + defaultServer + `
  --json         print the answer as it came
`,
		run: runCluster,
	}
}

// clusterStatus is what GET /cluster/status answers.
type clusterStatus struct {
	NodeID            uint64   `json:"node_id"`
	Cluster           string   `json:"cluster"`
	Ring              uint64   `json:"ring"`
	ReplicationFactor int      `json:"replication_factor"`
	WriteQuorum       int      `json:"write_quorum"`
	Majority          bool     `json:"majority"`
	Refilling         string   `json:"refilling"`
	Problems          []string `json:"problems"`
	Nodes             []struct {
		ID        uint64 `json:"id"`
		Address   string `json:"address"`
		Status    string `json:"status"`
		LastSeen  int64  `json:"last_seen"` // ms
		DataSize  int64  `json:"data_size"` // bytes
		Zone      string `json:"zone"`
		InSight   bool   `json:"in_sight"`
		OwedBytes int64  `json:"owed_bytes"`
	} `json:"nodes"`
}

func runCluster(ctx context.Context, c call) error {
	fs, server := newFlags(c, "cluster")
	raw := fs.Bool("json", false, "")
	args, err := parse(fs, c.args)
	if err != nil {
		return err
	}
	if len(args) != 1 || args[0] != "status" {
		return &usageError{errors.New(`say what to do: "status"`)}
	}
	node, err := newClient(*server)
	if err != nil {
		return err
	}
	answer, err := node.do(ctx, "GET", "/cluster/status", "", nil)
	if err != nil {
		return err
	}
	if *raw {
		_, err := fmt.Fprint(c.stdout, string(answer))
		return err
	}
	var s clusterStatus
	if err := json.Unmarshal(answer, &s); err != nil {
		return fmt.Errorf("the answer is not what the API promises: %w", err)
	}
	return printCluster(c, &s)
}

func printCluster(c call, s *clusterStatus) error {
	fmt.Fprintf(c.stdout, "cluster %s as node %d sees it: ring %d, %d copies of which %d acknowledge, majority in sight: %v\n",
		s.Cluster, s.NodeID, s.Ring, s.ReplicationFactor, s.WriteQuorum, s.Majority)
	if s.Refilling != "" {
		fmt.Fprintf(c.stdout, "this node is refilling: %s\n", s.Refilling)
	}
	for _, p := range s.Problems {
		fmt.Fprintf(c.stdout, "problem: %s\n", p)
	}
	table := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "\nNODE\tADDRESS\tSTATUS\tIN SIGHT\tLAST SEEN\tBYTES\tOWED\tZONE")
	for _, n := range s.Nodes {
		seen := "never"
		if n.LastSeen > 0 {
			seen = time.UnixMilli(n.LastSeen).UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(table, "%d\t%s\t%s\t%v\t%s\t%d\t%d\t%s\n", n.ID, n.Address, n.Status, n.InSight, seen, n.DataSize, n.OwedBytes, n.Zone)
	}
	return table.Flush()
}
