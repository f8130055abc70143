package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/count-db/count/internal/bench"
)

func benchVerb() verb {
	return verb{
		name:    "bench",
		summary: "load servers with data like node_exporter's and measure what it costs them",
		usage: `Usage:
  count bench data    [DATA FLAGS]                 what the data looks like
  count bench write   --target T... [FLAGS]        load it by remote write
  count bench insert  --target T... [FLAGS]        write single samples by POST /insert
  count bench query   --target T... [FLAGS]        ask the questions of dashboards, one at a time
  count bench compare --target T... --reference T  compare answers point by point
  count bench peers   [FLAGS]                      all of it: starts Count, Prometheus and VictoriaMetrics on loopback

A target is name=N,url=URL with any of pid=P (CPU time and memory of that process count; may be repeated),
data=DIR (its size counts), flush=PATH and flush-rounds=N (POST there after each N scrapes and at the end),
param=NAME=VALUE (added to each query), ca-file=PEM (CAs to trust), write-url=URL and query-url=URL where they
differ.
Write, query and compare must get the same data flags, --end among them.

Examples:
  count bench peers --set A --scale 0.1
  count bench write --target name=count,url=http://127.0.0.1:8080,pid=1234,data=count_data --end 1700000000

Data flags:
  --set A|B          A: 10,000 series for 6 h; B: 50,000 series for 1 h (A)
  --scale X          multiplies the number of series (1)
  --hours X          for how long they are scraped, instead of the set's
  --jitter D         how much a scrape is early or late (20ms)
  --end UNIX         time of the last scrape, in seconds; default: now
  --seed N           everything follows from it (1)
Flags of write:
  --protocol 1|2     version of remote write (1)
  --senders N        concurrent connections (4)
  --settle D         how long after the last answer CPU time still counts (10s)
  --max-ahead N      by how many scrapes a sender may be ahead of the slowest (4)
  --rate N           samples a second at most (as many as the target takes)
Flags of insert:
  --clients N        at once (16)
  --duration D       for how long (10s)
  --rate N           inserts a second at most (as many as the target takes)
  --each FILE        append a line for each: when it was due (Unix seconds), how many ms it took
Flags of query and compare:
  --class NAME       only this one
  --queries N        of each class at most (200)
  --time D           for each class at most (3s)
  --comparisons N    questions of each class to compare (5)
Flags of peers:
  --prometheus BIN, --victoria-metrics BIN   default: PROMETHEUS_BIN, VICTORIA_METRICS_BIN; left out when not set
  --count BIN                                default: this one
  --nodes N, --rf N                          measure a cluster of N nodes too, with so many copies (none, 3)
  --tls                                      and one more such cluster, over TLS
  --dir DIR          for data and logs; default: a temporary one, removed at the end
`,
		words: []string{"data", "write", "insert", "query", "compare", "peers"},
		run:   runBench,
		more: func(w io.Writer) {
			fmt.Fprintf(w, "\nClasses of questions: %s\n", strings.Join(bench.Classes(), ", "))
		},
	}
}

// benchCall is a parsed call of the verb.
type benchCall struct {
	plan      bench.Plan
	targets   []bench.Target
	reference *bench.Target
	peers     bench.Peers
	insert    bench.InsertOptions
	each      string // file for a line a write
}

func runBench(ctx context.Context, c call) error {
	if len(c.args) == 0 {
		return &usageError{errors.New("say what: data, write, insert, query, compare or peers")}
	}
	what := c.args[0]
	runs := map[string]func(context.Context, call, *benchCall) error{
		"data": benchData, "write": benchWrite, "insert": benchInsert, "query": benchQuery, "compare": benchCompare, "peers": benchPeers,
	}
	run := runs[what]
	if run == nil {
		return &usageError{fmt.Errorf("unknown %q: there are data, write, insert, query, compare and peers", what)}
	}
	b, err := parseBench(c, what)
	if err != nil {
		return err
	}
	return run(ctx, c, b)
}

