package admission

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"
)

// Limits bound what one series may be named with.
type Limits struct {
	// MaxLabels is the number of labels, the metric name among them.
	MaxLabels int
	// MaxNameBytes is the length of a label name, and of the metric name.
	MaxNameBytes int
	// MaxValueBytes is the length of a label value.
	MaxValueBytes int
}

// maxSeriesBytes bounds the limits that can be set: a series' labels must fit
// into a log record and a node-to-node message with room to spare.
const maxSeriesBytes = 1 << 20

// DefaultLimits are generous: they stop accidents (a whole log line as a label
// value), not cardinality.
func DefaultLimits() Limits {
	return Limits{MaxLabels: 256, MaxNameBytes: 1 << 10, MaxValueBytes: 16 << 10}
}

// Validate lists every fault of the limits.
func (l Limits) Validate() error {
	var errs []error
	check := func(name string, v, least int) {
		if v < least || v > maxSeriesBytes {
			errs = append(errs, fmt.Errorf("%s: %d is not within %d and %d", name, v, least, maxSeriesBytes))
		}
	}
	check("MaxLabels", l.MaxLabels, 1)
	check("MaxNameBytes", l.MaxNameBytes, 1)
	check("MaxValueBytes", l.MaxValueBytes, 1)
	return errors.Join(errs...)
}

// CheckLabels says whether the labels (sorted, without empty values) may name
// a series: a metric name, each label name once, names and values UTF-8, all
// within the limits. It returns nil or the first fault.
func (l Limits) CheckLabels(ls labels.Labels) *Rejection {
	var (
		fault   *Rejection
		count   int
		named   bool
		prev    string
		refusal = func(reason Reason, format string, args ...any) {
			if fault == nil {
				fault = &Rejection{Reason: reason, Detail: fmt.Sprintf(format, args...)}
			}
		}
	)
	ls.Range(func(lb labels.Label) {
		count++
		switch {
		case fault != nil:
		case lb.Name == "":
			refusal(InvalidLabels, "a label name of series %s is empty", Describe(ls))
		case !utf8.ValidString(lb.Name):
			refusal(InvalidLabels, "label name %q is not valid UTF-8", clip(lb.Name))
		case !utf8.ValidString(lb.Value):
			refusal(InvalidLabels, "value of label %q of series %s is not valid UTF-8", clip(lb.Name), Describe(ls))
		case count > 1 && lb.Name == prev:
			refusal(InvalidLabels, "label %q of series %s is given twice", clip(lb.Name), Describe(ls))
		default:
			fault = l.CheckLength(lb.Name, lb.Value)
		}
		named = named || lb.Name == labels.MetricName
		prev = lb.Name
	})
	switch {
	case fault != nil:
		return fault
	case !named:
		refusal(MissingName, "series %s has no metric name", Describe(ls))
	case count > l.MaxLabels:
		refusal(LabelLimit, "series %s has %d labels, more than %d", Describe(ls), count, l.MaxLabels)
	}
	return fault
}

// CheckLength says whether one label is within the limits: nil or the fault.
// Decoders ask before they build labels, because the labels package panics on
// strings of 16 MiB.
func (l Limits) CheckLength(name, value string) *Rejection {
	switch {
	case len(name) > l.MaxNameBytes:
		return &Rejection{Reason: LabelLimit, Detail: fmt.Sprintf("label name %q is longer than %d bytes", clip(name), l.MaxNameBytes)}
	case name == labels.MetricName && len(value) > l.MaxNameBytes:
		return &Rejection{Reason: LabelLimit, Detail: fmt.Sprintf("metric name %q is longer than %d bytes", clip(value), l.MaxNameBytes)}
	case len(value) > l.MaxValueBytes:
		return &Rejection{Reason: LabelLimit, Detail: fmt.Sprintf("value %q of label %q is longer than %d bytes", clip(value), name, l.MaxValueBytes)}
	}
	return nil
}

// clipBytes is how much of a name or a series a message shows.
const clipBytes = 160

func clip(s string) string {
	if len(s) <= clipBytes {
		return s
	}
	return s[:clipBytes] + "..."
}

// Describe returns the labels as text for a message, cut to a bounded length.
func Describe(ls labels.Labels) string { return clip(ls.String()) }
