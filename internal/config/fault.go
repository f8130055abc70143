package config

import (
	"fmt"
	"strings"
)

// Fault is one thing wrong with the settings.
type Fault struct {
	Key     string // as it was written in its source
	Source  string // "environment", "flag", or the configuration file with the line
	Value   string // what was given; masked for secrets
	Problem string // what is wrong with it
	Allowed string // what is allowed instead
}

// String returns the fault as one line.
func (f Fault) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s): ", f.Key, f.Source)
	if f.Value != "" {
		fmt.Fprintf(&b, "%q ", f.Value)
	}
	b.WriteString(f.Problem)
	if f.Allowed != "" {
		b.WriteString("; allowed: " + f.Allowed)
	}
	return b.String()
}

// FaultsError lists everything that is wrong with the settings.
type FaultsError struct{ Faults []Fault }

// Error lists the faults, one a line.
func (e *FaultsError) Error() string {
	lines := make([]string, 0, len(e.Faults))
	for _, f := range e.Faults {
		lines = append(lines, f.String())
	}
	return "wrong settings:\n  " + strings.Join(lines, "\n  ")
}
