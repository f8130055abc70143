package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Plan is a whole comparison: load, count, ask, compare.
type Plan struct {
	Set      DataSet
	Protocol Protocol
	Senders  int
	Write    WriteOptions
	Query    QueryOptions
	// Comparisons is the number of questions of each class whose answers are
	// compared.
	Comparisons int
}

// RunPeers starts Count and its peers, gives all of them the same data, asks them
// the same questions and prints the tables to w.
func RunPeers(ctx context.Context, peers Peers, plan Plan, w io.Writer) (err error) {
	fmt.Fprintf(w, "data set %v\n%v\n", plan.Set, plan.Set.Describe())
	load := Encode(plan.Set, plan.Protocol, plan.Senders)
	fmt.Fprintf(w, "remote write %d.0, %d senders, %.1f B a sample on the wire\n\n",
		plan.Protocol, len(load.senders), ratio(float64(load.Bytes), float64(plan.Set.Samples())))
	running, err := startAll(ctx, peers, w)
	defer func() {
		for _, p := range running {
			err = errors.Join(err, p.Stop())
		}
	}()
	if err != nil {
		return err
	}
	if err := writeAll(ctx, running, load, plan, w); err != nil {
		return err
	}
	return askAll(ctx, running, plan, w)
}

func startAll(ctx context.Context, peers Peers, w io.Writer) ([]*Process, error) {
	var running []*Process
	for _, p := range []struct {
		name, binary string
		start        func(context.Context) (*Process, error)
	}{
		{"prometheus", peers.Prometheus, peers.StartPrometheus},
		{"victoria-metrics", peers.VictoriaMetrics, peers.StartVictoriaMetrics},
		{"count", peers.Count, peers.StartCount},
		{"a cluster of count", peers.clusterBinary(), func(ctx context.Context) (*Process, error) {
			return peers.StartCluster(ctx, peers.Nodes, peers.Replication, nil)
		}},
		{"a cluster of count with TLS", peers.encryptedBinary(), peers.startEncrypted},
	} {
		if p.binary == "" {
			fmt.Fprintf(w, "%s: left out\n", p.name)
			continue
		}
		process, err := p.start(ctx)
		if err != nil {
			return running, err
		}
		running = append(running, process)
	}
	return running, nil
}

func writeAll(ctx context.Context, running []*Process, load *Load, plan Plan, w io.Writer) error {
	var writes []WriteResult
	for _, p := range running {
		r, err := Write(ctx, p.Target, load, plan.Write)
		if err != nil {
			return err
		}
		if err := p.FlushAll(ctx); err != nil {
			return err
		}
		if r.Disk, err = p.Disk(); err != nil {
			return err
		}
		writes = append(writes, r)
	}
	if err := PrintWrites(w, plan.Set, writes); err != nil {
		return err
	}
	fmt.Fprintln(w)
	for _, p := range running {
		n, err := CountSamples(ctx, p.Target, plan.Set)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s holds %d of %d samples\n", p.Name, n, plan.Set.Samples())
	}
	fmt.Fprintln(w)
	return nil
}

func askAll(ctx context.Context, running []*Process, plan Plan, w io.Writer) error {
	var queries []QueriesOf
	for _, p := range running {
		results, err := Query(ctx, p.Target, plan.Set, plan.Query)
		if err != nil {
			return err
		}
		queries = append(queries, QueriesOf{p.Name, results})
	}
	if err := PrintQueries(w, queries); err != nil {
		return err
	}
	if len(running) == 0 || plan.Comparisons == 0 {
		return nil
	}
	// The first is Prometheus where it takes part: by definition it is right.
	for _, p := range running[1:] {
		results, err := Compare(ctx, p.Target, running[0].Target, plan.Set, plan.Comparisons, plan.Query.Only)
		if err != nil {
			return err
		}
		fmt.Fprintln(w)
		if err := PrintCompare(w, p.Name, running[0].Name, results); err != nil {
			return err
		}
	}
	return nil
}
