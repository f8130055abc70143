package day

import (
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/engine/file"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// Source is a file that goes into a day: a sealed one, or the day file before.
type Source struct {
	File *file.Reader
	// Labels returns the labels of series i of the file, which ascend with i.
	Labels func(i int) (labels.Labels, error)
	// Keep says which windows are taken; nil = all.
	Keep func(window int64) bool
}

// Part is one chunk of a series, loaded by its cursor.
type Part struct {
	Cursor *file.Cursor
	Chunk  *file.Chunk
}

// Combine merges the parts of one series in one window that come from several
// sources, the order of which they have, and adds the result to w.
type Combine func(w *file.Writer, window int64, parts []Part) error

// Options of a build.
type Options struct {
	Combine Combine
	// Settled returns the one version that all samples of a chunk get in the day, 0
	// where they keep theirs. Nil: all keep theirs.
	Settled func(c *file.Chunk) model.Version
}

// Create joins the sources into the day file name by the rules of E2. Chunks
// are copied as they are, but where two sources have the same window of a
// series: Combine is called for these.
func Create(fs vfs.FS, name string, sources []Source, o Options) (file.Info, error) {
	return file.Create(fs, name, file.Day, func(w *file.Writer) error {
		return build(w, sources, o)
	})
}

func build(w *file.Writer, sources []Source, o Options) error {
	b := builder{w: w, copier: file.NewCopier(w), combine: o.Combine, index: newIndexBuilder()}
	b.copier.Settled = o.Settled
	for _, s := range sources {
		in := &input{Source: s, cursor: s.File.Cursor()}
		defer in.cursor.Release()
		if err := in.advance(); err != nil {
			return err
		}
		b.inputs = append(b.inputs, in)
	}
	for {
		ls, ok := b.least()
		if !ok {
			break
		}
		if err := b.series(ls); err != nil {
			return err
		}
	}
	bytes, err := b.index.build()
	if err != nil {
		return err
	}
	w.Index(bytes)
	return nil
}

// input is a source and where we are in it.
type input struct {
	Source
	cursor *file.Cursor
	next   int // the series behind the current one
	labels labels.Labels
	done   bool
}

// advance goes to the next series.
func (in *input) advance() error {
	if in.next == in.File.Len() {
		in.done = true
		return nil
	}
	ls, err := in.Labels(in.next)
	if err != nil {
		return err
	}
	if in.next > 0 && labels.Compare(in.labels, ls) >= 0 {
		return fmt.Errorf("%s: series %d is not behind the one before by its labels", in.File.Name(), in.next)
	}
	in.labels = ls
	in.next++
	return nil
}

// builder is the state of one build.
type builder struct {
	w       *file.Writer
	inputs  []*input
	copier  *file.Copier
	combine Combine
	index   *indexBuilder
	number  model.Ref
	parts   []Part
}

// least returns the labels of the next series.
func (b *builder) least() (labels.Labels, bool) {
	found := false
	var least labels.Labels
	for _, in := range b.inputs {
		if !in.done && (!found || labels.Compare(in.labels, least) < 0) {
			found, least = true, in.labels
		}
	}
	return least, found
}

// series writes one series from all inputs that have it.
func (b *builder) series(ls labels.Labels) error {
	b.parts = b.parts[:0]
	for _, in := range b.inputs {
		if in.done || !labels.Equal(in.labels, ls) {
			continue
		}
		chunks, err := in.cursor.Load(in.next - 1)
		if err != nil {
			return err
		}
		for i := range chunks {
			if in.Keep == nil || in.Keep(chunks[i].Window) {
				b.parts = append(b.parts, Part{in.cursor, &chunks[i]})
			}
		}
		if err := in.advance(); err != nil {
			return err
		}
	}
	if len(b.parts) == 0 {
		return nil
	}
	slices.SortStableFunc(b.parts, func(x, y Part) int {
		switch {
		case x.Chunk.Window < y.Chunk.Window:
			return -1
		case x.Chunk.Window > y.Chunk.Window:
			return 1
		}
		return 0
	})
	b.w.Begin(b.number)
	if err := b.windows(); err != nil {
		return err
	}
	// Nothing may be left of a series that was combined.
	if b.w.Pending() > 0 {
		b.number++
		b.index.add(ls)
	}
	return nil
}

// windows writes the parts of the current series window by window.
func (b *builder) windows() error {
	for parts := b.parts; len(parts) > 0; {
		n, several := 1, false
		for n < len(parts) && parts[n].Chunk.Window == parts[0].Chunk.Window {
			several = several || parts[n].Cursor != parts[0].Cursor
			n++
		}
		if several {
			if err := b.combine(b.w, parts[0].Chunk.Window, parts[:n]); err != nil {
				return err
			}
		} else {
			for _, p := range parts[:n] {
				if err := b.copier.Copy(p.Cursor, p.Chunk); err != nil {
					return err
				}
			}
		}
		parts = parts[n:]
	}
	return nil
}
