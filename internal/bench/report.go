package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

const mib = 1 << 20

// PrintWrites prints what loading cost, with ratios to the first target's
// samples per CPU second.
func PrintWrites(w io.Writer, set DataSet, results []WriteResult) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(tw, "target\tsamples/s\tCPU s\tsamples per CPU s\tratio\tp50 ms\tp99 ms\tpeak RSS MiB\tanonymous MiB\tdisk B/sample\twithout logs\trequests\tretries\tflushes\t\n")
	for _, r := range results {
		fmt.Fprintf(tw, "%s\t%.0f\t%.2f\t%.0f\t%.2f\t%.2f\t%.1f\t%d\t%d\t%.2f\t%.2f\t%d\t%d\t%d\t\n",
			r.Target, ratio(float64(r.Samples), r.Wall.Seconds()), r.CPU, r.PerCPUSecond(), ratio(r.PerCPUSecond(), results[0].PerCPUSecond()),
			millis(r.P50), millis(r.P99), r.Peak.RSS/mib, r.Peak.Anonymous/mib, ratio(float64(r.Disk.All), float64(set.Samples())),
			ratio(float64(r.Disk.Lasting), float64(set.Samples())),
			r.Requests, r.Retries, r.Flushes)
	}
	return tw.Flush()
}

// QueriesOf are the results of one target.
type QueriesOf struct {
	Target  string
	Results []QueryResult
}

// PrintQueries prints CPU milliseconds a question and latencies (median / p99 in
// ms), a column a target, and the ratio of CPU times to those of the first.
func PrintQueries(w io.Writer, all []QueriesOf) error {
	if len(all) == 0 {
		return nil
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(tw, "class\t")
	for i, t := range all {
		fmt.Fprintf(tw, "%s CPU ms\tp50 / p99 ms\t", t.Target)
		if i > 0 {
			fmt.Fprintf(tw, "ratio\t")
		}
	}
	fmt.Fprintln(tw)
	for row, first := range all[0].Results {
		fmt.Fprintf(tw, "%s\t", first.Class)
		for i, t := range all {
			if row >= len(t.Results) {
				continue
			}
			r := t.Results[row]
			fmt.Fprintf(tw, "%.2f\t%.2f / %.2f\t", r.CPU, millis(r.P50), millis(r.P99))
			if i > 0 {
				fmt.Fprintf(tw, "%.2f\t", ratio(r.CPU, first.CPU))
			}
		}
		fmt.Fprintln(tw)
	}
	return tw.Flush()
}

// PrintCompare prints where a target's answers differ from the reference's.
func PrintCompare(w io.Writer, target, reference string, results []CompareResult) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "%s against %s\tasked\tdifferent\tpoints\tlargest relative difference\n", target, reference)
	for _, r := range results {
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%.1e\n", r.Class, r.Asked, r.Different, r.Points, r.Worst)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, r := range results {
		if r.Example != "" {
			fmt.Fprintf(w, "  %s: %s\n", r.Class, r.Example)
		}
	}
	return nil
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
