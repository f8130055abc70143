package rest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds the nesting of values that are skipped.
const maxDepth = 64

// parser walks over JSON text. Its methods read at i and leave i behind what
// they read.
type parser struct {
	b       []byte
	i       int
	scratch []byte // of strings with escapes
}

// syntaxError says where the text is no JSON.
func (p *parser) syntaxError(want string) error {
	if p.i >= len(p.b) {
		return fmt.Errorf("invalid JSON: expected %s, found the end of the body", want)
	}
	r, _ := utf8.DecodeRune(p.b[p.i:])
	return fmt.Errorf("invalid JSON: expected %s, found %q at byte %d", want, r, p.i)
}

// space skips white space and returns how many line feeds were in it.
func (p *parser) space() (lines int) {
	for ; p.i < len(p.b); p.i++ {
		switch p.b[p.i] {
		case '\n':
			lines++
		case ' ', '\t', '\r':
		default:
			return lines
		}
	}
	return lines
}

// take skips white space and then c, if it is there.
func (p *parser) take(c byte) bool {
	p.space()
	if p.i < len(p.b) && p.b[p.i] == c {
		p.i++
		return true
	}
	return false
}

// word skips a literal, if it is there.
func (p *parser) word(w string) bool {
	if !bytes.HasPrefix(p.b[p.i:], []byte(w)) {
		return false
	}
	p.i += len(w)
	return true
}

// members calls f for each member of the object that begins here. f reads the
// value; the key is valid only until it does.
func (p *parser) members(f func(key []byte) error) error {
	if !p.take('{') {
		return p.syntaxError("an object")
	}
	if p.take('}') {
		return nil
	}
	for {
		p.space()
		key, err := p.str()
		if err != nil {
			return err
		}
		if !p.take(':') {
			return p.syntaxError("':'")
		}
		p.space()
		if err := f(key); err != nil {
			return err
		}
		if p.take('}') {
			return nil
		}
		if !p.take(',') {
			return p.syntaxError("',' or '}'")
		}
	}
}

// str reads a string. The result is valid until the next call.
func (p *parser) str() ([]byte, error) {
	if p.i >= len(p.b) || p.b[p.i] != '"' {
		return nil, p.syntaxError("a string")
	}
	p.i++
	start := p.i
	for p.i < len(p.b) {
		switch c := p.b[p.i]; {
		case c == '"':
			p.i++
			return validText(p.b[start : p.i-1])
		case c == '\\':
			return p.escaped(start)
		case c < ' ':
			return nil, p.syntaxError("no control character in a string")
		default:
			p.i++
		}
	}
	return nil, p.syntaxError("'\"'")
}

func validText(s []byte) ([]byte, error) {
	if !utf8.Valid(s) {
		return nil, errors.New("invalid JSON: a string is not valid UTF-8")
	}
	return s, nil
}

// escaped reads the rest of a string that began at start and has escapes from i on.
func (p *parser) escaped(start int) ([]byte, error) {
	p.scratch = append(p.scratch[:0], p.b[start:p.i]...)
	for p.i < len(p.b) {
		switch c := p.b[p.i]; {
		case c == '"':
			p.i++
			return validText(p.scratch)
		case c == '\\':
			p.i++
			if err := p.escape(); err != nil {
				return nil, err
			}
		case c < ' ':
			return nil, p.syntaxError("no control character in a string")
		default:
			p.scratch = append(p.scratch, c)
			p.i++
		}
	}
	return nil, p.syntaxError("'\"'")
}

// simpleEscapes are the escapes of one letter.
var simpleEscapes = [256]byte{
	'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

// escape reads what follows a backslash.
func (p *parser) escape() error {
	if p.i >= len(p.b) {
		return p.syntaxError("an escape")
	}
	c := p.b[p.i]
	if plain := simpleEscapes[c]; plain != 0 {
		p.scratch = append(p.scratch, plain)
		p.i++
		return nil
	}
	if c != 'u' {
		return p.syntaxError("an escape")
	}
	p.i++
	r, ok := p.hex4()
	if !ok {
		return p.syntaxError("four hexadecimal digits")
	}
	if utf16.IsSurrogate(r) {
		low := rune(0)
		if p.word(`\u`) {
			if low, ok = p.hex4(); !ok {
				return p.syntaxError("four hexadecimal digits")
			}
		}
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			return errors.New("invalid JSON: a string has half a surrogate pair")
		}
	}
	p.scratch = utf8.AppendRune(p.scratch, r)
	return nil
}

