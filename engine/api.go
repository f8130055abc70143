package engine

import (
	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
)

// AppendOptions tell Append what kind of write it is.
type AppendOptions struct {
	// Fresh marks a client's write, which must be above every version seen of
	// its series (V2); hints and repairs are not fresh.
	Fresh bool
}

// AppendResult is the outcome of an Append.
type AppendResult struct {
	// Stale is set when a fresh batch was not above the highest version seen of
	// one of its series: nothing was stored, the caller stamps it anew.
	Stale bool
	// Highest is the highest version seen of the batch's series (0 without
	// Options.Versions).
	Highest model.Version
}

// SeriesExemplars are the exemplars of one series, ascending by timestamp.
type SeriesExemplars struct {
	Labels    labels.Labels
	Exemplars []model.Exemplar
}
