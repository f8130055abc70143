package admission

import (
	"fmt"
	"strings"
)

const (
	// maxDetails is how many rejections of one request are told one by one; the
	// rest is told in numbers.
	maxDetails = 5
	// maxDetailBytes bounds the text of one of them (labels may be long).
	maxDetailBytes = 400
)

// Report gathers what of a request was refused. The zero value is ready. It is
// not safe for concurrent use.
type Report struct {
	counts  [reasonCount]int
	total   int
	details []string

	// Floats and histograms that were taken, but not stored because a later one
	// of the same request is of the same series and timestamp.
	SupersededFloats, SupersededHists int
}

// Add records n refused samples (or exemplars) for one reason. Detail is
// called only while details are still wanted, so that a request of nothing but
// faults costs little.
func (r *Report) Add(reason Reason, n int, detail func() string) {
	r.counts[reason] += n
	r.total += n
	if len(r.details) < maxDetails {
		text := detail()
		if len(text) > maxDetailBytes {
			text = strings.ToValidUTF8(text[:maxDetailBytes], "") + "..."
		}
		r.details = append(r.details, text)
	}
}

// AddRejection records n refused samples for the rejection.
func (r *Report) AddRejection(rej *Rejection, n int) {
	r.Add(rej.Reason, n, rej.Error)
}

// Count returns how many were refused for the reason.
func (r *Report) Count(reason Reason) int { return r.counts[reason] }

// Total returns how many were refused.
func (r *Report) Total() int { return r.total }

// Refused says whether anything was refused that the sender must be told of.
// Exemplars are best effort, as in Prometheus: they are counted only.
func (r *Report) Refused() bool { return r.total > r.counts[InvalidExemplar] }

// Reset empties the report and keeps its memory for the next use.
func (r *Report) Reset() {
	r.counts = [reasonCount]int{}
	r.total, r.SupersededFloats, r.SupersededHists = 0, 0, 0
	clear(r.details)
	r.details = r.details[:0]
}

// String tells it in one bounded line: Prometheus logs only the first line of
// an answer.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d refused", r.total)
	sep := " ("
	for reason, n := range r.counts {
		if n > 0 {
			fmt.Fprintf(&b, "%s%s: %d", sep, Reason(reason), n)
			sep = ", "
		}
	}
	if sep == ", " {
		b.WriteByte(')')
	}
	sep = ": "
	for _, d := range r.details {
		b.WriteString(sep)
		b.WriteString(strings.ReplaceAll(d, "\n", " "))
		sep = "; "
	}
	return b.String()
}

// First returns the first reason, by their order, for which something was
// refused; Malformed when nothing was.
func (r *Report) First() Reason {
	for reason, n := range r.counts {
		if n > 0 {
			return Reason(reason)
		}
	}
	return Malformed
}
