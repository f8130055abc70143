package promql

import (
	"fmt"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// DefaultMaxQueryLength is the most bytes that a query may have by default.
const DefaultMaxQueryLength = 1 << 20

// Bounds of what a query may be made of. Prometheus's parser has none, and walks
// what it parsed once for each level of it: 100 KB of parentheses keep it busy for
// minutes, and some megabytes take all memory.
const (
	// maxNesting is how deep parentheses may be nested.
	maxNesting = 500
	// maxOperators is how many operators and ranges a query may have: a chain of them
	// is parsed into as many levels.
	maxOperators = 2000
	// uncheckedBelow is the length, in bytes, of queries that cannot be harmful.
	uncheckedBelow = 512
	// selectorCost is what each of several selectors counts for beside its length,
	// in bytes.
	selectorCost = 64
)

// boundedParser refuses what it would cost too much to parse.
type boundedParser struct {
	parser.Parser
	maxLength int
}

// ParseExpr implements parser.Parser.
func (p *boundedParser) ParseExpr(input string) (parser.Expr, error) {
	if err := p.check(input); err != nil {
		return nil, err
	}
	return p.Parser.ParseExpr(input)
}

// ParseMetric implements parser.Parser.
func (p *boundedParser) ParseMetric(input string) (labels.Labels, error) {
	if err := p.check(input); err != nil {
		return labels.EmptyLabels(), err
	}
	return p.Parser.ParseMetric(input)
}

// ParseMetricSelector implements parser.Parser.
func (p *boundedParser) ParseMetricSelector(input string) ([]*labels.Matcher, error) {
	if err := p.check(input); err != nil {
		return nil, err
	}
	return p.Parser.ParseMetricSelector(input)
}

// ParseMetricSelectors implements parser.Parser. The bound on the length is for
// all of them together.
func (p *boundedParser) ParseMetricSelectors(inputs []string) ([][]*labels.Matcher, error) {
	total := 0
	for _, s := range inputs {
		if total += len(s) + selectorCost; total > p.maxLength+selectorCost {
			return nil, fmt.Errorf("%d selectors: together they are longer than %d bytes (QUERY_MAX_LENGTH)", len(inputs), p.maxLength)
		}
		if err := checkShape(s); err != nil {
			return nil, err
		}
	}
	return p.Parser.ParseMetricSelectors(inputs)
}

// ParseSeriesDesc implements parser.Parser.
func (p *boundedParser) ParseSeriesDesc(input string) (labels.Labels, []parser.SequenceValue, error) {
	if err := p.check(input); err != nil {
		return labels.EmptyLabels(), nil, err
	}
	return p.Parser.ParseSeriesDesc(input)
}

func (p *boundedParser) check(input string) error {
	if len(input) > p.maxLength {
		return fmt.Errorf("the query has %d bytes, more than %d (QUERY_MAX_LENGTH)", len(input), p.maxLength)
	}
	return checkShape(input)
}

// checkShape counts brackets and operators, what stands in quotes, braces and
// comments apart. Text that is no PromQL may be counted wrongly: the parser stops
// where it begins.
func checkShape(input string) error {
	if len(input) < uncheckedBelow {
		return nil
	}
	depth, operators, braces := 0, 0, false
	for i := 0; i < len(input); {
		n := 1
		switch c := input[i]; c {
		case '"', '\'', '`', '#':
			n = lengthOfText(input[i:])
		case '{', '}':
			braces = c == '{'
		case '(':
			depth++
		case ')':
			depth--
		case '[', '+', '-', '*', '/', '%', '^', '<', '>', '=', '!':
			if !braces {
				operators++
			}
		default:
			n = lengthOfWord(input[i:])
			if !braces && isOperatorWord(input[i:i+n]) {
				operators++
			}
		}
		if depth > maxNesting {
			return fmt.Errorf("the query is nested deeper than %d levels", maxNesting)
		}
		if operators > maxOperators {
			return fmt.Errorf("the query has more than %d operators", maxOperators)
		}
		i += n
	}
	return nil
}

// lengthOfText is the length of the quoted text or the comment that s begins with.
func lengthOfText(s string) int {
	end := s[0]
	if end == '#' {
		end = '\n'
	}
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == end:
			return i + 1
		case s[i] == '\\' && (end == '"' || end == '\''):
			i++
		}
	}
	return len(s)
}

// lengthOfWord is how many bytes s begins with that may be of one name or number,
// at least 1.
func lengthOfWord(s string) int {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '_', c == ':', c == '.', c >= 0x80, '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		default:
			return max(1, i)
		}
	}
	return len(s)
}

// isOperatorWord says whether a word stands between two operands.
func isOperatorWord(word string) bool {
	if len(word) > len("unless") {
		return false
	}
	switch strings.ToLower(word) {
	case "and", "or", "unless", "atan2":
		return true
	}
	return false
}
