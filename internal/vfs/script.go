package vfs

import (
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Script reads faults written in words, for NewFault; one rule a line (or
// between semicolons), empty lines and # comments left out:
//
//	fail OPERATION PATTERN [nth=N] [times=N] [err=EIO|ENOSPC|EOF]
//	short OPERATION PATTERN bytes=N [nth=N] [times=N] [err=...]
//
// PATTERN is a path/filepath pattern of the base name, or of the whole path when
// it has a slash. nth: the first matching operation that fails, from 1
// (default 1); times: how many fail in a row (default 1; 0: all from then on).
// "fail" does nothing and returns the error, "short" does the first N bytes of
// a read or write and then returns it. For instance the second write to a log:
//
//	fail write *.log nth=2 err=ENOSPC
func Script(text string) (func(Op) Fault, error) {
	var rules []*faultRule
	for _, line := range strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == ';' }) {
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		r, err := parseRule(strings.Fields(line))
		if err != nil {
			return nil, fmt.Errorf("fault script: %q: %w", strings.TrimSpace(line), err)
		}
		rules = append(rules, r)
	}
	var mu sync.Mutex
	return func(op Op) Fault {
		mu.Lock()
		defer mu.Unlock()
		for _, r := range rules {
			if r.hits(op) {
				return r.fault
			}
		}
		return Fault{}
	}, nil
}

type faultRule struct {
	op      OpKind
	pattern string
	nth     int
	times   int
	fault   Fault
	seen    int // matching operations so far
}

func (r *faultRule) hits(op Op) bool {
	if op.Kind != r.op {
		return false
	}
	name := op.Path
	if !strings.Contains(r.pattern, "/") {
		name = filepath.Base(name)
	}
	if ok, err := filepath.Match(r.pattern, name); err != nil || !ok {
		return false
	}
	r.seen++
	return r.seen >= r.nth && (r.times == 0 || r.seen < r.nth+r.times)
}

func parseRule(words []string) (*faultRule, error) {
	if len(words) < 3 || (words[0] != "fail" && words[0] != "short") {
		return nil, fmt.Errorf("expected: fail|short OPERATION PATTERN [key=value...]")
	}
	r := &faultRule{op: OpKind(words[1]), pattern: words[2], nth: 1, times: 1, fault: Fault{Err: syscall.EIO}}
	if _, err := filepath.Match(r.pattern, ""); err != nil {
		return nil, err
	}
	for _, word := range words[3:] {
		key, value, _ := strings.Cut(word, "=")
		if key == "err" {
			err, ok := map[string]error{"EIO": syscall.EIO, "ENOSPC": ErrNoSpace, "EOF": io.ErrUnexpectedEOF}[value]
			if !ok {
				return nil, fmt.Errorf("unknown error %q", value)
			}
			r.fault.Err = err
			continue
		}
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%s: not a number: %q", key, value)
		}
		switch key {
		case "nth":
			r.nth = n
		case "times":
			r.times = n
		case "bytes":
			r.fault.Bytes = n
		default:
			return nil, fmt.Errorf("unknown key %q", key)
		}
	}
	return r, nil
}
