package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// noteAfter is after how long a command that has no answer yet says what it waits
// for.
const noteAfter = 10 * time.Second

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
	note := time.AfterFunc(noteAfter, func() {
		fmt.Fprintln(c.stderr, "note: it takes as long as the data needs to move; \"count cluster status\" says how far it is")
	})
	answer, err := node.patiently(ctx, "POST", path, "", nil)
	note.Stop()
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

// clusterChange is a change of the ring in the status.
type clusterChange struct {
	Stage    string   `json:"stage"`
	Progress float64  `json:"progress"`
	Left     int64    `json:"seconds_left"`
	Paused   bool     `json:"paused"`
	Factor   int      `json:"to_replication_factor"`
	Joining  []uint64 `json:"joining"`
	Leaving  []uint64 `json:"leaving"`
	Lost     []uint64 `json:"lost"`
	Waiting  []uint64 `json:"waiting"`
	Copying  []uint64 `json:"copying"`
	Problem  string   `json:"problem"`
}

// stageWanted is what the status calls a change that is not agreed on yet.
const stageWanted = "wanted"

// printChange says how far a change of the ring is.
func printChange(c call, ch *clusterChange) {
	if ch.Stage != stageWanted {
		left := ""
		switch {
		case ch.Paused:
			left = "; paused"
		case ch.Left > 0:
			left = fmt.Sprintf(", about %s left", time.Duration(ch.Left)*time.Second)
		}
		fmt.Fprintf(c.stdout, "the ring changes: %s, %.0f %% copied%s\n", ch.Stage, 100*ch.Progress, left)
		for _, l := range []struct {
			what  string
			nodes []uint64
		}{{"joining", ch.Joining}, {"leaving", ch.Leaving}, {"lost", ch.Lost}, {"copying", ch.Copying}, {"not reached yet", ch.Waiting}} {
			if len(l.nodes) > 0 {
				fmt.Fprintf(c.stdout, "  %s: %v\n", l.what, l.nodes)
			}
		}
	}
	if ch.Factor > 0 {
		fmt.Fprintf(c.stdout, "the replication factor becomes %d\n", ch.Factor)
	}
	if ch.Problem != "" {
		fmt.Fprintf(c.stdout, "problem of the change: %s\n", ch.Problem)
	}
}

type repairFlags struct {
	start, end int64 // ms
	dry        bool
}

// setRange takes START,END or START..END, each a time or nothing.
func (f *repairFlags) setRange(text string) error {
	from, to, ok := strings.Cut(text, "..")
	if !ok {
		from, to, ok = strings.Cut(text, ",")
	}
	if !ok {
		return fmt.Errorf("%q is not START,END", text)
	}
	for _, one := range []struct {
		text string
		to   *int64
	}{{from, &f.start}, {to, &f.end}} {
		if one.text == "" {
			continue
		}
		ms, err := strconv.ParseInt(one.text, 10, 64)
		if err != nil {
			at, timeErr := time.Parse(time.RFC3339, one.text)
			if timeErr != nil {
				return fmt.Errorf("%q is neither a time in ms nor one like 2026-01-02T15:04:05Z", one.text)
			}
			ms = at.UnixMilli()
		}
		*one.to = ms
	}
	if f.start < 0 || f.start > f.end {
		return fmt.Errorf("%q is no range of time", text)
	}
	return nil
}

// repairCluster has a node compare with all others.
func repairCluster(ctx context.Context, c call, node *client, f repairFlags, raw bool) error {
	answer, err := node.patiently(ctx, "POST", fmt.Sprintf("/cluster/repair?start=%d&end=%d&dry_run=%v", f.start, f.end, f.dry), "", nil)
	if err != nil {
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
	if shown, err := showRaw(c, answer, raw, &done); shown || err != nil {
		return err
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
	var done struct {
		Ring    uint64   `json:"ring"`
		Members []uint64 `json:"members"`
		Lost    []uint64 `json:"lost"`
		Missing float64  `json:"possibly_missing_share"`
	}
	if shown, err := showRaw(c, answer, raw, &done); shown || err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.stdout, "ring %d of nodes %v; lost are %v; of %.0f %% of the series acknowledged writes may be missing\n",
		done.Ring, done.Members, done.Lost, 100*done.Missing)
	return err
}