func parseBench(c call, what string) (*benchCall, error) {
	b := &benchCall{}
	fs := flag.NewFlagSet("bench "+what, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	data := dataFlags(fs)
	protocol := fs.Int("protocol", 1, "")
	fs.IntVar(&b.plan.Senders, "senders", 4, "")
	fs.DurationVar(&b.plan.Write.Settle, "settle", 10*time.Second, "")
	fs.IntVar(&b.plan.Write.MaxAhead, "max-ahead", 4, "")
	rate := fs.Float64("rate", 0, "")
	fs.IntVar(&b.insert.Clients, "clients", 16, "")
	fs.DurationVar(&b.insert.Duration, "duration", 10*time.Second, "")
	fs.StringVar(&b.each, "each", "", "")
	fs.StringVar(&b.plan.Query.Only, "class", "", "")
	fs.IntVar(&b.plan.Query.MaxQueries, "queries", 200, "")
	fs.DurationVar(&b.plan.Query.MaxTime, "time", 3*time.Second, "")
	fs.IntVar(&b.plan.Comparisons, "comparisons", 5, "")
	fs.Func("target", "", func(text string) error {
		t, err := bench.ParseTarget(text)
		b.targets = append(b.targets, t)
		return err
	})
	fs.Func("reference", "", func(text string) error {
		t, err := bench.ParseTarget(text)
		b.reference = &t
		return err
	})
	fs.StringVar(&b.peers.Prometheus, "prometheus", lookup(c.environ, "PROMETHEUS_BIN"), "")
	fs.StringVar(&b.peers.VictoriaMetrics, "victoria-metrics", lookup(c.environ, "VICTORIA_METRICS_BIN"), "")
	fs.StringVar(&b.peers.Count, "count", "", "")
	fs.IntVar(&b.peers.Nodes, "nodes", 0, "")
	fs.IntVar(&b.peers.Replication, "rf", 3, "")
	fs.BoolVar(&b.peers.TLS, "tls", false, "")
	fs.StringVar(&b.peers.Dir, "dir", "", "")
	if err := fs.Parse(c.args[1:]); err != nil {
		return nil, &usageError{err}
	}
	if fs.NArg() > 0 {
		return nil, &usageError{fmt.Errorf("unexpected argument %q", fs.Arg(0))}
	}
	var err error
	if b.plan.Set, err = data(); err != nil {
		return nil, &usageError{err}
	}
	b.plan.Protocol = bench.Protocol(*protocol)
	b.plan.Write.Rate, b.insert.Rate = *rate, *rate
	return b, b.check(what)
}

// dataFlags declares the flags of the data set and returns what makes it of them.
func dataFlags(fs *flag.FlagSet) func() (bench.DataSet, error) {
	name := fs.String("set", "A", "")
	scale := fs.Float64("scale", 1, "")
	hours := fs.Float64("hours", 0, "")
	jitter := fs.Duration("jitter", 20*time.Millisecond, "")
	end := fs.Int64("end", 0, "")
	seed := fs.Uint64("seed", 1, "")
	return func() (bench.DataSet, error) {
		last := time.Now()
		if *end != 0 {
			last = time.Unix(*end, 0)
		}
		set, err := bench.NamedSet(*name, *scale, last)
		if err != nil {
			return set, err
		}
		if *hours != 0 {
			set.Span = time.Duration(*hours * float64(time.Hour)).Truncate(bench.Step)
		}
		if set.Span < time.Minute || *jitter < 0 || *jitter > bench.Step/3 {
			return set, fmt.Errorf("a span of %v or a jitter of %v makes no data set", set.Span, *jitter)
		}
		set.Jitter, set.Seed = *jitter, *seed
		return set, nil
	}
}

// check says what is wrong with the flags taken together.
func (b *benchCall) check(what string) error {
	p := b.plan
	switch {
	case p.Protocol != bench.V1 && p.Protocol != bench.V2:
		return &usageError{errors.New("--protocol is 1 or 2")}
	case p.Senders < 1 || b.insert.Clients < 1 || p.Query.MaxQueries < 1 || p.Comparisons < 0:
		return &usageError{errors.New("--senders, --clients, --queries and --comparisons are positive numbers")}
	case b.insert.Rate < 0:
		return &usageError{errors.New("--rate is a positive number, or 0 for as many as the target takes")}
	case p.Query.Only != "" && !slices.Contains(bench.Classes(), p.Query.Only):
		return &usageError{fmt.Errorf("unknown class %q: there are %s", p.Query.Only, strings.Join(bench.Classes(), ", "))}
	case what != "data" && what != "peers" && len(b.targets) == 0:
		return &usageError{errors.New("--target is needed")}
	case what == "compare" && b.reference == nil:
		return &usageError{errors.New("--reference is needed")}
	}
	return nil
}

// lookup returns a variable of the environment.
func lookup(environ []string, name string) string {
	for _, e := range environ {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value
		}
	}
	return ""
}

