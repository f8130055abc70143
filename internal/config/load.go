package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Sources are where settings come from.
type Sources struct {
	// Environ are KEY=value lines as os.Environ returns them. A key with an
	// empty value counts as not set. Keys that are not ours are ignored.
	Environ []string
	// Args are command-line flags: --key value, --key=value, or --key alone
	// for a switch.
	Args []string
	// ReadFile reads the configuration file; nil = os.ReadFile.
	ReadFile func(name string) ([]byte, error)
}

// given is one value as a source gave it.
type given struct {
	key    string // as written
	value  string
	source string
}

// Load resolves the settings: environment over configuration file over flags
// over defaults. Every value is checked, also one that another source
// overrides. Its error is a *FaultsError.
func Load(src Sources) (*Config, error) {
	l := loader{table: fields()}
	flags, file := l.flags(src.Args)
	env := l.environ(src.Environ)
	if named := lookup(src.Environ, "CONFIG_FILE"); named != "" {
		file = named
	}
	var fromFile map[string]given
	if file != "" {
		fromFile = l.file(file, src.ReadFile)
	}
	cfg := &Config{}
	set := map[string]given{} // by canonical key: what won
	for i := range l.table {
		f := &l.table[i]
		l.apply(cfg, f, given{key: f.key, value: f.def, source: "default"}, f.def != "")
		for _, from := range []map[string]given{flags, fromFile, env} {
			for _, key := range slices.Backward(f.keys()) {
				if g, ok := from[key]; ok {
					if l.apply(cfg, f, g, true) {
						set[f.key] = g
					}
				}
			}
		}
	}
	l.finish(cfg, set)
	if len(l.faults) > 0 {
		return nil, &FaultsError{Faults: l.faults}
	}
	return cfg, nil
}

// loader collects the faults while the sources are read.
type loader struct {
	table  []field
	faults []Fault
}

func (l *loader) find(key string) *field {
	for i := range l.table {
		if slices.Contains(l.table[i].keys(), key) {
			return &l.table[i]
		}
	}
	return nil
}

func (l *loader) apply(cfg *Config, f *field, g given, present bool) bool {
	if !present {
		return false
	}
	if err := f.kind.set(cfg, g.value); err != nil {
		shown := g.value
		if f.secret {
			shown = "<secret>"
		}
		l.faults = append(l.faults, Fault{Key: g.key, Source: g.source, Value: shown, Problem: "is not allowed", Allowed: f.kind.allowed})
		return false
	}
	return true
}

func (l *loader) environ(environ []string) map[string]given {
	out := map[string]given{}
	for i := range l.table {
		for _, key := range l.table[i].keys() {
			name := strings.ToUpper(key)
			if v := lookup(environ, name); v != "" {
				out[key] = given{key: name, value: v, source: "environment"}
			}
		}
	}
	return out
}

// lookup returns the last value of a key, as a shell would see it.
func lookup(environ []string, name string) string {
	for _, kv := range slices.Backward(environ) {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// flags parses the command line and returns the values by key and the
// configuration file, if one was named.
func (l *loader) flags(args []string) (map[string]given, string) {
	out, file := map[string]given{}, ""
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if !strings.HasPrefix(arg, "-") || strings.Trim(arg, "-") == "" {
			l.faults = append(l.faults, Fault{Key: arg, Source: "command line", Problem: "is not a flag", Allowed: "flags such as --node-id 1"})
			continue
		}
		name, value, hasValue := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-"), "=")
		f := l.find(strings.ReplaceAll(name, "-", "_"))
		isFile := name == "config.file" || name == "config-file"
		if f == nil && !isFile {
			l.faults = append(l.faults, Fault{Key: "--" + name, Source: "command line", Problem: "is not a known flag", Allowed: l.near(name, "-") + "`count serve --help` lists the flags"})
			continue
		}
		if !hasValue && f != nil && f.kind.isBool && (i+1 == len(args) || strings.HasPrefix(args[i+1], "-")) {
			value, hasValue = "true", true
		}
		if !hasValue {
			if i+1 == len(args) || strings.HasPrefix(args[i+1], "--") {
				l.faults = append(l.faults, Fault{Key: "--" + name, Source: "command line", Problem: "has no value"})
				continue
			}
			i++
			value = args[i]
		}
		if isFile {
			file = value
			continue
		}
		key := strings.ReplaceAll(name, "-", "_")
		out[key] = given{key: "--" + name, value: value, source: "flag"}
	}
	return out, file
}

// file reads the YAML configuration file: one flat mapping of keys.
func (l *loader) file(name string, read func(string) ([]byte, error)) map[string]given {
	if read == nil {
		read = os.ReadFile
	}
	fault := func(key, problem, allowed string, line int) {
		source := "file " + name
		if line > 0 {
			source += fmt.Sprintf(" line %d", line)
		}
		l.faults = append(l.faults, Fault{Key: key, Source: source, Problem: problem, Allowed: allowed})
	}
	text, err := read(name)
	if err != nil {
		fault("CONFIG_FILE", "cannot be read: "+err.Error(), "the path of a YAML file", 0)
		return nil
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		fault("CONFIG_FILE", "is not YAML: "+err.Error(), "one mapping of settings, such as `node_id: 1`", 0)
		return nil
	}
	if len(doc.Content) == 0 || (doc.Content[0].Kind == yaml.ScalarNode && doc.Content[0].Tag == "!!null") {
		return nil // an empty file
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		fault("CONFIG_FILE", "is not a mapping", "one mapping of settings, such as `node_id: 1`", root.Line)
		return nil
	}
	out := map[string]given{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, node := root.Content[i], root.Content[i+1]
		switch _, twice := out[key.Value]; {
		case l.find(key.Value) == nil:
			fault(key.Value, "is not a known key", l.near(key.Value, "_")+"docs/configuration.md lists the keys", key.Line)
			continue
		case twice:
			fault(key.Value, "is given twice", "", key.Line)
			continue
		}
		kind := l.find(key.Value).kind
		value, err := scalar(node, kind.isList)
		if err != nil {
			fault(key.Value, err.Error(), kind.allowed, node.Line)
			continue
		}
		if value != "" {
			out[key.Value] = given{key: key.Value, value: value, source: fmt.Sprintf("file %s line %d", name, node.Line)}
		}
	}
	return out
}

// scalar returns the text of a value; a list of scalars, where one is allowed,
// is joined by commas.
func scalar(n *yaml.Node, list bool) (string, error) {
	switch {
	case n.Kind == yaml.ScalarNode:
		if n.Tag == "!!null" {
			return "", nil
		}
		return strings.TrimSpace(n.Value), nil
	case n.Kind == yaml.SequenceNode && list:
		parts := make([]string, 0, len(n.Content))
		for _, e := range n.Content {
			if e.Kind != yaml.ScalarNode {
				return "", errors.New("is a list of something other than plain values")
			}
			parts = append(parts, e.Value)
		}
		return strings.Join(parts, ","), nil
	}
	return "", errors.New("is not a plain value")
}

// near suggests the known key that a wrong one resembles most.
func (l *loader) near(key, separator string) string {
	norm := func(s string) string {
		return strings.NewReplacer("-", "", "_", "", ".", "").Replace(strings.ToLower(s))
	}
	best, bestDistance := "", 4
	for i := range l.table {
		for _, k := range l.table[i].keys() {
			if d := distance(norm(key), norm(k)); d < bestDistance {
				best, bestDistance = k, d
			}
		}
	}
	if best == "" {
		return ""
	}
	return "perhaps " + strings.ReplaceAll(best, "_", separator) + " is meant; "
}

// distance is the number of single-byte edits between two texts.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
