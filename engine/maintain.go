package engine

import (
	"context"
	"errors"
	"fmt"
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
	if err := db.flushBuffer(); err != nil {
		return err
	}
	return db.maintain(ctx, true)
}

// Maintain does what is due by the clock: drops what is beyond the retention,
// merges, seals, builds days.
func (db *DB) Maintain(ctx context.Context) error {
	if err := db.usable(); err != nil {
		return err
	}
	return db.maintain(ctx, false)
}

func (db *DB) maintain(ctx context.Context, force bool) error {
	db.maintenance.Lock()
	defer db.maintenance.Unlock()
	if err := db.retain(); err != nil {
		return err
	}
	for range maxJobs {
		if err := ctx.Err(); err != nil {
			return err
		}
		more, err := db.doNext(force)
		if err != nil {
			return err
		}
		if !more {
			return db.tidy()
		}
	}
	return fmt.Errorf("file jobs do not come to an end after %d", maxJobs)
}

// doNext does the most urgent job of the plan.
func (db *DB) doNext(force bool) (more bool, err error) {
	v, ok := db.acquireWork()
	if !ok {
		return false, ErrClosed
	}
	defer func() { err = errors.Join(err, db.views.release(v.view)) }()
	job, ok := plan.Next(db.limits, db.planState(v.view, force))
	if !ok {
		return false, nil
	}
	inputs := v.pick(job.Inputs)
	switch job.Kind {
	case plan.Merge:
		err = db.mergeWide(v, inputs)
	case plan.Seal:
		err = db.sealWindow(v, inputs, job.Window)
	case plan.BuildDay:
		err = db.buildDay(v, inputs, job.Day)
	case plan.Drop:
		err = db.applyEdit(edit{remove: job.Inputs})
	default:
		err = fmt.Errorf("job of unknown kind %d", job.Kind)
	}
	return err == nil, err
}

// planState describes the files of a view to the plan.
func (db *DB) planState(v *view, force bool) plan.State {
	s := plan.State{Now: db.opts.Now().UnixMilli(), Force: force}
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
