package day

import (
	"encoding/binary"
	"fmt"
	"sort"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/wire"
)

// index reads the bytes of an index where they lie. Its checksum was compared,
// and openIndex has looked at all offsets, so readers need not.
type index struct {
	data     []byte
	sections [numSections]int
	symbols  int
	series   int
	names    int
	values   int
}

// openIndex checks the bytes and finds the sections.
func openIndex(data []byte) (*index, error) {
	if len(data) < headSize+checksumSize || string(data[:4]) != indexMagic {
		return nil, wire.Corruptf("%d bytes are no index", len(data))
	}
	end := len(data) - checksumSize
	if binary.LittleEndian.Uint32(data[end:]) != wire.Checksum(data[:end]) {
		return nil, wire.Corruptf("checksum of the index")
	}
	// Every version ends with this checksum: a damaged version is no newer build's.
	if v := binary.LittleEndian.Uint32(data[4:]); v != indexVersion {
		return nil, fmt.Errorf("index version %d, this program reads %d", v, indexVersion)
	}
	return parseIndex(data[:end])
}

func parseIndex(data []byte) (*index, error) {
	x := &index{data: data}
	at := headSize
	for i := range x.sections {
		n := int(binary.LittleEndian.Uint32(data[sectionsAt+4*i:]))
		if n < at || n > len(data) {
			return nil, wire.Corruptf("section %d of the index at %d", i, n)
		}
		x.sections[i], at = n, n
	}
	for i, n := range [...]*int{&x.symbols, &x.series, &x.names, &x.values} {
		*n = int(binary.LittleEndian.Uint32(data[countsAt+4*i:]))
	}
	for _, s := range [...]struct{ section, size int }{
		{sectionSymbolOffsets, 4 * (x.symbols + 1)},
		{sectionSeriesOffsets, 4 * (x.series + 1)},
		{sectionNames, 8 * (x.names + 1)},
		{sectionValues, 8 * x.values},
	} {
		if x.sections[s.section+1]-x.sections[s.section] != s.size {
			return nil, wire.Corruptf("section %d of the index: %d bytes, not %d", s.section, x.sections[s.section+1]-x.sections[s.section], s.size)
		}
	}
	return x, x.check()
}

// check looks at every offset and symbol once.
func (x *index) check() error {
	ascending := func(section, count, stride, limit int) bool {
		last := 0
		for i := range count {
			n := x.word(section, i*stride+stride-1)
			if n < last || n > limit {
				return false
			}
			last = n
		}
		return true
	}
	size := func(section int) int { return x.sections[section+1] - x.sections[section] }
	if !ascending(sectionSymbolOffsets, x.symbols+1, 1, size(sectionSymbols)) ||
		!ascending(sectionSeriesOffsets, x.series+1, 1, size(sectionSeries)) ||
		!ascending(sectionNames, x.names+1, 2, x.values) ||
		!ascending(sectionValues, x.values, 2, size(sectionPostings)) {
		return wire.Corruptf("offsets of the index are out of order")
	}
	for i := range x.names {
		if x.word(sectionNames, 2*i) >= x.symbols {
			return wire.Corruptf("label name %d of the index", i)
		}
	}
	for i := range x.values {
		if x.word(sectionValues, 2*i) >= x.symbols {
			return wire.Corruptf("label value %d of the index", i)
		}
	}
	return nil
}

// word returns number i of a section of 4-byte numbers.
func (x *index) word(section, i int) int {
	return int(binary.LittleEndian.Uint32(x.data[x.sections[section]+4*i:]))
}

// symbol returns a symbol's text; it must not be kept.
func (x *index) symbol(n int) []byte {
	base := x.sections[sectionSymbols]
	return x.data[base+x.word(sectionSymbolOffsets, n) : base+x.word(sectionSymbolOffsets, n+1)]
}

// find returns the symbol of a text.
func (x *index) find(s string) (int, bool) {
	n := sort.Search(x.symbols, func(i int) bool { return string(x.symbol(i)) >= s })
	return n, n < x.symbols && string(x.symbol(n)) == s
}

// name returns the number of a label name, and which values are its.
func (x *index) name(s string) (from, to int, ok bool) {
	n, ok := x.find(s)
	if !ok {
		return 0, 0, false
	}
	i := sort.Search(x.names, func(i int) bool { return x.word(sectionNames, 2*i) >= n })
	if i == x.names || x.word(sectionNames, 2*i) != n {
		return 0, 0, false
	}
	from, to = x.valuesOf(i)
	return from, to, true
}

// valuesOf returns which values are those of label name i.
func (x *index) valuesOf(i int) (from, to int) {
	return x.word(sectionNames, 2*i+1), x.word(sectionNames, 2*i+3)
}

// value returns the number of a value among those from one to another.
func (x *index) value(from, to int, s string) (int, bool) {
	n, ok := x.find(s)
	if !ok {
		return 0, false
	}
	i := from + sort.Search(to-from, func(i int) bool { return x.word(sectionValues, 2*(from+i)) >= n })
	return i, i < to && x.word(sectionValues, 2*i) == n
}

// valueText returns the text of value i; it must not be kept.
func (x *index) valueText(i int) []byte { return x.symbol(x.word(sectionValues, 2*i)) }

// each calls f with the series of value i, ascending, until it returns false.
func (x *index) each(i int, f func(series uint32) bool) error {
	d := wire.NewDecoder(x.data[x.sections[sectionPostings]+x.word(sectionValues, 2*i+1) : x.sections[sectionEnd]])
	at := uint64(0)
	for n := d.Count(1); n > 0; n-- {
		at += d.Uvarint()
		if d.Err() != nil || at >= uint64(x.series) {
			d.Fail("series %d of %d", at, x.series)
			break
		}
		if !f(uint32(at)) {
			return nil
		}
	}
	return d.Err()
}

// eachLabel calls f with the label names and values of a series as symbols.
func (x *index) eachLabel(series int, f func(name, value int)) error {
	base := x.sections[sectionSeries]
	d := wire.NewDecoder(x.data[base+x.word(sectionSeriesOffsets, series) : base+x.word(sectionSeriesOffsets, series+1)])
	for d.Len() > 0 {
		name, value := d.Uvarint(), d.Uvarint()
		if name >= uint64(x.symbols) || value >= uint64(x.symbols) {
			d.Fail("label %d=%d of series %d", name, value, series)
		}
		if d.Err() != nil {
			return d.Err()
		}
		f(int(name), int(value))
	}
	return d.Err()
}

// labels returns the labels of a series; they stand alone.
func (x *index) labels(series int) (labels.Labels, error) {
	var places [64]int
	ends := places[:0]
	var scratch [512]byte
	text := scratch[:0]
	err := x.eachLabel(series, func(name, value int) {
		text = append(text, x.symbol(name)...)
		ends = append(ends, len(text))
		text = append(text, x.symbol(value)...)
		ends = append(ends, len(text))
	})
	if err != nil {
		return labels.EmptyLabels(), err
	}
	// One copy holds all texts: the mapping may be gone before the labels.
	all, at := string(text), 0
	b := labels.NewScratchBuilder(len(ends) / 2)
	for i := 0; i < len(ends); i += 2 {
		b.Add(all[at:ends[i]], all[ends[i]:ends[i+1]])
		at = ends[i+1]
	}
	return b.Labels(), nil
}