func (p *parser) hex4() (rune, bool) {
	if len(p.b)-p.i < 4 {
		return 0, false
	}
	v, err := strconv.ParseUint(string(p.b[p.i:p.i+4]), 16, 32)
	if err != nil {
		return 0, false
	}
	p.i += 4
	return rune(v), true
}

// number reads a number and returns its text; ok is false where none begins.
func (p *parser) number() (text []byte, ok bool) {
	b, i := p.b, p.i
	digits := func() bool {
		from := i
		for i < len(b) && b[i] >= '0' && b[i] <= '9' {
			i++
		}
		return i > from
	}
	if i < len(b) && b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if !digits() {
		return nil, false
	}
	if i < len(b) && b[i] == '.' {
		i++
		if !digits() {
			return nil, false
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if !digits() {
			return nil, false
		}
	}
	text, p.i = b[p.i:i], i
	return text, true
}

// skip reads a value of any kind.
func (p *parser) skip(depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("invalid JSON: nested more than %d deep", maxDepth)
	}
	p.space()
	if p.i >= len(p.b) {
		return p.syntaxError("a value")
	}
	switch p.b[p.i] {
	case '{':
		return p.members(func([]byte) error { return p.skip(depth + 1) })
	case '[':
		p.i++
		if p.take(']') {
			return nil
		}
		for {
			if err := p.skip(depth + 1); err != nil {
				return err
			}
			if p.take(']') {
				return nil
			}
			if !p.take(',') {
				return p.syntaxError("',' or ']'")
			}
		}
	case '"':
		_, err := p.str()
		return err
	}
	if p.word("true") || p.word("false") || p.word("null") {
		return nil
	}
	if _, ok := p.number(); ok {
		return nil
	}
	return p.syntaxError("a value")
}

// errNotInteger and errOutOfRange are what integer refuses a number for.
var (
	errNotInteger = errors.New("not an integer")
	errOutOfRange = errors.New("out of range")
)

// integer returns the value of a number's text if it is an integer exactly and
// fits into an int64, however it is written: 1000, 1e3, 1000.0.
func integer(text []byte) (int64, error) {
	if v, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		return v, nil
	}
	mantissa, exponent := text, 0
	if e := bytes.IndexAny(text, "eE"); e >= 0 {
		var err error
		mantissa = text[:e]
		if exponent, err = strconv.Atoi(string(text[e+1:])); err != nil {
			// Beyond an int: no number of digits here makes up for it.
			exponent = math.MaxInt32
			if text[e+1] == '-' {
				exponent = -math.MaxInt32
			}
		}
	}
	mantissa, negative := bytes.CutPrefix(mantissa, []byte("-"))
	whole, fraction, _ := bytes.Cut(mantissa, []byte("."))
	digits := append(bytes.Clone(whole), fraction...)
	digits = bytes.TrimLeft(digits, "0")
	exponent -= len(fraction)
	if trimmed := bytes.TrimRight(digits, "0"); len(trimmed) < len(digits) {
		exponent += len(digits) - len(trimmed)
		digits = trimmed
	}
	const maxDigits = 19 // of an int64
	switch {
	case len(digits) == 0:
		return 0, nil
	case exponent < 0:
		return 0, errNotInteger
	case len(digits)+exponent > maxDigits:
		return 0, errOutOfRange
	}
	digits = append(digits, bytes.Repeat([]byte("0"), exponent)...)
	if negative {
		digits = append([]byte("-"), digits...)
	}
	v, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil {
		return 0, errOutOfRange
	}
	return v, nil
}
