package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/count-db/count/internal/config"
	"github.com/count-db/count/internal/interchange"
	"github.com/count-db/count/internal/transfer"
)

func importVerb() verb {
	return verb{
		name:    "import",
		summary: "write the samples of files into a node or cluster",
		usage: `Usage:
  count import [--server URL] [--form FORM] FILE|DIR|-...

Reads samples and writes them by remote write 2.0. The form is known from the
name, or said:

  blocks       a directory: a block of Prometheus's TSDB, or what holds blocks,
               such as a snapshot or the data directory of a Prometheus that does
               not run (its write-ahead log is read, too). Exact: stale markers,
               native histograms, start timestamps
  openmetrics  text (.om .prom .txt); every sample needs a timestamp, the last
               line is # EOF. Types, help and exemplars are taken along
  jsonl        lines (.jsonl .ndjson .json), each a run of samples:
               {"metric":{"__name__":"up","job":"a"},"values":[1,0],"timestamps":[1700000000000,1700000015000]}
               or one, as POST /insert takes it: {"series":"up","timestamp":1700000000000,"value":1}
  csv          rows (.csv); the first names the columns: timestamp (ms or RFC
               3339), value, and series (a key) or __name__; others are labels

A file may be larger than memory. While the node is busy or away the import
waits, for --patience at most. It can be repeated as often as one likes: samples
that are there are written again with the same value. With --resume FILE it notes
there how far it is, and goes on there the next time.

Examples:
  count import /var/lib/prometheus/snapshots/20260102T150405Z-1a2b3c
  count import metrics.om more.csv --server http://count:8080
  zcat dump.jsonl.gz | count import --form jsonl -
  count import huge.jsonl --resume huge.state

  --server URL    the node; default COUNT_SERVER, or ` + defaultServer + `
  --form FORM     blocks, openmetrics, jsonl or csv
  --senders N     requests at once; default 4
  --patience D    how long the node may be busy or away; default 10m
  --keep-going    count what the node refuses as wrong, and go on
  --resume FILE   note there how far the import is, and go on there
`,
		run:  runImport,
		more: reachHelp,
	}
}

// importCall is a parsed call of the verb.
type importCall struct {
	node  *transfer.Node
	form  interchange.Form // empty: by the name
	opts  transfer.ImportOptions
	state *resumeState // nil: not kept
	stdin io.Reader
	notes io.Writer
}

func runImport(ctx context.Context, c call) error {
	fs, at := newFlags(c, "import")
	form, resume := fs.String("form", "", ""), fs.String("resume", "", "")
	senders := fs.Int("senders", transfer.DefaultSenders, "")
	patience := fs.String("patience", transfer.DefaultPatience.String(), "")
	keepGoing := fs.Bool("keep-going", false, "")
	args, err := parse(fs, c.args)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		return &usageError{errors.New("say what to import: files, directories, or - for the standard input")}
	}
	ic := &importCall{opts: transfer.ImportOptions{Senders: *senders, KeepGoing: *keepGoing}, stdin: c.stdin, notes: c.stderr}
	if *senders < 1 {
		return &usageError{errors.New("--senders is a positive number")}
	}
	if *form != "" {
		if ic.form, err = interchange.ParseForm(*form); err != nil {
			return &usageError{err}
		}
	}
	if ic.node, err = transferNode(at, *patience, *senders); err != nil {
		return err
	}
	if *resume != "" {
		if ic.state, err = openResumeState(*resume); err != nil {
			return err
		}
	}
	for _, source := range args {
		if err := ic.source(ctx, source); err != nil {
			return fmt.Errorf("%s: %w", source, err)
		}
	}
	return nil
}

// transferNode returns the node of a transfer.
func transferNode(at *reach, patience string, conns int) (*transfer.Node, error) {
	at.idleConns, at.answer = conns, clientTimeout
	c, err := at.client()
	if err != nil {
		return nil, err
	}
	d, err := config.ParseDuration(patience)
	if err != nil || d <= 0 {
		return nil, &usageError{fmt.Errorf("patience %q is not a duration", patience)}
	}
	return &transfer.Node{URL: c.base, Patience: d, Client: c.http}, nil
}

