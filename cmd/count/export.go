package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/count-db/count/internal/interchange"
	"github.com/count-db/count/internal/transfer"
)

func exportVerb() verb {
	return verb{
		name:    "export",
		summary: "write the samples of a node or cluster into a file",
		usage: `Usage:
  count export [--server URL] [--form FORM] [--start T] [--end T] [-o FILE] [SELECTOR]

Reads all samples that a PromQL selector names (default: everything) by remote
read and writes them to the standard output, or to a file or directory.

  jsonl        lines of runs, the default. Exact: every bit of every value,
               native histograms and stale markers
  csv          rows of series, timestamp (ms), value; without histograms
  openmetrics  text that promtool and others read; without histograms and
               stale markers
  blocks       blocks of Prometheus's TSDB of two hours each, below -o DIR: copy
               them into the data directory of a Prometheus. Wants --start

What a form cannot say is left out, and counted at the end. The export holds
little in memory, however much there is (blocks: two hours of samples).

Examples:
  count export > everything.jsonl
  count export '{job="node"}' --start 24h --form csv -o node.csv
  count export up --form openmetrics | promtool tsdb create-blocks-from openmetrics /dev/stdin blocks
  count export --form blocks --start 2026-01-01T00:00:00Z -o blocks

  --server URL       the node; default COUNT_SERVER, or ` + defaultServer + `
  --form FORM        jsonl, csv, openmetrics or blocks; default: by the name of -o, else jsonl
  --start T, --end T seconds since 1970, a time, or a duration before now; default: everything
  -o FILE            where to; default: the standard output
  --consistency      one, quorum or all; default quorum
  --patience D       how long the node may be busy or away; default 10m
`,
		run:  runExport,
		more: reachHelp,
	}
}

// exportCall is a parsed call of the verb.
type exportCall struct {
	node   *transfer.Node
	form   interchange.Form
	sel    transfer.Selection
	output string
	out    io.Writer
	notes  io.Writer
}

func runExport(ctx context.Context, c call) error {
	fs, at := newFlags(c, "export")
	form, output := fs.String("form", "", ""), fs.String("o", "", "")
	start, end := fs.String("start", "", ""), fs.String("end", "", "")
	consistency, patience := fs.String("consistency", "", ""), fs.String("patience", transfer.DefaultPatience.String(), "")
	args, err := parse(fs, c.args)
	if err != nil {
		return err
	}
	ec := &exportCall{output: *output, out: c.stdout, notes: c.stderr}
	if ec.node, err = transferNode(at, *patience, 1); err != nil {
		return err
	}
	ec.node.Consistency = *consistency
	if ec.sel, err = parseSelection(args, *start, *end); err != nil {
		return &usageError{err}
	}
	if ec.form, err = exportForm(*form, *output); err != nil {
		return &usageError{err}
	}
	if ec.form == interchange.Blocks {
		if *output == "" || *start == "" {
			return &usageError{errors.New("blocks want a directory (-o DIR) and a time to begin at (--start)")}
		}
		return ec.blocks(ctx)
	}
	return ec.text(ctx)
}

func exportForm(form, output string) (interchange.Form, error) {
	if form != "" {
		return interchange.ParseForm(form)
	}
	if f, ok := interchange.FormOf(output); ok {
		return f, nil
	}
	return interchange.JSONLines, nil
}

// maxTime is the latest time that is asked for, in ms: the year 9999.
const maxTime = 253402300799999

func parseSelection(args []string, start, end string) (transfer.Selection, error) {
	sel := transfer.Selection{MinT: 0, MaxT: maxTime}
	if len(args) > 1 {
		return sel, errors.New("one selector at most (in quotes)")
	}
	if len(args) == 1 {
		ms, err := parser.NewParser(parser.Options{}).ParseMetricSelector(args[0])
		if err != nil {
			return sel, fmt.Errorf("selector: %w", err)
		}
		sel.Matchers = ms
	}
	now := time.Now()
	for _, t := range []struct {
		name, text string
		to         *int64
	}{{"start", start, &sel.MinT}, {"end", end, &sel.MaxT}} {
		if t.text == "" {
			continue
		}
		at, err := parseWhen(t.text, now)
		if err != nil {
			return sel, fmt.Errorf("%s: %w", t.name, err)
		}
		*t.to = at.UnixMilli()
	}
	if sel.MinT > sel.MaxT {
		return sel, errors.New("it ends before it starts")
	}
	return sel, nil
}

