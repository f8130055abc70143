package plan

import (
	"maps"
	"slices"
)

// Retain returns the window below which everything is dropped, and whether
// that drops anything: windows wholly older than maxAge (ms; 0 = keep), then
// the oldest while the live bytes are more than maxBytes (0 = no bound). A day
// file goes only whole. Windows that are not closed stay.
func Retain(l Limits, s State, maxAge, maxBytes int64) (cut int64, drops bool) {
	p := newPicture(l, s)
	windows := slices.Sorted(maps.Keys(p.windows))
	if len(windows) == 0 {
		return 0, false
	}
	cut = windows[0]
	if maxAge > 0 {
		// The window that holds the oldest time kept stays, and so does its day when
		// it is one file.
		cut = max(cut, p.wholeDays(l.WindowOf(s.Now-maxAge)))
	}
	if maxBytes > 0 {
		cut = max(cut, p.cutBySize(s.Files, windows, cut, maxBytes))
	}
	return cut, cut > windows[0]
}

// wholeDays lowers a cut that would go through a day file to that day's start.
func (p *picture) wholeDays(cut int64) int64 {
	if d := p.days[p.DayOf(cut)]; d != nil && d.hasFile {
		return p.DayOf(cut) * p.WindowsPerDay
	}
	return cut
}

// cutBySize returns the lowest cut at which the rest is within maxBytes.
func (p *picture) cutBySize(files []File, windows []int64, cut, maxBytes int64) int64 {
	perWindow := map[int64]int64{}
	var total int64
	for i := range files {
		// What is not in parts (indexes, tables) counts with them.
		overhead := max(files[i].Bytes-files[i].live(), 0)
		if files[i].Kind == Wide {
			overhead = 0 // dead parts: they go by being rewritten
		}
		for k, part := range files[i].Parts {
			n := part.Bytes
			if k == 0 {
				n += overhead
			}
			perWindow[part.Window] += n
			if part.Window >= cut {
				total += n
			}
		}
	}
	for _, n := range windows {
		if n < cut {
			continue
		}
		if total <= maxBytes || !p.closed(n, p.now) {
			break
		}
		if d := p.days[p.DayOf(n)]; d != nil && d.hasFile {
			end := (p.DayOf(n) + 1) * p.WindowsPerDay
			for _, m := range windows {
				if m >= n && m < end {
					total -= perWindow[m]
				}
			}
			cut = end
			continue
		}
		total -= perWindow[n]
		cut = n + 1
	}
	return cut
}
