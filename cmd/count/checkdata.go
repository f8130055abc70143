package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/count-db/count/internal/config"
	"github.com/count-db/count/internal/node"
	"github.com/count-db/count/internal/vfs"
)

// dataDir returns the data directory that a command was given: an argument, or
// what a node would use.
func dataDir(c call, args []string) (string, error) {
	if len(args) > 1 {
		return "", &usageError{errors.New("one data directory at most")}
	}
	if len(args) == 1 {
		return args[0], nil
	}
	cfg, err := config.Load(config.Sources{Environ: c.environ})
	if err != nil {
		return "", &usageError{err}
	}
	return cfg.DataDir, nil
}

// checkData is the fsck: it reads everything in a data directory.
func checkData(_ context.Context, c call) error {
	dir, err := dataDir(c, c.args)
	if err != nil {
		return err
	}
	r, err := node.CheckData(vfs.OS(), dir)
	if err != nil {
		return fmt.Errorf("check %s: %w", dir, err)
	}
	fmt.Fprintf(c.stdout, "%s: disk %x, %d starts\n", dir, r.Identity.DiskID, r.Identity.Starts)
	fmt.Fprintf(c.stdout, "files: %d with %d samples in %d bytes\nseries in memory at a start: %d\ndeletes in force: %d\nlog: %d records\n", r.Files, r.Samples, r.Bytes, r.Series, r.Tombstones, r.LogRecords)
	printMembership(c, &r)
	if r.TornBytes > 0 {
		fmt.Fprintf(c.stdout, "note: %d bytes of unfinished records at the end of the log, never acknowledged\n", r.TornBytes)
	}
	for _, name := range slices.Sorted(slices.Values(r.Orphans)) {
		fmt.Fprintf(c.stdout, "note: %s is not in use; the next start removes it\n", name)
	}
	for _, fault := range r.Faults {
		fmt.Fprintf(c.stdout, "fault: %v\n", fault)
	}
	if len(r.Faults) > 0 {
		return fmt.Errorf("%s has %d faults", dir, len(r.Faults))
	}
	_, err = fmt.Fprintln(c.stdout, "all is whole")
	return err
}

// printMembership says what the node keeps of its cluster.
func printMembership(c call, r *node.DataReport) {
	if r.Cluster == nil {
		return
	}
	fmt.Fprintf(c.stdout, "cluster %s: node %d", r.Cluster.Cluster, r.Cluster.Node)
	if r.Cluster.Ring != nil {
		fmt.Fprintf(c.stdout, ", ring %d", r.Cluster.Ring.Number)
	}
	if s := r.Cluster.Settle; s != nil && s.Floor > 0 {
		fmt.Fprintf(c.stdout, ", settled until %s", time.UnixMicro(s.Floor.Micros()).UTC().Format(time.RFC3339))
	}
	fmt.Fprintf(c.stdout, "\nsamples in files: %d at the floor, %d settled with versions of their own, %d not settled, %d from before versions\ndeletes that are settled and not yet worked into all files: %d\n",
		r.Versions.Floor, r.Versions.Below, r.Versions.Above, r.Versions.None, r.Settled)
	for _, h := range r.Hints {
		fmt.Fprintf(c.stdout, "owed to node %d: %d samples and %d deletes in %d segments\n", h.Node, h.Samples, h.Deletes, h.Segments)
		if h.Lost > 0 {
			fmt.Fprintf(c.stdout, "note: %d bytes of them cannot be read: comparisons bring what they held\n", h.Lost)
		}
	}
}
