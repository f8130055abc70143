package rest

import "github.com/count-db/count/promql/partial"

// Samples lie within these times, ms: about a thousand years around 1970. What a
// query asks beyond them needs no reading.
const (
	latest   = int64(1) << 45
	earliest = -latest
)

// piece is a run of windows of one width. Window k is [from+k*width,
// from+(k+1)*width).
type piece struct {
	name  int64 // the start of the first window as the answer names it
	from  int64 // the same, not before earliest
	width int64
	n     int64
}

// grid returns the steps at which functions over time look back over n windows
// from the one with the number first on. Times are whole milliseconds and such
// functions leave the start of a range out: a window ends one before its end.
func (p *piece) grid(first, n int64) partial.Grid {
	at := p.from + first*p.width + p.width - 1
	return partial.Grid{Start: at, End: at + (n-1)*p.width, Step: p.width}
}

// pieces cuts the range of a query into its windows: [start+k*step,
// start+(k+1)*step), the last one up to the end inclusive and as short as that
// makes it. Windows where no samples can be are left out.
func (q *query) pieces() []piece {
	if q.end < earliest || q.start > latest {
		return nil
	}
	step := uint64(q.step)
	if q.step == 0 || uint64(q.end)-uint64(q.start) < step {
		return []piece{clip(q.start, q.end)}
	}
	start := q.start
	if start < earliest {
		before := -(uint64(start) + uint64(latest)) // unsigned: it may be larger than an int64
		start = int64(uint64(start) + before/step*step)
	}
	if q.step > latest-earliest {
		return wide(start, q.end, step)
	}
	end := min(q.end, latest)
	var list []piece
	n := (end - start + 1) / q.step
	if n > 0 {
		list = append(list, piece{name: start, from: start, width: q.step, n: n})
	}
	if rest := start + n*q.step; rest <= end {
		list = append(list, piece{name: rest, from: rest, width: end - rest + 1, n: 1})
	}
	return list
}

// wide returns windows so wide that few of them have samples.
func wide(start, end int64, step uint64) []piece {
	var list []piece
	for at := start; at <= latest; {
		till := end
		if uint64(end)-uint64(at) >= step {
			till = int64(uint64(at) + step - 1)
		}
		if till >= earliest {
			list = append(list, clip(at, till))
		}
		if till == end {
			break
		}
		at = till + 1
	}
	return list
}

// clip returns one window as a piece.
func clip(start, end int64) piece {
	from := max(start, earliest)
	return piece{name: start, from: from, width: min(end, latest) - from + 1, n: 1}
}
