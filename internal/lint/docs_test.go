package lint

import (
	"go/ast"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func exists(rel string) bool {
	_, err := os.Stat(filepath.Join(root, filepath.FromSlash(rel)))
	return err == nil
}

// TestEveryPackageHasADocument: one can say in a sentence what a package does
// without reading its code.
func TestEveryPackageHasADocument(t *testing.T) {
	documented, code := map[string]bool{}, map[string]string{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		code[s.dir] = s.path
		if s.file.Doc != nil && len(s.file.Doc.Text()) > 40 {
			documented[s.dir] = true
		}
	}
	for dir, file := range code {
		if !documented[dir] {
			t.Errorf("package of %s has no comment: say in %s/doc.go what it does", file, dir)
		}
	}
}

// pages returns the Markdown files of the repository.
func pages(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(name, ".md") {
			all = append(all, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinksAreAlive: a page points only to files and headings that are there.
func TestLinksAreAlive(t *testing.T) {
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file := page
			if target != "" {
				file = filepath.Join(filepath.Dir(page), filepath.FromSlash(target))
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: link to %s leads nowhere", page, m[1])
				continue
			}
			if anchor != "" && strings.HasSuffix(file, ".md") && !hasHeading(t, file, anchor) {
				t.Errorf("%s: link to %s: no such heading", page, m[1])
			}
		}
	}
}

var notInAnchors = regexp.MustCompile(`[^\p{L}\p{N}\- _]`)

func hasHeading(t *testing.T, file, anchor string) bool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			continue
		}
		heading := strings.ToLower(strings.TrimSpace(strings.TrimLeft(line, "#")))
		if strings.ReplaceAll(notInAnchors.ReplaceAllString(heading, ""), " ", "-") == anchor {
			return true
		}
	}
	return false
}

// TestFormatsAreListed: docs/formats.md leads to every FORMAT.md.
func TestFormatsAreListed(t *testing.T) {
	index, err := os.ReadFile(filepath.Join(root, "docs", "formats.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages(t) {
		rel, err := filepath.Rel(root, page)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(page) == "FORMAT.md" && !strings.Contains(string(index), "../"+filepath.ToSlash(rel)) {
			t.Errorf("%s is not listed in docs/formats.md", rel)
		}
	}
}

// TestArchitectureIsComplete: docs/architecture.md names every package and gives
// the reason of every module that is required directly.
func TestArchitectureIsComplete(t *testing.T) {
	page := read(t, "docs/architecture.md")
	seen := map[string]bool{}
	for _, s := range sources(t) {
		if !seen[s.dir] && !strings.Contains(page, "`"+s.dir+"`") {
			t.Errorf("docs/architecture.md does not name the package %s: add it to the table", s.dir)
		}
		seen[s.dir] = true
	}
	for _, m := range direct.FindAllStringSubmatch(read(t, "go.mod"), -1) {
		name := strings.TrimPrefix(majorVersion.ReplaceAllString(m[1], ""), "github.com/")
		if !strings.Contains(page, name) {
			t.Errorf("docs/architecture.md does not say why %s is needed", m[1])
		}
	}
}

var (
	direct       = regexp.MustCompile(`(?m)^\t(\S+) v\S+$`)
	majorVersion = regexp.MustCompile(`/v[0-9]+$`)
	namedTest    = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]*)")
)

func read(t *testing.T, rel string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(rel)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestClusterIsMapped: the comment of the largest package, cluster, names each of
// its files, and none that is gone.
func TestClusterIsMapped(t *testing.T) {
	words := regexp.MustCompile(`\b[a-z]+\.go\b`).FindAllString(read(t, "cluster/doc.go"), -1)
	for _, s := range sources(t) {
		name := filepath.Base(s.path)
		if s.dir != "cluster" || s.test || name == "doc.go" {
			continue
		}
		if !slices.Contains(words, name) {
			t.Errorf("cluster/doc.go does not say what %s does", s.path)
		}
		words = slices.DeleteFunc(words, func(w string) bool { return w == name })
	}
	if len(words) > 0 {
		t.Errorf("cluster/doc.go names files that are not there: %v", words)
	}
}

// TestNamedTestsExist: what a page says is shown by a test is shown by one that
// is there.
func TestNamedTestsExist(t *testing.T) {
	have := map[string]bool{}
	for _, s := range sources(t) {
		for _, decl := range s.file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && s.test {
				have[f.Name.Name] = true
			}
		}
	}
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range namedTest.FindAllStringSubmatch(string(text), -1) {
			if !have[m[1]] {
				t.Errorf("%s names the test %s, which is not there", page, m[1])
			}
		}
	}
}

// TestDecisionsAreNumbered: each decision has a number of its own and a line in
// the index.
func TestDecisionsAreNumbered(t *testing.T) {
	index := read(t, "docs/decisions/README.md")
	numbers := map[string]string{}
	for _, page := range pages(t) {
		name := filepath.Base(page)
		if filepath.Base(filepath.Dir(page)) != "decisions" || name == "README.md" {
			continue
		}
		number, _, _ := strings.Cut(name, "-")
		if other := numbers[number]; other != "" {
			t.Errorf("decisions %s and %s have one number", other, name)
		}
		numbers[number] = name
		if !strings.Contains(index, "]("+name+")") {
			t.Errorf("decision %s is not in docs/decisions/README.md", name)
		}
	}
}

// TestRoutesAreDocumented: docs/api.md names every path of the table of routes.
func TestRoutesAreDocumented(t *testing.T) {
	page := read(t, "docs/api.md")
	for _, m := range routed.FindAllStringSubmatch(read(t, "internal/server/routes.go"), -1) {
		path := strings.TrimSuffix(m[1], "/{series}")
		if strings.HasPrefix(path, "/debug/pprof/") || path == "/" {
			continue // named as a whole; leads to /ui/
		}
		last := path[strings.LastIndex(strings.TrimSuffix(path, "/"), "/")+1:]
		if path == "/label/{name}/values" {
			last = "label/<name>/values"
		}
		if !strings.Contains(page, last) {
			t.Errorf("docs/api.md does not name %s", path)
		}
	}
}

var routed = regexp.MustCompile(`"(/[a-z_./{}-]*)"[,}]`)
