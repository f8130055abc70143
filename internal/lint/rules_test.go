package lint

import (
	"go/ast"
	"regexp"
	"strings"
	"testing"
)

const (
	maxFileLines     = 600
	maxTestFileLines = 800
	maxFuncLines     = 70
)

func TestSizes(t *testing.T) {
	for _, s := range sources(t) {
		limit := maxFileLines
		if s.test {
			limit = maxTestFileLines
		}
		if s.lines > limit {
			t.Errorf("%s has %d lines, more than %d: it holds more than one idea, split it", s.path, s.lines, limit)
		}
		if s.test {
			continue
		}
		for _, decl := range s.file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			if n := s.line(f.End()) - s.line(f.Pos()) + 1; n > maxFuncLines && !isTable(f) {
				t.Errorf("%s:%d: function %s has %d lines, more than %d: give its steps names", s.path, s.line(f.Pos()), f.Name.Name, n, maxFuncLines)
			}
		}
	}
}

// isTable reports whether a function only returns one expression: a table may
// be as long as it has rows, and a call as long as it has arguments.
func isTable(f *ast.FuncDecl) bool {
	if len(f.Body.List) != 1 {
		return false
	}
	_, ok := f.Body.List[0].(*ast.ReturnStmt)
	return ok
}

// ban is a call that has no place in some files.
type ban struct {
	call  string // package.Function, or a built-in function
	where func(s *source) bool
	cure  string
}

func bans() []ban {
	in := func(dirs ...string) func(*source) bool {
		return func(s *source) bool {
			for _, d := range dirs {
				if within(s.dir, d) && !s.test {
					return true
				}
			}
			return false
		}
	}
	pure := in("engine/plan", "engine/column", "engine/buffer", "cluster/ring", "cluster/quorum", "cluster/agree", "cluster/antientropy", "cluster/frontier", "cluster/merge", "cluster/rebalance", "cluster/settle", "cluster/spread", "promql/plan", "promql/partial", "internal/model", "internal/wire")
	return []ban{
		{"time.Sleep", func(s *source) bool {
			_, virtual := s.imports()["synctest"] // time there is virtual
			return s.test && !virtual && !within(s.dir, "test/process") && !within(s.dir, "test/netns")
		}, "wait for a condition, or use testing/synctest"},
		{"time.Now", pure, "take the time as an argument: this package is pure"},
		{"time.After", in("engine", "cluster", "ingest", "remote", "promql"), "use a timer that is stopped"},
		{
			"panic", func(s *source) bool {
				return !s.test && !within(s.dir, "internal/invariants") && !within(s.dir, "test")
			},
			"return an error; what cannot happen is said with internal/invariants",
		},
		{"log.Fatal", in(""), "return an error to main"},
		{"os.Exit", func(s *source) bool { return !s.test && s.path != "cmd/count/main.go" }, "return an error to main"},
		{"fmt.Println", in("engine", "cluster", "ingest", "remote", "promql", "internal"), "log it"},
		{"fmt.Printf", in("engine", "cluster", "ingest", "remote", "promql", "internal"), "log it"},
	}
}

// passedOn matches the comment that lets a panic stand: it hands on another's.
var passedOn = regexp.MustCompile(`panic\((fault|http\.ErrAbortHandler)\)`)

func TestBans(t *testing.T) {
	all := bans()
	for _, s := range sources(t) {
		imports := s.imports()
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			name := calledName(call, imports)
			for _, b := range all {
				if name != b.call || !b.where(&s) {
					continue
				}
				at := s.line(call.Pos())
				if b.call == "panic" && passedOn.MatchString(strings.Split(s.text, "\n")[at-1]) {
					continue
				}
				t.Errorf("%s:%d: %s: %s", s.path, at, b.call, b.cure)
			}
			return true
		})
	}
}

func calledName(call *ast.CallExpr, imports map[string]string) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if pkg, ok := f.X.(*ast.Ident); ok && imports[pkg.Name] != "" {
			return imports[pkg.Name] + "." + f.Sel.Name
		}
	}
	return ""
}

var leftForLater = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)

func TestNothingIsLeftForLater(t *testing.T) {
	for _, s := range sources(t) {
		if s.dir == "internal/lint" {
			continue
		}
		for _, group := range s.file.Comments {
			if m := leftForLater.FindString(group.Text()); m != "" {
				t.Errorf("%s:%d: %s in a comment: do it, or open an issue", s.path, s.line(group.Pos()), m)
			}
		}
	}
}

// TestNoPackageState: package variables are errors, tables and compiled
// patterns; what changes lives in a value that somebody made.
func TestNoPackageState(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, decl := range s.file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if ok && f.Name.Name == "init" && f.Recv == nil {
				t.Errorf("%s:%d: an init function: make it a constructor", s.path, s.line(f.Pos()))
			}
		}
	}
}
