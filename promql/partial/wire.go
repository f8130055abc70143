package partial

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/count-db/count/internal/wire"
)

// wireVersion is the version of the form of results; see FORMAT.md.
const wireVersion = 1

// The kinds of results.
const (
	wireRows = iota
	wireGroups
	wireTop
)

// The kinds of annotations.
const (
	wireWarning = iota
	wireInfo
)

// ErrWireVersion says that a result was written by a version of Count that this
// one does not read.
var ErrWireVersion = errors.New("unknown version of a partial result")

// wireState is a state that has a form on the wire, over the steps seen.
type wireState interface {
	state
	encode(dst []byte) []byte
	decode(d *wire.Decoder)
}

var (
	_ wireState = (*sumState)(nil)
	_ wireState = (*avgState)(nil)
	_ wireState = (*extremeState)(nil)
	_ wireState = (*countState)(nil)
	_ wireState = (*varianceState)(nil)
)

// Append appends the form on the wire. query is the text of the whole query: its
// annotations name positions in it.
func (r *Result) Append(dst []byte, query string) []byte {
	start := len(dst)
	steps := r.grid.Len()
	// Room for most: counts, and labels and two columns for each series or group.
	dst = slices.Grow(dst, 64+4*steps+(len(r.rows)+len(r.groups))*(64+18*steps))
	dst = wire.BeginFrame(dst)
	dst = append(dst, wireVersion, r.wireKind())
	dst = wire.AppendUvarint(dst, uint64(r.grid.Len()))
	dst = wire.AppendUvarint(dst, uint64(r.Series))
	dst = wire.AppendUvarint(dst, uint64(r.Points))
	dst = appendCounts(dst, r.Total)
	dst = appendCounts(dst, r.Read)
	dst = appendAnnotations(dst, r.Annotations(), query)
	switch r.wireKind() {
	case wireRows:
		dst = wire.AppendUvarint(dst, uint64(len(r.rows)))
		for _, s := range r.rows {
			dst = AppendLabels(dst, s.Labels)
			dst = appendFloats(dst, s.V, s.OK)
			dst = appendHistograms(dst, s.H)
		}
	case wireGroups:
		dst = wire.AppendUvarint(dst, uint64(len(r.groups)))
		for _, g := range r.groups {
			dst = AppendLabels(dst, g.labels)
			if s, ok := g.state.(wireState); ok {
				dst = s.encode(dst)
			}
		}
	case wireTop:
		dst = r.appendTop(dst)
	}
	return wire.EndFrame(dst, start, 0)
}

func (r *Result) wireKind() byte {
	switch {
	case !r.prog.Aggregates():
		return wireRows
	case r.prog.agg.keepsLabels():
		return wireTop
	default:
		return wireGroups
	}
}

// Decode reads a result of the program on the grid from the wire. Errors wrap
// wire.ErrCorrupt or ErrWireVersion.
func Decode(p *Program, g Grid, data []byte) (*Result, error) {
	outer := wire.NewDecoder(data)
	d := wire.NewDecoder(outer.Frame(0))
	if err := outer.Err(); err != nil {
		return nil, fmt.Errorf("partial result: %w", err)
	}
	if outer.Len() > 0 {
		return nil, wire.Corruptf("partial result: %d bytes behind its end", outer.Len())
	}
	r := newResult(p, g)
	if v := d.Byte(); v != wireVersion {
		return nil, fmt.Errorf("%w: %d", ErrWireVersion, v)
	}
	if kind := d.Byte(); kind != r.wireKind() {
		d.Fail("result of kind %d, expected %d", kind, r.wireKind())
	}
	if n := d.Uvarint(); n != uint64(g.Len()) {
		d.Fail("result of %d steps, expected %d", n, g.Len())
	}
	r.Series, r.Points = int64(d.Uvarint()), int64(d.Uvarint())
	decodeCounts(&d, r.Total)
	decodeCounts(&d, r.Read)
	r.annos = decodeAnnotations(&d)
	switch r.wireKind() {
	case wireRows:
		for range d.Count(seriesBytes(g)) {
			ls := DecodeLabels(&d)
			v, ok := decodeFloats(&d, g.Len())
			r.rows = append(r.rows, Series{Labels: ls, V: v, OK: ok, H: decodeHistograms(&d, g.Len())})
			if d.Err() != nil {
				break
			}
		}
	case wireGroups:
		least := seriesBytes(g)
		if !p.agg.cuttable() {
			least = 1 + g.Len() // a count for each step
		}
		for range d.Count(least) {
			gr := &group{labels: DecodeLabels(&d), state: p.agg.newState(g.Len())}
			if s, ok := gr.state.(wireState); ok {
				s.decode(&d)
			}
			r.groups = append(r.groups, gr)
			if d.Err() != nil {
				break
			}
		}
	case wireTop:
		r.decodeTop(&d)
	}
	if d.Err() == nil && d.Len() > 0 {
		d.Fail("%d bytes behind the result", d.Len())
	}
	if err := d.Err(); err != nil {
		return nil, fmt.Errorf("partial result: %w", err)
	}
	return r, nil
}