func benchData(_ context.Context, c call, b *benchCall) error {
	load := bench.Encode(b.plan.Set, b.plan.Protocol, b.plan.Senders)
	_, err := fmt.Fprintf(c.stdout, "%v\n%v\n%.1f B a sample on the wire, remote write %d.0\n",
		b.plan.Set, b.plan.Set.Describe(), float64(load.Bytes)/float64(b.plan.Set.Samples()), b.plan.Protocol)
	return err
}

func benchWrite(ctx context.Context, c call, b *benchCall) error {
	load := bench.Encode(b.plan.Set, b.plan.Protocol, b.plan.Senders)
	fmt.Fprintf(c.stdout, "%v, last scrape at %d\n", b.plan.Set, b.plan.Set.End.Unix())
	var results []bench.WriteResult
	for _, t := range b.targets {
		r, err := bench.Write(ctx, t, load, b.plan.Write)
		if err != nil {
			return err
		}
		results = append(results, r)
	}
	return bench.PrintWrites(c.stdout, b.plan.Set, results)
}

func benchInsert(ctx context.Context, c call, b *benchCall) (err error) {
	if b.each != "" {
		f, openErr := os.OpenFile(b.each, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if openErr != nil {
			return openErr
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		b.insert.Each = f
	}
	var results []bench.InsertResult
	for _, t := range b.targets {
		r, err := bench.Insert(ctx, t, b.insert)
		if err != nil {
			return err
		}
		results = append(results, r)
	}
	return bench.PrintInserts(c.stdout, results)
}

func benchQuery(ctx context.Context, c call, b *benchCall) error {
	var all []bench.QueriesOf
	for _, t := range b.targets {
		results, err := bench.Query(ctx, t, b.plan.Set, b.plan.Query)
		if err != nil {
			return err
		}
		all = append(all, bench.QueriesOf{Target: t.Name, Results: results})
	}
	return bench.PrintQueries(c.stdout, all)
}

// errDifferent is returned when answers differ, so that scripts see it.
var errDifferent = errors.New("answers differ")

func benchCompare(ctx context.Context, c call, b *benchCall) error {
	different := 0
	for _, t := range b.targets {
		results, err := bench.Compare(ctx, t, *b.reference, b.plan.Set, b.plan.Comparisons, b.plan.Query.Only)
		if err != nil {
			return err
		}
		for _, r := range results {
			different += r.Different
		}
		if err := bench.PrintCompare(c.stdout, t.Name, b.reference.Name, results); err != nil {
			return err
		}
	}
	if different > 0 {
		return fmt.Errorf("%w: %d of them", errDifferent, different)
	}
	return nil
}

func benchPeers(ctx context.Context, c call, b *benchCall) (err error) {
	if b.peers.Count == "" {
		if b.peers.Count, err = os.Executable(); err != nil {
			return fmt.Errorf("find this binary: %w", err)
		}
	}
	if b.peers.Dir == "" {
		dir, err := os.MkdirTemp("", "count-bench-*")
		if err != nil {
			return fmt.Errorf("make a folder for data: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		b.peers.Dir = dir
	}
	if b.peers.Dir, err = filepath.Abs(b.peers.Dir); err != nil {
		return fmt.Errorf("folder for data: %w", err)
	}
	return bench.RunPeers(ctx, b.peers, b.plan, c.stdout)
}
