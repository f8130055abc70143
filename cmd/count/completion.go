package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/count-db/count/internal/interchange"
)

func completionVerb() verb {
	return verb{
		name:    "completion",
		summary: "make the shell complete commands, flags and metric names",
		usage: `Usage:
  count completion bash|zsh|fish

Prints a script for the shell. It asks this program for what may stand where, so
it never grows old. Names of metrics come from the node (COUNT_SERVER).

Examples:
  source <(count completion bash)                                  # in ~/.bashrc
  source <(count completion zsh)                                   # in ~/.zshrc, behind compinit
  count completion fish > ~/.config/fish/completions/count.fish
`,
		words: []string{"bash", "zsh", "fish"},
		run:   runCompletion,
	}
}

const bashCompletion = `# Completion of count for bash: source <(count completion bash)
_count() {
  local IFS=$'\n'
  COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" completion words "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _count count
`

const zshCompletion = `#compdef count
# Completion of count for zsh: source <(count completion zsh)
_count() {
  local -a found
  found=("${(@f)$("${words[1]}" completion words "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  compadd -a found || _files
}
compdef _count count
`

const fishCompletion = `# Completion of count for fish
complete -c count -f -a '(count completion words (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
complete -c count -n '__fish_seen_subcommand_from import export backup restore check inspect serve' -F
`

func runCompletion(ctx context.Context, c call) error {
	scripts := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
	if len(c.args) > 0 && c.args[0] == "words" {
		// Asked by the scripts: the words so far, the last of which is being typed.
		for _, w := range completions(ctx, c, c.args[1:]) {
			fmt.Fprintln(c.stdout, w)
		}
		return nil
	}
	if len(c.args) != 1 || scripts[c.args[0]] == "" {
		return &usageError{errors.New("say for which shell: bash, zsh or fish")}
	}
	_, err := fmt.Fprint(c.stdout, scripts[c.args[0]])
	return err
}

// flagName finds flags in the text of a help.
var flagName = regexp.MustCompile(`(^|[\s\[(])(--[a-z][a-z0-9.-]*|-[ou])\b`)

// completions returns what may stand at the end of a line of words.
func completions(ctx context.Context, c call, words []string) []string {
	typed := ""
	if len(words) > 0 {
		typed, words = words[len(words)-1], words[:len(words)-1]
	}
	var all []string
	switch {
	case len(words) == 0 && strings.HasPrefix(typed, "-"):
		all = append(flagsOf(findVerb("serve")), "--help")
	case len(words) == 0:
		all = append(all, "help")
		for _, v := range verbs() {
			all = append(all, v.name)
		}
	case words[0] == "help":
		for _, v := range verbs() {
			all = append(all, v.name)
		}
	default:
		v := findVerb(words[0])
		if v == nil {
			return nil
		}
		all = argumentsOf(ctx, c, v, words[1:], typed)
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(w string) bool { return !strings.HasPrefix(w, typed) })
}

// argumentsOf returns what may stand behind a verb and some words.
func argumentsOf(ctx context.Context, c call, v *verb, words []string, typed string) []string {
	if strings.HasPrefix(typed, "-") {
		return append(flagsOf(v), "--help")
	}
	if n := len(words); n > 0 {
		switch words[n-1] {
		case "--output":
			return outputs()
		case "--form":
			var all []string
			for _, f := range interchange.Forms() {
				all = append(all, string(f))
			}
			return all
		case "--consistency":
			return []string{"one", "quorum", "all"}
		}
	}
	if len(v.words) > 0 && len(words) == 0 {
		return v.words
	}
	if v.name == "query" || v.name == "export" || v.name == "insert" {
		return metricNames(ctx, c, typed)
	}
	return nil
}

// flagsOf returns the flags that the help of a verb names.
func flagsOf(v *verb) []string {
	var text bytes.Buffer
	text.WriteString(v.usage)
	if v.more != nil {
		v.more(&text)
	}
	var all []string
	for _, m := range flagName.FindAllStringSubmatch(text.String(), -1) {
		all = append(all, strings.TrimRight(m[2], ".-"))
	}
	return all
}

// completionWait is how long a node may think about names.
const completionWait = time.Second

// metricNames asks the node; without an answer there are none.
func metricNames(ctx context.Context, c call, typed string) []string {
	_, at := newFlags(c, "completion")
	node, err := at.client()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completionWait)
	defer cancel()
	form := url.Values{"limit": {"500"}, "match[]": {fmt.Sprintf("{__name__=~%q}", regexp.QuoteMeta(typed)+".*")}}
	answer, err := node.do(ctx, "GET", "/api/v1/label/__name__/values?"+form.Encode(), "", nil)
	if err != nil {
		return nil
	}
	var names struct {
		Data []string `json:"data"`
	}
	if err := json.Unmarshal(answer, &names); err != nil {
		return nil
	}
	return names.Data
}