// source imports one argument.
func (ic *importCall) source(ctx context.Context, name string) error {
	if name == "-" {
		if ic.form == "" || ic.form == interchange.Blocks {
			return &usageError{errors.New("say what the standard input is: --form openmetrics, jsonl or csv")}
		}
		return ic.text(ctx, name, ic.form, ic.stdin, 0)
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if info.IsDir() {
		if ic.form != "" && ic.form != interchange.Blocks {
			return &usageError{fmt.Errorf("a directory holds blocks, not %s", ic.form)}
		}
		return ic.blocks(ctx, name)
	}
	form := ic.form
	if form == "" {
		var ok bool
		if form, ok = interchange.FormOf(name); !ok {
			return &usageError{errors.New("its name does not say what it is: give --form")}
		}
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(ic.text(ctx, name, form, f, info.Size()), f.Close())
}

// text imports a source of text; size is 0 when it is not known.
func (ic *importCall) text(ctx context.Context, name string, form interchange.Form, source io.Reader, size int64) error {
	key := name
	if name != "-" {
		var err error
		if key, err = filepath.Abs(name); err != nil {
			return err
		}
	}
	from := int64(0)
	if name != "-" {
		from = ic.state.offset(key)
	}
	r, err := interchange.NewReader(form, source, from)
	if err != nil {
		return err
	}
	return ic.run(ctx, key, r, from, func(p *transfer.Progress) (float64, string) {
		if size == 0 {
			return -1, ""
		}
		done := max(p.Offset.Load(), from)
		return float64(done) / float64(size), fmt.Sprintf("%s of %s", humanBytes(done), humanBytes(size))
	})
}

// blocks imports the blocks in a directory, and what is only in the log.
func (ic *importCall) blocks(ctx context.Context, dir string) (err error) {
	blocks, wal, err := interchange.FindBlocks(dir)
	if err != nil {
		return err
	}
	if len(blocks) == 0 && !wal {
		return &usageError{errors.New("there are no blocks in it")}
	}
	for i, b := range blocks {
		if err := ic.block(ctx, b, fmt.Sprintf("block %d of %d", i+1, len(blocks))); err != nil {
			return fmt.Errorf("block %s: %w", filepath.Base(b.Dir), err)
		}
	}
	if !wal {
		return nil
	}
	scratch, err := os.MkdirTemp("", "count-import-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	if err := interchange.FlushLog(dir, scratch); err != nil {
		return err
	}
	if blocks, _, err = interchange.FindBlocks(scratch); err != nil {
		return err
	}
	for _, b := range blocks {
		if err := ic.block(ctx, b, "the log"); err != nil {
			return fmt.Errorf("write-ahead log: %w", err)
		}
	}
	return nil
}

func (ic *importCall) block(ctx context.Context, b interchange.Block, what string) error {
	key, err := filepath.Abs(b.Dir)
	if err != nil {
		return err
	}
	from := ic.state.offset(key)
	r, err := interchange.NewBlockReader(b.Dir, from)
	if err != nil {
		return err
	}
	return ic.run(ctx, key, r, from, func(p *transfer.Progress) (float64, string) {
		done := max(p.Offset.Load(), from)
		return float64(done) / float64(max(b.Series, 1)), fmt.Sprintf("%s, %d of %d series", what, done, b.Series)
	})
}

// run sends what a reader returns and shows how far it is.
func (ic *importCall) run(ctx context.Context, key string, r interchange.Reader, from int64, describe func(*transfer.Progress) (float64, string)) (err error) {
	defer func() { err = errors.Join(err, r.Close()) }()
	p := &transfer.Progress{}
	began := time.Now()
	b := newBar(ic.notes, func() (float64, string) {
		part, text := describe(p)
		n := p.Samples.Load()
		return part, fmt.Sprintf("%s  %s samples, %s", text, humanCount(float64(n)), perSecond(n, time.Since(began)))
	})
	ic.node.Notice = b.note
	opts := ic.opts
	if ic.state != nil {
		opts.Acked = func(offset int64) error { return ic.state.note(key, offset) }
	}
	err = transfer.Import(ctx, ic.node, r, opts, p)
	b.end()
	err = errors.Join(err, ic.state.save())
	took := time.Since(began)
	goesOn := ""
	if from > 0 {
		goesOn = ", going on where the last import ended"
	}
	fmt.Fprintf(ic.notes, "%s: %d samples in %v (%s)%s\n", key, p.Samples.Load(), took.Round(time.Millisecond), perSecond(p.Samples.Load(), took), goesOn)
	return err
}