// seriesBytes is the least that a series or group with a value takes: what is
// allocated for one is in proportion.
func seriesBytes(g Grid) int { return 2 + g.Len()/8 }

// appendTop appends the groups of topk and its kin: the labels of the series that
// are kept, then for each group and step the values and whose they are.
func (r *Result) appendTop(dst []byte) []byte {
	number := map[int32]uint64{}
	var kept []int32
	for _, g := range r.groups {
		for _, entries := range g.state.(*topState).steps {
			for _, e := range entries {
				if _, ok := number[e.series]; !ok {
					number[e.series] = 0
					kept = append(kept, e.series)
				}
			}
		}
	}
	// In the order of the series, on which ties depend.
	slices.Sort(kept)
	for n, i := range kept {
		number[i] = uint64(n)
	}
	dst = wire.AppendUvarint(dst, uint64(len(kept)))
	for _, i := range kept {
		dst = AppendLabels(dst, r.names[i])
	}
	dst = wire.AppendUvarint(dst, uint64(len(r.groups)))
	for _, g := range r.groups {
		dst = AppendLabels(dst, g.labels)
		for _, entries := range g.state.(*topState).steps {
			dst = wire.AppendUvarint(dst, uint64(len(entries)))
			for _, e := range entries {
				dst = wire.AppendUvarint(dst, number[e.series])
				dst = appendFloat(dst, e.v)
			}
		}
	}
	return dst
}

func (r *Result) decodeTop(d *wire.Decoder) {
	n := d.Count(1)
	for i := range n {
		r.names[int32(i)] = DecodeLabels(d)
	}
	for range d.Count(1 + r.grid.Len()) {
		if d.Err() != nil {
			return
		}
		s := newTopState(r.prog.agg.op, r.prog.agg.k, r.grid.Len())
		g := &group{labels: DecodeLabels(d), state: s}
		for k := range s.steps {
			for range d.Count(9) {
				series, v := d.Uvarint(), d.Float64()
				if series >= uint64(n) {
					d.Fail("value of series %d of %d", series, n)
					return
				}
				s.take(k, topEntry{v: v, series: int32(series)})
			}
		}
		r.groups = append(r.groups, g)
	}
}

// AppendLabels appends a label set: number, names and values.
func AppendLabels(dst []byte, ls labels.Labels) []byte {
	dst = wire.AppendUvarint(dst, uint64(ls.Len()))
	ls.Range(func(l labels.Label) {
		dst = wire.AppendString(dst, l.Name)
		dst = wire.AppendString(dst, l.Value)
	})
	return dst
}

// DecodeLabels reads a label set; names that are not ascending are an error.
func DecodeLabels(d *wire.Decoder) labels.Labels {
	n := d.Count(2)
	b := labels.NewScratchBuilder(n)
	last := ""
	for range n {
		name, text := d.String(), d.String()
		if name <= last {
			d.Fail("label %q behind %q", name, last)
		}
		last = name
		b.Add(name, text)
	}
	return b.Labels()
}

func appendCounts(dst []byte, counts []int64) []byte {
	for _, n := range counts {
		dst = wire.AppendUvarint(dst, uint64(n))
	}
	return dst
}

func decodeCounts(d *wire.Decoder, counts []int64) {
	for k := range counts {
		counts[k] = int64(d.Uvarint())
	}
}

// annotationText is an annotation that came over the wire. Like Prometheus's own it
// has no position until it is shown: those of one text are one, the last.
type annotationText struct {
	text  string // whole, with the position
	kind  error
	shown bool
}

func (a *annotationText) Error() string {
	if !a.shown {
		return withoutPosition(a.text)
	}
	return a.text
}

func (a *annotationText) Unwrap() error { return a.kind }

func (a *annotationText) SetQuery(query string) { a.shown = query != "" }

func (a *annotationText) Merge(error) error { return a }

// withoutPosition takes the end of a text off that is the position, as in
// "some text (1:23)".
func withoutPosition(text string) string {
	at := strings.LastIndex(text, " (")
	if at < 0 || !isPosition(text[at+2:]) {
		return text
	}
	return text[:at]
}

// isPosition recognises "line:column)".
func isPosition(s string) bool {
	line, rest, ok := strings.Cut(s, ":")
	column, ended := strings.CutSuffix(rest, ")")
	digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
	return ok && ended && digits(line) && digits(column)
}

func appendAnnotations(dst []byte, a annotations.Annotations, query string) []byte {
	warnings, infos := a.AsStrings(query, 0, 0)
	dst = wire.AppendUvarint(dst, uint64(len(warnings)+len(infos)))
	for _, w := range warnings {
		dst = wire.AppendString(append(dst, wireWarning), w)
	}
	for _, i := range infos {
		dst = wire.AppendString(append(dst, wireInfo), i)
	}
	return dst
}

func decodeAnnotations(d *wire.Decoder) annotations.Annotations {
	a := annotations.New()
	for range d.Count(2) {
		kind := annotations.PromQLWarning
		switch d.Byte() {
		case wireWarning:
		case wireInfo:
			kind = annotations.PromQLInfo
		default:
			d.Fail("unknown kind of annotation")
		}
		a.Add(&annotationText{text: d.String(), kind: kind})
	}
	return *a
}
