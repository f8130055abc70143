package model

// Summary stands for consecutive floats of a series that were not read one by one:
// none of them is NaN or a stale marker, which N leaves out.
type Summary struct {
	Before int   // how many samples of the columns lie before it
	N      int   // samples, 1 at least
	T0, T1 int64 // ms, of the first and the last one; with stale markers around them
	// First and Last hold where Condense.Ends asked for them, Sum where Sums did.
	First, Last, Min, Max, Sum float64
}

// Condensed are the samples of a series of which runs are only described. Columns
// has the others: floats alone, without start timestamps and versions.
type Condensed struct {
	Columns
	Summaries []Summary // ascending, between the samples
}

// Reset empties the columns and keeps their memory for the next use.
func (c *Condensed) Reset() {
	c.Columns.Reset()
	c.Summaries = c.Summaries[:0]
}

// Condense says which runs of samples a summary may stand for.
type Condense struct {
	// Uncut says whether nothing asks for a part of the samples between two times, ms
	// and inclusive, alone.
	Uncut func(t0, t1 int64) bool
	// Ends: only runs whose First and Last are known, at T0 and T1: without stale
	// markers.
	Ends bool
	// Rising: only runs in which no value is below the one before it.
	Rising bool
	// Sums: only runs of integers whose sum is exact. No zero of them is negative.
	Sums bool
}
