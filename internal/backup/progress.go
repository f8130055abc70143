package backup

import "sync/atomic"

// Progress is how far a backup or a restore is. Safe for concurrent use.
type Progress struct {
	Bytes     atomic.Int64 // that were moved
	Total     atomic.Int64 // that are to be moved, as far as known
	Samples   atomic.Int64 // that a restore wrote
	Kept      atomic.Int64 // samples that a restore found there, or deleted since
	Windows   atomic.Int64 // of two hours that a restore is through with
	AllWindow atomic.Int64
	// Notice is told why work waits or is done again; may be nil. Safe for
	// concurrent use.
	Notice func(text string)
}

func (p *Progress) notice(text string) {
	if p.Notice != nil {
		p.Notice(text)
	}
}

// counting counts the bytes of one move.
type counting struct {
	progress *Progress
	n        int64
}

// Write implements io.Writer.
func (c *counting) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	c.progress.Bytes.Add(int64(len(p)))
	return len(p), nil
}

// takeBack counts the move as not made: it is done again.
func (c *counting) takeBack() {
	c.progress.Bytes.Add(-c.n)
	c.n = 0
}