// text exports a form of text.
func (ec *exportCall) text(ctx context.Context) (err error) {
	out := ec.out
	if ec.output != "" {
		f, err := os.Create(ec.output)
		if err != nil {
			return err
		}
		defer func() {
			if closeErr := f.Close(); err == nil && closeErr != nil {
				err = fmt.Errorf("close %s: %w", ec.output, closeErr)
			}
		}()
		out = f
	}
	buffered := bufio.NewWriterSize(out, 1<<20)
	w, err := interchange.NewWriter(ec.form, buffered)
	if err != nil {
		return err
	}
	run := ec.begin()
	err = transfer.Export(ctx, ec.node, ec.sel, w, &run.progress, run.names)
	run.bar.end()
	if err != nil {
		return errors.Join(err, buffered.Flush())
	}
	if err := errors.Join(w.Close(), buffered.Flush()); err != nil {
		return err
	}
	run.finish(ec.notes, w.Lost())
	return nil
}

// blocks exports a block for each two hours.
func (ec *exportCall) blocks(ctx context.Context) error {
	if err := os.MkdirAll(ec.output, 0o755); err != nil {
		return err
	}
	span := interchange.BlockSpan.Milliseconds()
	ec.sel.MaxT = min(ec.sel.MaxT, time.Now().Add(time.Hour).UnixMilli())
	run := ec.begin()
	var lost interchange.Losses
	first, last := ec.sel.MinT/span, ec.sel.MaxT/span
	for window := first; window <= last; window++ {
		run.part.Store(window - first)
		run.all.Store(last - first + 1)
		sel := ec.sel
		sel.MinT, sel.MaxT = max(sel.MinT, window*span), min(sel.MaxT, (window+1)*span-1)
		w, err := interchange.NewBlockWriter(ec.output)
		if err == nil {
			err = ec.window(ctx, sel, w, run)
			err = errors.Join(err, w.Close())
		}
		if err != nil {
			run.bar.end()
			return err
		}
		lost.Add(w.Lost())
	}
	run.bar.end()
	run.finish(ec.notes, lost)
	return nil
}

// window reads one window whole: its order does not matter to a block.
func (ec *exportCall) window(ctx context.Context, sel transfer.Selection, w interchange.Writer, run *exportRun) error {
	ms := sel.Matchers
	if len(ms) == 0 {
		ms = []*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, labels.MetricName, ".*")}
	}
	return ec.node.Read(ctx, sel.MinT, sel.MaxT, ms, func(s *interchange.Series) error {
		run.progress.Samples.Add(uint64(s.Samples()))
		return w.Write(s)
	})
}

// exportRun is an export at work.
type exportRun struct {
	progress  transfer.Progress
	part, all atomic.Int64 // metrics, or windows
	began     time.Time
	bar       *bar
}

func (ec *exportCall) begin() *exportRun {
	r := &exportRun{began: time.Now()}
	r.bar = newBar(ec.notes, func() (float64, string) {
		n, all := r.progress.Samples.Load(), r.all.Load()
		part := -1.0
		if all > 0 {
			part = float64(r.part.Load()) / float64(all)
		}
		return part, fmt.Sprintf("%s samples, %s", humanCount(float64(n)), perSecond(n, time.Since(r.began)))
	})
	ec.node.Notice = r.bar.note
	return r
}

func (r *exportRun) names(done, all int) {
	r.part.Store(int64(done))
	r.all.Store(int64(all))
}

func (r *exportRun) finish(notes io.Writer, lost interchange.Losses) {
	n := r.progress.Samples.Load()
	took := time.Since(r.began)
	fmt.Fprintf(notes, "%d samples in %v (%s)\n", n, took.Round(time.Millisecond), perSecond(n, took))
	if text := lost.String(); text != "" {
		fmt.Fprintf(notes, "note: the form cannot express %s: they were left out\n", text)
	}
}
