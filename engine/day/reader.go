package day

import (
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/engine/file"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

// Reader reads a day file. It is safe for concurrent use. Series are numbered
// in the order of their labels. Errors that wrap wire.ErrCorrupt mean that the
// file is damaged (E3).
type Reader struct {
	file    *file.Reader
	mapping vfs.Mapping
	index   *index
}

// Open opens a day file, maps its index and checks it. cache keeps decoded
// columns, see file.Open.
func Open(fs vfs.FS, name string, cache *file.Cache) (*Reader, error) {
	f, err := fs.OpenRead(name)
	if err != nil {
		return nil, fmt.Errorf("open day file: %w", err)
	}
	data, err := file.Open(f, cache)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r := &Reader{file: data}
	if err := r.openIndex(fs, name); err != nil {
		return nil, errors.Join(fmt.Errorf("open day file %s: %w", name, err), r.Close())
	}
	return r, nil
}

func (r *Reader) openIndex(fs vfs.FS, name string) error {
	m, err := fs.Map(name)
	if err != nil {
		return fmt.Errorf("map: %w", err)
	}
	r.mapping = m
	at, size := r.file.Index()
	if at+size > int64(len(m.Bytes())) {
		return wire.Corruptf("index at %d of %d bytes reaches beyond the file", at, size)
	}
	r.index, err = openIndex(m.Bytes()[at : at+size])
	if err == nil && r.index.series != r.file.Len() {
		err = wire.Corruptf("index of %d series, file of %d", r.index.series, r.file.Len())
	}
	return err
}

// Close closes the file. Nothing must be read from then on.
func (r *Reader) Close() error {
	var err error
	if r.mapping != nil {
		err = r.mapping.Close()
	}
	return errors.Join(err, r.file.Close())
}

// File returns the data file: series i here is series i there.
func (r *Reader) File() *file.Reader { return r.file }

// Len returns the number of series.
func (r *Reader) Len() int { return r.index.series }

// Labels returns the labels of series i.
func (r *Reader) Labels(i int) (labels.Labels, error) {
	ls, err := r.index.labels(i)
	return ls, r.located(err)
}

// Select returns the numbers of the series that all matchers accept, ascending
// and so in the order of labels.
func (r *Reader) Select(ms ...*labels.Matcher) ([]uint32, error) {
	s, err := r.index.match(ms)
	if err != nil {
		return nil, r.located(err)
	}
	return s.list(), nil
}

// LabelNames returns the sorted label names of the series that match.
func (r *Reader) LabelNames(ms ...*labels.Matcher) ([]string, error) {
	x := r.index
	var out []string
	if len(ms) == 0 {
		for i := range x.names {
			out = append(out, string(x.symbol(x.word(sectionNames, 2*i))))
		}
		return out, nil
	}
	have, err := x.match(ms)
	if err != nil {
		return nil, r.located(err)
	}
	seen := newSet(x.symbols)
	for _, series := range have.list() {
		if err := x.eachLabel(int(series), func(name, _ int) { seen.add(uint32(name)) }); err != nil {
			return nil, r.located(err)
		}
	}
	for _, symbol := range seen.list() {
		out = append(out, string(x.symbol(int(symbol))))
	}
	return out, nil
}

// LabelValues returns the sorted values of a label among the series that match.
func (r *Reader) LabelValues(name string, ms ...*labels.Matcher) ([]string, error) {
	x := r.index
	from, to, ok := x.name(name)
	if !ok {
		return nil, nil
	}
	have, err := x.match(ms)
	if err != nil {
		return nil, r.located(err)
	}
	var out []string
	for i := from; i < to; i++ {
		found := len(ms) == 0
		if !found {
			err := x.each(i, func(s uint32) bool {
				found = have.has(s)
				return !found
			})
			if err != nil {
				return nil, r.located(err)
			}
		}
		if found {
			out = append(out, string(x.valueText(i)))
		}
	}
	return out, nil
}

func (r *Reader) located(err error) error {
	if err != nil {
		return fmt.Errorf("index of %s: %w", r.file.Name(), err)
	}
	return nil
}
