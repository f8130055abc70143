package day

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/wire"
)

const (
	indexMagic   = "CNTI"
	indexVersion = 1
	countsAt     = 8
	sectionsAt   = countsAt + 4*4
	headSize     = sectionsAt + 4*numSections
	checksumSize = 4
)

// The sections of the index, in their order.
const (
	sectionSymbolOffsets = iota
	sectionSymbols
	sectionSeriesOffsets
	sectionSeries
	sectionNames
	sectionValues
	sectionPostings
	sectionEnd // where the checksum is
	numSections
)

// pair is a label as two symbols, temporary ones while series are added.
type pair struct{ name, value uint32 }

// indexBuilder gathers the labels of the series of a day, in their order.
type indexBuilder struct {
	symbols map[string]uint32
	names   []string // by temporary symbol
	pairs   []pair   // of all series, one behind the other
	ends    []uint32 // of each series in pairs
}

func newIndexBuilder() *indexBuilder { return &indexBuilder{symbols: map[string]uint32{}} }

// add gives the next series the next number.
func (b *indexBuilder) add(ls labels.Labels) {
	ls.Range(func(l labels.Label) {
		b.pairs = append(b.pairs, pair{b.symbol(l.Name), b.symbol(l.Value)})
	})
	b.ends = append(b.ends, uint32(len(b.pairs)))
}

func (b *indexBuilder) symbol(s string) uint32 {
	n, ok := b.symbols[s]
	if !ok {
		n = uint32(len(b.names))
		b.symbols[s] = n
		b.names = append(b.names, s)
	}
	return n
}

// build returns the bytes of the index.
func (b *indexBuilder) build() ([]byte, error) {
	b.sortSymbols()
	out := make([]byte, headSize, headSize+16*len(b.pairs))
	copy(out, indexMagic)
	binary.LittleEndian.PutUint32(out[4:], indexVersion)
	var places [numSections]int
	section := func(n int) { places[n] = len(out) }

	section(sectionSymbolOffsets)
	size := 0
	for _, s := range b.names {
		out = wire.AppendUint32(out, uint32(size))
		size += len(s)
	}
	out = wire.AppendUint32(out, uint32(size))
	section(sectionSymbols)
	for _, s := range b.names {
		out = append(out, s...)
	}
	section(sectionSeriesOffsets)
	var series []byte
	start := uint32(0)
	for _, end := range b.ends {
		out = wire.AppendUint32(out, uint32(len(series)))
		for _, p := range b.pairs[start:end] {
			series = wire.AppendUvarint(series, uint64(p.name))
			series = wire.AppendUvarint(series, uint64(p.value))
		}
		start = end
	}
	out = wire.AppendUint32(out, uint32(len(series)))
	section(sectionSeries)
	out = append(out, series...)

	list := b.postings()
	section(sectionNames)
	names := 0
	for i, p := range list {
		if i == 0 || list[i-1].name != p.name {
			out = wire.AppendUint32(out, p.name)
			out = wire.AppendUint32(out, uint32(i))
			names++
		}
	}
	out = wire.AppendUint32(out, 0)
	out = wire.AppendUint32(out, uint32(len(list)))
	section(sectionValues)
	var postings []byte
	for _, p := range list {
		out = wire.AppendUint32(out, p.value)
		out = wire.AppendUint32(out, uint32(len(postings)))
		postings = appendPostings(postings, p.series)
	}
	section(sectionPostings)
	out = append(out, postings...)
	section(sectionEnd)
	if len(out) > math.MaxUint32-checksumSize {
		return nil, fmt.Errorf("index of %d series takes %d bytes, more than 4 GiB", len(b.ends), len(out))
	}
	for i, n := range [...]int{len(b.names), len(b.ends), names, len(list)} {
		binary.LittleEndian.PutUint32(out[countsAt+4*i:], uint32(n))
	}
	for i, at := range places {
		binary.LittleEndian.PutUint32(out[sectionsAt+4*i:], uint32(at))
	}
	return wire.AppendUint32(out, wire.Checksum(out)), nil
}

// sortSymbols makes the order of symbols that of their texts.
func (b *indexBuilder) sortSymbols() {
	order := make([]uint32, len(b.names))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(x, y uint32) int { return compareText(b.names[x], b.names[y]) })
	place := make([]uint32, len(order))
	sorted := make([]string, len(order))
	for i, old := range order {
		place[old] = uint32(i)
		sorted[i] = b.names[old]
	}
	b.names = sorted
	for i, p := range b.pairs {
		b.pairs[i] = pair{place[p.name], place[p.value]}
	}
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// posting is one label value and the series that have it, ascending.
type posting struct {
	pair
	series []uint32
}

// postings returns the label values sorted by name, then value.
func (b *indexBuilder) postings() []posting {
	count := map[pair]uint32{}
	for _, p := range b.pairs {
		count[p]++
	}
	list := make([]posting, 0, len(count))
	all := make([]uint32, len(b.pairs))
	for p, n := range count {
		list = append(list, posting{p, all[:0:n]})
		all = all[n:]
	}
	slices.SortFunc(list, func(x, y posting) int {
		if x.name != y.name {
			return int(x.name) - int(y.name)
		}
		return int(x.value) - int(y.value)
	})
	for i := range list {
		count[list[i].pair] = uint32(i)
	}
	start := uint32(0)
	for n, end := range b.ends {
		for _, p := range b.pairs[start:end] {
			e := &list[count[p]]
			e.series = append(e.series, uint32(n))
		}
		start = end
	}
	return list
}

// appendPostings writes a list of series: their number, then the gaps.
func appendPostings(dst []byte, series []uint32) []byte {
	dst = wire.AppendUvarint(dst, uint64(len(series)))
	last := uint32(0)
	for _, s := range series {
		dst = wire.AppendUvarint(dst, uint64(s-last))
		last = s
	}
	return dst
}
