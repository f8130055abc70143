package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/count-db/count/engine/manifest"
	"github.com/count-db/count/engine/plan"
)

// maxJobs bounds the jobs of one round, so that a plan that did not come to an
// end would be seen and not spin.
const maxJobs = 100_000

// Flush writes the buffer to a file, seals every closed window that holds
// enough to be worth it, and builds the days that are over; all of it is done
// when it returns.
func (db *DB) Flush(ctx context.Context) error {
	if err := db.usable(); err != nil {
		return err
	}
	before := db.counters.flushes.Load()
	if err := db.flushBuffer(); err != nil {
		return err
	}
	w := newWork()
	w.force, w.filling = true, math.MaxInt64
	if db.counters.flushes.Load() != before {
		w.filling = db.lastBorn.Load()
	}
	return db.maintain(ctx, w)
}

// Maintain does what is due by the clock: drops what is beyond the retention,
// merges, seals, builds days.
func (db *DB) Maintain(ctx context.Context) error {
	if err := db.usable(); err != nil {
		return err
	}
	return db.maintain(ctx, newWork())
}

func (db *DB) maintain(ctx context.Context, w *work) error {
	db.maintenance.Lock()
	defer db.maintenance.Unlock()
	if err := db.retain(); err != nil {
		return err
	}
	if err := db.mend(); err != nil {
		w.errs = append(w.errs, err)
	}
	for range maxJobs {
		if err := ctx.Err(); err != nil {
			return err
		}
		more, err := db.doNext(w)
		if err != nil {
			return err
		}
		if !more {
			return errors.Join(append(w.errs, db.tidy())...)
		}
	}
	return fmt.Errorf("file jobs do not come to an end after %d", maxJobs)
}

// work is one round of jobs. A window or day that fails is left alone until the
// next round, so that it does not hold up the others.
type work struct {
	force                   bool
	filling                 int64 // see plan.State
	avoidWindows, avoidDays map[int64]bool
	errs                    []error
}

func newWork() *work { return &work{avoidWindows: map[int64]bool{}, avoidDays: map[int64]bool{}} }

// failed notes a job that failed; it returns the error when the round has to
// end.
func (w *work) failed(job plan.Job, err error) error {
	switch {
	case errors.Is(err, ErrFailed):
		return err
	case job.Kind == plan.Seal:
		w.avoidWindows[job.Window] = true
	case job.Kind == plan.BuildDay:
		w.avoidDays[job.Day] = true
	default:
		return err
	}
	w.errs = append(w.errs, err)
	return nil
}

// doNext does the most urgent job of the plan.
func (db *DB) doNext(w *work) (more bool, err error) {
	v, ok := db.acquireWork()
	if !ok {
		return false, ErrClosed
	}
	defer func() { err = errors.Join(err, db.views.release(v.view)) }()
	s := db.planState(v.view)
	s.Force, s.Filling = w.force, w.filling
	s.AvoidWindows, s.AvoidDays = w.avoidWindows, w.avoidDays
	job, ok := plan.Next(db.limits, s)
	if !ok && w.force {
		return false, nil // a flush does not wait for what is shed
	}
	if !ok {
		return db.shedNext()
	}
	if err := db.do(v, job); err != nil {
		return true, w.failed(job, fmt.Errorf("%v: %w", job, err))
	}
	return true, nil
}

func (db *DB) do(v workView, job plan.Job) error {
	inputs := v.pick(job.Inputs)
	if job.Kind != plan.Drop {
		if err := db.roomFor(jobBytes(inputs, job)); err != nil {
			return err
		}
	}
	switch job.Kind {
	case plan.Merge:
		return db.mergeWide(v, inputs)
	case plan.Seal:
		return db.sealWindow(v, inputs, job.Window)
	case plan.BuildDay:
		return db.buildDay(v, inputs, job.Day)
	case plan.Drop:
		return db.applyEdit(edit{remove: job.Inputs})
	}
	return fmt.Errorf("job of unknown kind %d", job.Kind)
}

// jobBytes estimates, from above, what a job writes.
func jobBytes(inputs []*liveFile, job plan.Job) (bytes int64) {
	for _, f := range inputs {
		for _, part := range f.planFile().Parts {
			if job.Kind != plan.Seal || part.Window == job.Window {
				bytes += part.Bytes
			}
		}
	}
	return bytes
}

// planState describes the files of a view to the plan.
func (db *DB) planState(v *view) plan.State {
	s := plan.State{Now: db.opts.Now().UnixMilli()}
	for _, f := range v.files {
		s.Files = append(s.Files, f.planFile())
	}
	return s
}

// planFile describes a file to the plan. The bytes of a part include its share
// of the file's tables.
func (f *liveFile) planFile() plan.File {
	info := f.reader.Info()
	out := plan.File{ID: f.ID, Kind: planKind(f.Kind), Arrival: f.Arrival, Born: f.Born, Bytes: info.Bytes}
	var chunks int64
	for _, w := range info.Windows {
		chunks += w.Bytes
	}
	for _, w := range info.Windows {
		if !f.isDead(w.Window) {
			share := float64(w.Bytes) / float64(max(chunks, 1)) * float64(info.Bytes)
			out.Parts = append(out.Parts, plan.Part{Window: w.Window, Samples: w.Samples, Bytes: int64(share)})
		}
	}
	return out
}

func planKind(k manifest.Kind) plan.Kind {
	switch k {
	case manifest.Wide:
		return plan.Wide
	case manifest.Sealed:
		return plan.Sealed
	default:
		return plan.Day
	}
}

// pick returns the files of the view with these numbers, in its order.
func (v *view) pick(numbers []uint64) []*liveFile {
	var out []*liveFile
	for _, f := range v.files {
		if slices.Contains(numbers, f.ID) {
			out = append(out, f)
		}
	}
	return out
}
