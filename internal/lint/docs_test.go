package lint

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
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
