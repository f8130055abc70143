package interchange

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/textparse"
)

const (
	pieceBytes    = 1 << 20  // of a text that are parsed at once, cut between families
	maxPieceBytes = 16 << 20 // a larger family is cut where it is
)

var eofLine = []byte("# EOF")

// openMetricsReader reads OpenMetrics text with Prometheus's parser, piece by
// piece. Every sample needs a timestamp.
type openMetricsReader struct {
	lines  *lineReader
	from   int64            // where this reader began
	parser textparse.Parser // of the piece; nil = the next one is due
	piece  []byte
	held   []byte // a line that was read and belongs to the next piece
	offset int64  // of the piece
	end    int64  // of the piece
	whole  bool   // the line that ends the text was read

	family  string
	meta    metadata.Metadata
	pending bool // the parser stands on a sample that no run took yet
	key     []byte
}

func newOpenMetricsReader(source io.Reader, from int64) (*openMetricsReader, error) {
	lines, err := newLineReader(source, from)
	return &openMetricsReader{lines: lines, from: from, offset: from, end: from}, err
}

// Next implements Reader.
func (r *openMetricsReader) Next(s *Series) error {
	s.Reset()
	for {
		if !r.pending {
			if err := r.advance(); errors.Is(err, io.EOF) && s.Samples() > 0 {
				return nil
			} else if err != nil {
				return err
			}
		}
		key, t, v := r.parser.Series()
		if s.Samples() > 0 && (!bytes.Equal(key, r.key) || s.Samples() >= jsonRun) {
			r.pending = true
			return nil
		}
		r.pending = false
		if t == nil {
			return fmt.Errorf("in the text from byte %d on: %s has no timestamp", r.offset, key)
		}
		if s.Samples() == 0 {
			r.key = append(r.key[:0], key...)
			r.parser.Labels(&s.Labels)
			r.describe(s)
		}
		s.Floats = append(s.Floats, Float{T: *t, V: v})
		r.exemplars(s)
	}
}

// describe gives the run what is known of its family.
func (r *openMetricsReader) describe(s *Series) {
	if r.meta == (metadata.Metadata{}) || !strings.HasPrefix(s.Labels.Get(labels.MetricName), r.family) {
		return
	}
	m := r.meta
	s.Metadata = &m
}

func (r *openMetricsReader) exemplars(s *Series) {
	for {
		var e exemplar.Exemplar
		if !r.parser.Exemplar(&e) {
			return
		}
		s.Exemplars = append(s.Exemplars, Exemplar{T: e.Ts, V: e.Value, Labels: e.Labels})
	}
}

// advance moves on to the next sample.
func (r *openMetricsReader) advance() error {
	for {
		if r.parser == nil {
			r.offset = r.end
			if err := r.readPiece(); err != nil {
				return err
			}
			r.parser = textparse.NewOpenMetricsParser(r.piece, nil)
		}
		entry, err := r.parser.Next()
		switch {
		case errors.Is(err, io.EOF):
			r.parser = nil
			continue
		case err != nil:
			return fmt.Errorf("in the text from byte %d on: %w", r.offset, err)
		}
		switch entry {
		case textparse.EntrySeries:
			return nil
		case textparse.EntryType:
			name, kind := r.parser.Type()
			r.describes(name)
			r.meta.Type = kind
		case textparse.EntryHelp:
			name, help := r.parser.Help()
			r.describes(name)
			r.meta.Help = string(help)
		case textparse.EntryUnit:
			name, unit := r.parser.Unit()
			r.describes(name)
			r.meta.Unit = string(unit)
		}
	}
}

// describes begins a family, unless it has begun.
func (r *openMetricsReader) describes(name []byte) {
	if string(name) == r.family {
		return
	}
	r.family, r.meta = string(name), metadata.Metadata{Type: model.MetricTypeUnknown}
}

// readPiece reads the next piece of the text, as a whole text.
func (r *openMetricsReader) readPiece() error {
	if r.whole {
		return io.EOF
	}
	r.piece = append(r.piece[:0], r.held...)
	r.held = r.held[:0]
	for {
		begin := r.lines.offset
		line, err := r.lines.next()
		if errors.Is(err, io.EOF) && begin == r.from && r.from > 0 {
			return err // it was read to its end before
		}
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("the text ends at byte %d without its last line, %s: it is cut off", begin, eofLine)
		}
		if err != nil {
			return err
		}
		r.end = r.lines.offset
		if bytes.Equal(line, eofLine) {
			r.whole = true
			break
		}
		comment := bytes.HasPrefix(line, []byte("# "))
		if (comment && len(r.piece) >= pieceBytes) || len(r.piece) >= maxPieceBytes {
			r.held = append(append(r.held, line...), '\n')
			r.end = begin
			break
		}
		r.piece = append(append(r.piece, line...), '\n')
	}
	r.piece = append(append(r.piece, eofLine...), '\n')
	return nil
}

// Offset implements Reader: the place of the piece, whose samples are not all
// returned yet.
func (r *openMetricsReader) Offset() int64 {
	if r.parser == nil {
		return r.end
	}
	return r.offset
}

// Close implements Reader.
func (r *openMetricsReader) Close() error { return nil }
