package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"text/tabwriter"
	"time"
)

func clusterVerb() verb {
	return verb{
		name:    "cluster",
		summary: "look at a cluster and change it",
		usage: `Usage:
  count cluster status [--server URL] [--json]
  count cluster ring [--server URL] [--json]
  count cluster owners SERIES [--server URL] [--json]
  count cluster leave [--server URL]
  count cluster remove NODE [--server URL]
  count cluster set-replication-factor N [--server URL]
  count cluster pause [--server URL]
  count cluster resume [--server URL]
  count cluster abort [--server URL]
  count cluster recover --force [--server URL]
  count cluster repair [--server URL] [--range START,END | --start MS --end MS] [--dry-run]

status prints the ring and every node as the asked node sees them.
ring prints the members of the ring and how much of the data each owns.
owners prints who holds a series, such as 'http_requests_total{job="api"}'.
leave drains the asked node and ends its membership: the command returns when
that is done, and the process may be stopped then.
remove takes a dead node out of the ring; others copy what it held from those
that have it. status shows how far they are.
set-replication-factor makes every sample have N copies: owners that lack some
copy them. REPLICATION_FACTOR itself is only what a cluster is founded with.
pause makes the copying of the change that is under way rest, at all nodes; resume
makes it go on.
abort takes the change of the ring that is under way back.
recover founds a ring of the nodes that the asked one reaches, when a majority is
lost for good. Acknowledged writes may be missing then, so it wants --force.
repair compares the asked node with all others now and makes them equal; with
--dry-run it only says how much differs. It happens by itself all the time, too.

Examples:
  count cluster status
  count cluster owners 'http_requests_total{job="api"}'
  count cluster repair --range 2026-01-01T00:00:00Z,2026-01-02T00:00:00Z --dry-run
  count cluster repair --start 1767225600000 --dry-run
  CLUSTER_SECRET=... count cluster leave --server http://count-4:8080

  --server URL   the node; default COUNT_SERVER, or ` + defaultServer + `
  --json         print the answer as it came
  --range        time to repair: two times with a comma or two dots (..) between
                 them, each in ms or as 2026-01-02T15:04:05Z, or left out
  --start, --end the same in ms, one by one; default everything
  --dry-run      change nothing

CLUSTER_SECRET in the environment, or the first secret of CLUSTER_SECRET_FILE, is
sent along; the requests that change something need it where the cluster has one.
It does for a password.
`,
		words: []string{"status", "ring", "owners", "leave", "remove", "set-replication-factor", "pause", "resume", "abort", "recover", "repair"},
		run:   runCluster,
		more:  reachHelp,
	}
}

// clusterStatus is what GET /cluster/status answers.
type clusterStatus struct {
	NodeID            uint64 `json:"node_id"`
	Cluster           string `json:"cluster"`
	Ring              uint64 `json:"ring"`
	ReplicationFactor int    `json:"replication_factor"`
	FoundingFactor    int    `json:"founding_factor"`
	WriteQuorum       int    `json:"write_quorum"`
	Majority          bool   `json:"majority"`
	Refilling         string `json:"refilling"`
	Refill            *struct {
		Done float64 `json:"done"`
		Left int64   `json:"seconds_left"`
	} `json:"refill"`
	Problems []string       `json:"problems"`
	Change   *clusterChange `json:"change"`
	Nodes    []struct {
		ID        uint64 `json:"id"`
		Address   string `json:"address"`
		Status    string `json:"status"`
		LastSeen  int64  `json:"last_seen"` // ms
		DataSize  int64  `json:"data_size"` // bytes
		Zone      string `json:"zone"`
		InSight   bool   `json:"in_sight"`
		Refilling bool   `json:"refilling"`
		OwedBytes int64  `json:"owed_bytes"`
	} `json:"nodes"`
}

