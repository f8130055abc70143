package engine

import (
	"slices"

	"github.com/go-kit/log/level"

	"github.com/count-db/count/engine/plan"
)

// retain drops what is older than Options.Retention and what is beyond
// Options.RetentionBytes: whole files, and windows of wide files.
func (db *DB) retain() error {
	if db.opts.Retention == 0 && db.opts.RetentionBytes == 0 {
		return nil
	}
	v := db.views.acquire()
	if v == nil {
		return ErrClosed
	}
	cut, drops := plan.Retain(db.limits, db.planState(v), db.opts.Retention.Milliseconds(), db.opts.RetentionBytes)
	var e edit
	if drops {
		e = v.below(cut)
	}
	if err := db.views.release(v); err != nil {
		db.warn("close files that nothing reads any more", err)
	}
	if len(e.remove) == 0 && len(e.dead) == 0 {
		return nil
	}
	e.loss = true
	if err := db.applyEdit(e); err != nil {
		return err
	}
	db.counters.dropped.Add(uint64(len(e.remove)))
	level.Info(db.opts.Logger).Log("msg", "dropped what is beyond the retention", "before_ms", cut*db.limits.Window, "files", len(e.remove), "files_cut", len(e.dead))
	return nil
}

// below returns the edit that drops all windows below cut.
func (v *view) below(cut int64) edit {
	e := edit{dead: map[uint64][]int64{}}
	for _, f := range v.files {
		var old []int64
		live := 0
		for _, w := range f.reader.Info().Windows {
			if f.isDead(w.Window) {
				continue
			}
			live++
			if w.Window < cut {
				old = append(old, w.Window)
			}
		}
		switch {
		case len(old) == live:
			e.remove = append(e.remove, f.ID)
		case len(old) > 0:
			e.dead[f.ID] = old
		}
	}
	slices.Sort(e.remove)
	return e
}
