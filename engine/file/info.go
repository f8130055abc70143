package file

import (
	"slices"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// WindowInfo is what a file holds of one window.
type WindowInfo struct {
	Window  int64 // floor(t / 2 h)
	Series  int
	Samples int64
	Bytes   int64 // of the encoded chunks
	MinT    int64 // ms
	MaxT    int64 // ms
}

// Info describes a file as a whole.
type Info struct {
	Kind    Kind
	Series  int
	Samples int64
	MinT    int64 // ms; meaningless without samples
	MaxT    int64 // ms
	// MinVersion and MaxVersion are over all samples, 0 in a file without them.
	MinVersion, MaxVersion model.Version
	Windows                []WindowInfo // ascending
	Bytes                  int64        // the whole file
}

// Window returns what the file holds of a window.
func (i *Info) Window(n int64) (WindowInfo, bool) {
	at, ok := slices.BinarySearchFunc(i.Windows, n, func(w WindowInfo, n int64) int {
		switch {
		case w.Window < n:
			return -1
		case w.Window > n:
			return 1
		}
		return 0
	})
	if !ok {
		return WindowInfo{}, false
	}
	return i.Windows[at], true
}

// add counts a chunk; newSeries when it is the series' first of its window.
func (i *Info) add(c *Chunk, newSeries bool) {
	if i.Samples == 0 {
		i.MinT, i.MaxT = c.MinT, c.MaxT
	}
	i.Samples += int64(c.Count)
	i.MinT, i.MaxT = min(i.MinT, c.MinT), max(i.MaxT, c.MaxT)
	if c.versions != noColumn {
		if i.MaxVersion == 0 || c.MinVersion < i.MinVersion {
			i.MinVersion = c.MinVersion
		}
		i.MaxVersion = max(i.MaxVersion, c.MaxVersion)
	}
	at := 0
	for at < len(i.Windows) && i.Windows[at].Window < c.Window {
		at++
	}
	if at == len(i.Windows) || i.Windows[at].Window != c.Window {
		i.Windows = slices.Insert(i.Windows, at, WindowInfo{Window: c.Window, MinT: c.MinT, MaxT: c.MaxT})
	}
	w := &i.Windows[at]
	w.Samples += int64(c.Count)
	w.Bytes += int64(len(c.body))
	w.MinT, w.MaxT = min(w.MinT, c.MinT), max(w.MaxT, c.MaxT)
	if newSeries {
		w.Series++
	}
}

func (i *Info) append(dst []byte) []byte {
	dst = wire.AppendUvarint(dst, uint64(i.Series))
	dst = wire.AppendUvarint(dst, uint64(i.Samples))
	dst = wire.AppendVarint(dst, i.MinT)
	dst = wire.AppendVarint(dst, i.MaxT)
	dst = wire.AppendUvarint(dst, uint64(i.MinVersion))
	dst = wire.AppendUvarint(dst, uint64(i.MaxVersion))
	dst = wire.AppendUvarint(dst, uint64(len(i.Windows)))
	for _, w := range i.Windows {
		dst = wire.AppendVarint(dst, w.Window)
		dst = wire.AppendUvarint(dst, uint64(w.Series))
		dst = wire.AppendUvarint(dst, uint64(w.Samples))
		dst = wire.AppendUvarint(dst, uint64(w.Bytes))
		dst = wire.AppendVarint(dst, w.MinT)
		dst = wire.AppendVarint(dst, w.MaxT)
	}
	return dst
}

func readInfo(d *wire.Decoder, kind Kind) Info {
	i := Info{Kind: kind, Series: int(d.Uint32Varint()), Samples: int64(d.Uvarint())}
	i.MinT, i.MaxT = d.Varint(), d.Varint()
	i.MinVersion, i.MaxVersion = model.Version(d.Uvarint()), model.Version(d.Uvarint())
	i.Windows = make([]WindowInfo, d.Count(6))
	for n := range i.Windows {
		i.Windows[n] = WindowInfo{
			Window: d.Varint(), Series: int(d.Uint32Varint()), Samples: int64(d.Uvarint()), Bytes: int64(d.Uvarint()),
			MinT: d.Varint(), MaxT: d.Varint(),
		}
	}
	return i
}