func runCluster(ctx context.Context, c call) error {
	fs, at := newFlags(c, "cluster")
	raw := fs.Bool("json", false, "")
	var repair repairFlags
	fs.Int64Var(&repair.start, "start", 0, "")
	fs.Int64Var(&repair.end, "end", math.MaxInt64, "")
	fs.Func("range", "", repair.setRange)
	fs.BoolVar(&repair.dry, "dry-run", false, "")
	force := fs.Bool("force", false, "")
	args, err := parse(fs, c.args)
	if err != nil {
		return err
	}
	at.forNodes = true
	node, err := at.client()
	if err != nil {
		return err
	}
	switch {
	case len(args) == 1 && args[0] == "status":
	case len(args) == 1 && args[0] == "recover" && *force:
		return recoverCluster(ctx, c, node, *raw)
	case len(args) == 1 && args[0] == "recover":
		return &usageError{errors.New("recover founds a ring without the members that are not reached, and acknowledged writes may be missing then: it wants --force")}
	case len(args) == 1 && args[0] == "ring":
		return showRing(ctx, c, node, "", *raw)
	case len(args) == 2 && args[0] == "owners" && args[1] != "":
		return showRing(ctx, c, node, args[1], *raw)
	case len(args) == 1 && args[0] == "repair":
		return repairCluster(ctx, c, node, repair, *raw)
	case len(args) == 1 && slices.Contains([]string{"leave", "abort", "pause", "resume"}, args[0]), len(args) == 2 && (args[0] == "remove" || args[0] == "set-replication-factor"):
		return changeCluster(ctx, c, node, args)
	default:
		return &usageError{errors.New(`say what to do: "status", "ring", "owners SERIES", "leave", "remove NODE", "set-replication-factor N", "pause", "resume", "abort", "repair" or "recover --force"`)}
	}
	answer, err := node.do(ctx, "GET", "/cluster/status", "", nil)
	if err != nil {
		return err
	}
	var s clusterStatus
	if shown, err := showRaw(c, answer, *raw, &s); shown || err != nil {
		return err
	}
	return printCluster(c, &s)
}

// refilled says how far the refill of the asked node is, where that is known.
func (s *clusterStatus) refilled() string {
	switch {
	case s.Refill == nil:
		return ""
	case s.Refill.Left == 0:
		return fmt.Sprintf("; %.0f %% merged", 100*s.Refill.Done)
	}
	return fmt.Sprintf("; %.0f %% merged, about %s left", 100*s.Refill.Done, time.Duration(s.Refill.Left)*time.Second)
}

// showRaw prints an answer as it came, or decodes it.
func showRaw(c call, answer []byte, raw bool, into any) (shown bool, err error) {
	if raw {
		_, err := fmt.Fprint(c.stdout, string(answer))
		return true, err
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return false, fmt.Errorf("the answer is not what the API promises: %w", err)
	}
	return false, nil
}

func printCluster(c call, s *clusterStatus) error {
	fmt.Fprintf(c.stdout, "cluster %s as node %d sees it: ring %d, %d copies of which %d acknowledge, majority in sight: %v\n",
		s.Cluster, s.NodeID, s.Ring, s.ReplicationFactor, s.WriteQuorum, s.Majority)
	if s.FoundingFactor != s.ReplicationFactor && s.FoundingFactor > 0 {
		fmt.Fprintf(c.stdout, "its REPLICATION_FACTOR is %d: that is for founding a cluster only\n", s.FoundingFactor)
	}
	if s.Refilling != "" {
		fmt.Fprintf(c.stdout, "this node is refilling: %s%s\n", s.Refilling, s.refilled())
	}
	if s.Change != nil {
		printChange(c, s.Change)
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
		status := n.Status
		if n.Refilling {
			status += ", refilling"
		}
		fmt.Fprintf(table, "%d\t%s\t%s\t%v\t%s\t%d\t%d\t%s\n", n.ID, n.Address, status, n.InSight, seen, n.DataSize, n.OwedBytes, n.Zone)
	}
	return table.Flush()
}
