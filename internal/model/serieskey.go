package model

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// SeriesKey returns the canonical text of a label set: the metric name, then
// the other labels sorted by name, quoted as Prometheus quotes them:
// name{a="b",c="d"}. A series of only a name is just that name; one without a
// name begins with the brace; a name that itself holds a brace is written
// inside, quoted: {"na{me",a="b"}.
func SeriesKey(ls labels.Labels) string {
	var b strings.Builder
	first := true
	if name := ls.Get(labels.MetricName); strings.IndexByte(name, '{') < 0 {
		b.WriteString(name)
	} else {
		b.WriteString("{" + strconv.Quote(name))
		first = false
	}
	ls.Range(func(l labels.Label) {
		if l.Name == labels.MetricName {
			return
		}
		if first {
			b.WriteByte('{')
			first = false
		} else {
			b.WriteByte(',')
		}
		if model.LabelName(l.Name).IsValidLegacy() {
			b.WriteString(l.Name)
		} else {
			b.WriteString(strconv.Quote(l.Name))
		}
		b.WriteByte('=')
		b.WriteString(strconv.Quote(l.Value))
	})
	if !first {
		b.WriteByte('}')
	}
	return b.String()
}

// ErrSeriesKey marks what ParseSeriesKey refuses.
var ErrSeriesKey = errors.New("malformed series key")

// ParseSeriesKey parses a plain key (any text without a brace: the metric
// name) or a full one, name{a="b",...}, names of labels in any order. A label
// given twice, an empty key and text that is not UTF-8 are errors that wrap
// ErrSeriesKey. Labels with an empty value are dropped, as everywhere in
// Prometheus.
func ParseSeriesKey(key string) (labels.Labels, error) {
	if key == "" {
		return labels.EmptyLabels(), fmt.Errorf("%w: empty", ErrSeriesKey)
	}
	if !utf8.ValidString(key) {
		return labels.EmptyLabels(), fmt.Errorf("%w: not valid UTF-8", ErrSeriesKey)
	}
	open := strings.IndexByte(key, '{')
	if open < 0 {
		return labels.FromStrings(labels.MetricName, key), nil
	}
	p := keyParser{rest: key[open+1:]}
	b := labels.NewScratchBuilder(8)
	seen := map[string]bool{}
	add := func(name, value string) error {
		if seen[name] {
			return fmt.Errorf("%w: label %q given twice", ErrSeriesKey, name)
		}
		seen[name] = true
		if value != "" {
			b.Add(name, value)
		}
		return nil
	}
	if open > 0 {
		if err := add(labels.MetricName, key[:open]); err != nil {
			return labels.EmptyLabels(), err
		}
	}
	if err := p.labels(add); err != nil {
		return labels.EmptyLabels(), err
	}
	b.Sort()
	ls := b.Labels()
	if ls.IsEmpty() {
		return ls, fmt.Errorf("%w: no labels", ErrSeriesKey)
	}
	return ls, nil
}

// keyParser reads the part behind the opening brace.
type keyParser struct{ rest string }

func (p *keyParser) space() { p.rest = strings.TrimLeft(p.rest, " \t\n\r") }

func (p *keyParser) take(c byte) bool {
	p.space()
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *keyParser) labels(add func(name, value string) error) error {
	for !p.take('}') {
		name, quoted, err := p.name()
		if err != nil {
			return err
		}
		p.space()
		if quoted && (p.rest == "" || p.rest[0] == ',' || p.rest[0] == '}') {
			// {"metric.name", a="b"}: the quoted form of the metric name.
			if err := add(labels.MetricName, name); err != nil {
				return err
			}
		} else {
			if !p.take('=') {
				return fmt.Errorf("%w: expected '=' behind label %q", ErrSeriesKey, name)
			}
			value, err := p.quoted()
			if err != nil {
				return fmt.Errorf("%w: value of label %q is not a quoted string", ErrSeriesKey, name)
			}
			if err := add(name, value); err != nil {
				return err
			}
		}
		if p.take(',') {
			continue
		}
		p.space()
		if p.rest == "" || p.rest[0] != '}' {
			return fmt.Errorf("%w: expected ',' or '}' behind label %q", ErrSeriesKey, name)
		}
	}
	p.space()
	if p.rest != "" {
		return fmt.Errorf("%w: text behind the closing brace", ErrSeriesKey)
	}
	return nil
}

func (p *keyParser) name() (string, bool, error) {
	p.space()
	if p.rest != "" && (p.rest[0] == '"' || p.rest[0] == '\'') {
		s, err := p.quoted()
		if err != nil || s == "" {
			return "", true, fmt.Errorf("%w: bad quoted name", ErrSeriesKey)
		}
		return s, true, nil
	}
	i := 0
	for i < len(p.rest) && isNameByte(p.rest[i], i) {
		i++
	}
	if i == 0 {
		return "", false, fmt.Errorf("%w: expected a label name or '}'", ErrSeriesKey)
	}
	s := p.rest[:i]
	p.rest = p.rest[i:]
	return s, false, nil
}

func isNameByte(c byte, i int) bool {
	return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (i > 0 && c >= '0' && c <= '9')
}

// quoted reads a string in double or single quotes, with Go's escapes.
func (p *keyParser) quoted() (string, error) {
	p.space()
	if p.rest == "" || (p.rest[0] != '"' && p.rest[0] != '\'') {
		return "", ErrSeriesKey
	}
	quote, rest := p.rest[0], p.rest[1:]
	var b strings.Builder
	for {
		if rest == "" {
			return "", ErrSeriesKey
		}
		if rest[0] == quote {
			p.rest = rest[1:]
			if s := b.String(); utf8.ValidString(s) {
				return s, nil
			}
			return "", ErrSeriesKey
		}
		r, multibyte, tail, err := strconv.UnquoteChar(rest, quote)
		if err != nil {
			return "", fmt.Errorf("%w: %w", ErrSeriesKey, err)
		}
		if r < utf8.RuneSelf || !multibyte {
			b.WriteByte(byte(r))
		} else {
			b.WriteRune(r)
		}
		rest = tail
	}
}
