package interchange

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"

	"github.com/count-db/count/internal/model"
)

// Float is one float sample.
type Float struct {
	T  int64 // ms
	ST int64 // start timestamp, ms; 0 = none
	V  float64
}

// Exemplar is one exemplar of a series.
type Exemplar struct {
	T      int64 // ms; 0 = none given
	V      float64
	Labels labels.Labels
}

// Series is a run of samples of one series. Several runs of one series may
// follow one another.
type Series struct {
	Labels    labels.Labels
	Floats    []Float
	Hists     []model.HistogramPoint // Ver is not used
	Exemplars []Exemplar
	Metadata  *metadata.Metadata // of its family; nil = not told
}

// Samples returns the number of samples, floats and histograms.
func (s *Series) Samples() int { return len(s.Floats) + len(s.Hists) }

// Reset empties the run and keeps its memory. Histograms are not reused: whoever
// took them may keep them.
func (s *Series) Reset() {
	s.Labels, s.Metadata = labels.EmptyLabels(), nil
	s.Floats = s.Floats[:0]
	clear(s.Hists)
	s.Hists = s.Hists[:0]
	clear(s.Exemplars)
	s.Exemplars = s.Exemplars[:0]
}

// Reader reads a source run by run.
type Reader interface {
	// Next resets s and fills it with the next run; io.EOF at the end. Errors name
	// the place in the source.
	Next(s *Series) error
	// Offset is a place between two runs: everything before it was returned, and
	// a reader opened at it goes on there. Its unit is the form's own: bytes of
	// text, series of a block.
	Offset() int64
	// Close lets go of the source.
	Close() error
}

// Writer writes samples in a form.
type Writer interface {
	// Write writes a run. Runs of one metric come together, and runs of one series
	// one behind the other, ascending by time.
	Write(s *Series) error
	// Close writes what ends the form; the destination stays open.
	Close() error
	// Lost returns how many samples the form cannot express and left out.
	Lost() Losses
}

// Losses are the samples that a form could not express.
type Losses struct {
	Stale      uint64 // stale markers
	Histograms uint64 // native histograms
	Starts     uint64 // start timestamps: their samples were written
}

// Add adds what another writer lost.
func (l *Losses) Add(other Losses) {
	l.Stale += other.Stale
	l.Histograms += other.Histograms
	l.Starts += other.Starts
}

// String names what was lost, "" when that is nothing.
func (l Losses) String() string {
	var parts []string
	for _, p := range []struct {
		n    uint64
		what string
	}{{l.Histograms, "native histograms"}, {l.Stale, "stale markers"}, {l.Starts, "start timestamps"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	return strings.Join(parts, ", ")
}

// Form is a form of samples outside of a node.
type Form string

// The forms.
const (
	OpenMetrics Form = "openmetrics"
	JSONLines   Form = "jsonl"
	CSV         Form = "csv"
	Blocks      Form = "blocks"
)

// Forms returns all forms.
func Forms() []Form { return []Form{OpenMetrics, JSONLines, CSV, Blocks} }

// ParseForm finds a form by its name.
func ParseForm(name string) (Form, error) {
	for _, f := range Forms() {
		if string(f) == name {
			return f, nil
		}
	}
	return "", fmt.Errorf("unknown form %q: there are %v", name, Forms())
}

// FormOf guesses the form from the name of a file: its ending.
func FormOf(name string) (Form, bool) {
	for ending, f := range map[string]Form{
		".jsonl": JSONLines, ".ndjson": JSONLines, ".json": JSONLines,
		".csv": CSV, ".om": OpenMetrics, ".prom": OpenMetrics, ".txt": OpenMetrics, ".openmetrics": OpenMetrics,
	} {
		if strings.HasSuffix(strings.ToLower(name), ending) {
			return f, true
		}
	}
	return "", false
}

// NewReader returns a reader of a form of text, from an offset on that a reader
// of the same source told. When that is not 0, source must be an io.Seeker.
func NewReader(f Form, source io.Reader, from int64) (Reader, error) {
	switch f {
	case OpenMetrics:
		return newOpenMetricsReader(source, from)
	case JSONLines:
		return newJSONReader(source, from)
	case CSV:
		return newCSVReader(source, from)
	}
	return nil, fmt.Errorf("%s is not a form of text", f)
}

// NewWriter returns a writer of a form of text.
func NewWriter(f Form, destination io.Writer) (Writer, error) {
	switch f {
	case OpenMetrics:
		return newOpenMetricsWriter(destination), nil
	case JSONLines:
		return newJSONWriter(destination), nil
	case CSV:
		return newCSVWriter(destination), nil
	}
	return nil, fmt.Errorf("%s is not a form of text", f)
}

// errNoSeeker is returned when a source cannot begin in the middle.
var errNoSeeker = errors.New("the source cannot be continued: it is no file")

// skipTo moves a source to an offset.
func skipTo(source io.Reader, from int64) error {
	if from == 0 {
		return nil
	}
	s, ok := source.(io.Seeker)
	if !ok {
		return errNoSeeker
	}
	if _, err := s.Seek(from, io.SeekStart); err != nil {
		return fmt.Errorf("go on at byte %d: %w", from, err)
	}
	return nil
}
