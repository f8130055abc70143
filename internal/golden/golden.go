// Package golden compares what a test made with a file of the repository: the bytes
// on disk and on the wire stay what they are until a version says otherwise. It is
// for tests.
package golden

import (
	"bytes"
	"os"
	"testing"
	"unicode/utf8"
)

// Check fails the test unless the file at the path, from the folder of the test's
// package, holds just these bytes, and returns what it holds. With
// COUNT_GOLDEN=rewrite in the environment the file is written first.
func Check(t testing.TB, path string, got []byte) (want []byte) {
	t.Helper()
	if os.Getenv("COUNT_GOLDEN") == "rewrite" {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, want) {
		return want
	}
	form := "%s: the bytes changed: a new form needs a new version, and the old one stays readable (FORMAT.md)\n got %x\nwant %x"
	if utf8.Valid(got) && utf8.Valid(want) {
		form = "%s: the bytes changed: a new form needs a new version, and the old one stays readable (FORMAT.md)\n got %s\nwant %s"
	}
	t.Errorf(form, path, got, want)
	return want
}
