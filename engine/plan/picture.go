package plan

import (
	"cmp"
	"maps"
	"slices"
)

// picture is a State sorted for the rules.
type picture struct {
	Limits
	now     int64
	force   bool
	filling int64
	wide    []File   // by arrival
	dead    []uint64 // files without live parts
	windows map[int64]*windowState
	days    map[int64]*dayState

	avoidWindows, avoidDays map[int64]bool
}

// windowState is what is known of one window over all files.
type windowState struct {
	wideSamples   int64
	wideFiles     int
	born          int64 // newest wide data
	sealed        []uint64
	sealedSamples int64
}

// dayState is what is known of one day over all files.
type dayState struct {
	wideSamples int64
	born        int64 // newest wide data
	file        uint64
	hasFile     bool
	fileSamples int64
	sealed      []uint64
}

func newPicture(l Limits, s State) *picture {
	p := &picture{
		Limits: l, now: s.Now, force: s.Force, filling: s.Filling, windows: map[int64]*windowState{}, days: map[int64]*dayState{},
		avoidWindows: s.AvoidWindows, avoidDays: s.AvoidDays,
	}
	for _, f := range s.Files {
		if len(f.Parts) == 0 {
			p.dead = append(p.dead, f.ID)
			continue
		}
		if f.Kind == Wide {
			p.wide = append(p.wide, f)
		}
		for _, part := range f.Parts {
			p.add(f, part)
		}
	}
	slices.SortFunc(p.wide, func(a, b File) int { return cmp.Compare(a.Arrival, b.Arrival) })
	return p
}

func (p *picture) add(f File, part Part) {
	w, d := p.window(part.Window), p.day(p.DayOf(part.Window))
	switch f.Kind {
	case Wide:
		w.wideSamples += part.Samples
		w.wideFiles++
		w.born = max(w.born, f.Born)
		d.wideSamples += part.Samples
		d.born = max(d.born, f.Born)
	case Sealed:
		w.sealed = append(w.sealed, f.ID)
		w.sealedSamples += part.Samples
		d.sealed = append(d.sealed, f.ID)
	case Day:
		d.file, d.hasFile = f.ID, true
		d.fileSamples += part.Samples
	}
}

func (p *picture) window(n int64) *windowState {
	w := p.windows[n]
	if w == nil {
		w = &windowState{}
		p.windows[n] = w
	}
	return w
}

func (p *picture) day(n int64) *dayState {
	d := p.days[n]
	if d == nil {
		d = &dayState{}
		p.days[n] = d
	}
	return d
}

// sealNext finds the oldest window to seal.
func (p *picture) sealNext() (Job, bool) {
	for _, n := range slices.Sorted(maps.Keys(p.windows)) {
		if p.wantsSeal(n) && !p.avoidWindows[n] {
			return p.sealJob(n), true
		}
	}
	return Job{}, false
}

func (p *picture) wantsSeal(n int64) bool {
	w, d := p.windows[n], p.days[p.DayOf(n)]
	if w.wideFiles == 0 || !p.closed(n, p.now) || w.wideSamples < p.SealSamples {
		return false
	}
	copied := w.sealedSamples
	late, born := w.wideSamples, w.born
	if d.hasFile {
		// Sealing in a day that is built leads to building it again.
		copied += d.fileSamples
		late, born = d.wideSamples, d.born
	}
	if late*p.LateShare < copied && (d.hasFile || !p.force || w.born >= p.filling) {
		return false
	}
	return p.force || (copied == 0 && p.recent(n)) || born+p.Quiet <= p.now
}

// recent says whether a window is one that live data goes to.
func (p *picture) recent(n int64) bool { return (n+1)*p.Window+p.Recent > p.now }

func (p *picture) sealJob(n int64) Job {
	job := Job{Kind: Seal, Window: n}
	job.Inputs = append(job.Inputs, p.windows[n].sealed...)
	for i := range p.wide {
		if _, ok := p.wide[i].part(n); ok {
			job.Inputs = append(job.Inputs, p.wide[i].ID)
		}
	}
	return job
}

// buildDay finds the oldest day whose sealed windows are to be joined.
func (p *picture) buildDay() (Job, bool) {
	for _, n := range slices.Sorted(maps.Keys(p.days)) {
		d := p.days[n]
		if len(d.sealed) == 0 || p.avoidDays[n] || (n+1)*p.WindowsPerDay*p.Window+p.DayDelay > p.now {
			continue
		}
		job := Job{Kind: BuildDay, Day: n}
		if d.hasFile {
			job.Inputs = append(job.Inputs, d.file)
		}
		job.Inputs = append(job.Inputs, d.sealed...)
		return job, true
	}
	return Job{}, false
}
