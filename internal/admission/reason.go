package admission

// Reason says why a series, a sample or an exemplar was refused for good. It
// is the value of the label "reason" in metrics.
type Reason uint8

// The reasons. Their texts are part of the metrics' interface.
const (
	// InvalidLabels: a label name or value is empty, not UTF-8 or given twice.
	InvalidLabels Reason = iota
	// MissingName: the series has no metric name.
	MissingName
	// LabelLimit: too many labels, or a name or value that is too long.
	LabelLimit
	// SeriesLimit: the node takes no further new series.
	SeriesLimit
	// NegativeTimestamp: the sample lies before 1970.
	NegativeTimestamp
	// TooOld: the sample is older than the retention.
	TooOld
	// TooFarAhead: the sample lies further ahead of now than MAX_FUTURE.
	TooFarAhead
	// InvalidHistogram: a native histogram contradicts itself.
	InvalidHistogram
	// InvalidExemplar: an exemplar's labels are malformed or too long.
	InvalidExemplar
	// NoSamples: a series of a remote write 2.0 request carries nothing.
	NoSamples
	// Malformed: the request itself can't be understood.
	Malformed

	reasonCount
)

var reasonTexts = [reasonCount]string{
	InvalidLabels:     "invalid_labels",
	MissingName:       "missing_metric_name",
	LabelLimit:        "label_limit",
	SeriesLimit:       "series_limit",
	NegativeTimestamp: "negative_timestamp",
	TooOld:            "too_old",
	TooFarAhead:       "too_far_ahead",
	InvalidHistogram:  "invalid_histogram",
	InvalidExemplar:   "invalid_exemplar",
	NoSamples:         "no_samples",
	Malformed:         "malformed",
}

// Reasons returns all reasons, for whoever makes a metric of each.
func Reasons() []Reason {
	all := make([]Reason, reasonCount)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}

func (r Reason) String() string {
	if r >= reasonCount {
		return "unknown"
	}
	return reasonTexts[r]
}

// Rejection is the error for one series, sample or exemplar that can never be
// taken as it is.
type Rejection struct {
	Reason Reason
	// Detail says what was wrong, and names the culprit.
	Detail string
}

func (r *Rejection) Error() string { return r.Detail }
