package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/count-db/count/engine/manifest"
	"github.com/count-db/count/internal/vfs"
)

func inspectVerb() verb {
	return verb{
		name:    "inspect",
		summary: "list what a data directory holds",
		usage: `Usage:
  count inspect [DIR]

Lists the live files of a data directory (default DATA_DIR, or ./count_data): kind, time range, samples, bytes
and bytes a sample. It changes nothing and may be used beside a running node.
`,
		run: runInspect,
	}
}

func runInspect(_ context.Context, c call) error {
	dir, err := dataDir(c, c.args)
	if err != nil {
		return err
	}
	state, faults := manifest.Check(vfs.OS(), dir)
	if state == nil {
		return fmt.Errorf("read the manifest of %s: %w", dir, errors.Join(faults...))
	}
	table := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "FILE\tKIND\tFROM\tTO\tSAMPLES\tBYTES\tB/SAMPLE\tWINDOWS TAKEN ELSEWHERE")
	var samples, bytes int64
	for i := range state.Files {
		f := &state.Files[i]
		samples, bytes = samples+f.Samples, bytes+f.Bytes
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%d\n", f.Name(), f.Kind, when(f.MinT), when(f.MaxT), f.Samples, f.Bytes, perSample(f.Bytes, f.Samples), f.SealedOut.Len())
	}
	fmt.Fprintf(table, "%d files\t\t\t\t%d\t%d\t%s\t\n", len(state.Files), samples, bytes, perSample(bytes, samples))
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "the log counts from segment %d on\n", state.LogFrom)
	for _, fault := range faults {
		fmt.Fprintf(c.stdout, "fault: %v\n", fault)
	}
	return errors.Join(faults...)
}

func when(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05Z") }

func perSample(bytes, samples int64) string {
	if samples == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(bytes)/float64(samples))
}
