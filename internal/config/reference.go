package config

import (
	"fmt"
	"strings"
)

// Reference returns the documentation of all settings in Markdown: what
// docs/configuration.md holds.
func Reference() string {
	var b strings.Builder
	b.WriteString(referenceHead)
	group := ""
	for _, f := range fields() {
		if f.group != group {
			group = f.group
			fmt.Fprintf(&b, "\n## %s\n\n| environment | meaning | allowed | default |\n|---|---|---|---|\n", group)
		}
		names := "`" + f.env() + "`"
		for _, a := range f.aliases {
			names += ", also `" + strings.ToUpper(a) + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", names, cell(f.help), cell(f.kind.allowed), cell(f.shownDefault()))
	}
	return b.String()
}

const referenceHead = `# Configuration

<!-- Written by "make docs" from internal/config/fields.go: change it there. -->

Every setting can be given in three places. Where several give it, the environment wins over the configuration file, the file over flags, flags over the default.

| place | how NODE_ID is given |
|---|---|
| environment | ` + "`NODE_ID=1`" + ` (an empty value counts as not set) |
| configuration file | ` + "`node_id: 1`" + `, in the YAML file that ` + "`CONFIG_FILE` or `--config.file`" + ` names |
| flag | ` + "`--node-id 1` or `--node-id=1`" + ` |

Durations are written as Prometheus writes them (` + "`15d`, `1h30m`, `500ms`" + `); a plain integer is seconds. Sizes are in powers of 1024 (` + "`256MiB`" + `). Unknown keys in the file, unknown flags and values that are not allowed stop the start, wherever they stand, with a message that names the key, where it was given and what is allowed; all faults are listed at once. ` + "`count check config`" + ` checks without starting.
`

func (f *field) shownDefault() string {
	if f.shown != "" {
		return f.shown
	}
	return f.def
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// Usage returns the settings as lines for a command's help.
func Usage() string {
	var b strings.Builder
	group := ""
	for _, f := range fields() {
		if f.group != group {
			group = f.group
			fmt.Fprintf(&b, "\n%s:\n", group)
		}
		fmt.Fprintf(&b, "  --%-26s %s", f.flag(), f.help)
		if d := f.shownDefault(); d != "" {
			fmt.Fprintf(&b, " (default %s)", d)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Setting is one setting with its value in force.
type Setting struct {
	Flag  string // name on the command line, without dashes in front
	Key   string // name in the configuration file
	Value string // masked for secrets
}

// Settings returns all settings with their values in force, in the order of
// the table.
func (c *Config) Settings() []Setting {
	table := fields()
	out := make([]Setting, 0, len(table))
	for _, f := range table {
		v := f.kind.get(c)
		if f.secret && v != "" {
			v = "<secret>"
		}
		out = append(out, Setting{Flag: f.flag(), Key: f.key, Value: v})
	}
	return out
}

// YAML returns the settings in force as a configuration file, secrets masked.
func (c *Config) YAML() string {
	var b strings.Builder
	for _, s := range c.Settings() {
		fmt.Fprintf(&b, "%s: %s\n", s.Key, yamlScalar(s.Value))
	}
	return b.String()
}

// yamlScalar quotes what YAML would read as something other than its text.
func yamlScalar(s string) string {
	if s == "" || strings.ContainsAny(s, ":#{}[]&*!|>'\"%@`<, ") || strings.HasPrefix(s, ".") {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
	}
	return s
}
