package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// builder builds the binary once a test process.
type builder struct {
	once sync.Once
	path string
	err  error
}

var built builder

// Binary returns the path of the binary under test.
func Binary(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("COUNT_BIN"); path != "" {
		// Looked at so that Go's test cache knows when it changes.
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("COUNT_BIN: %v", err)
		}
		return path
	}
	built.once.Do(func() {
		dir, err := os.MkdirTemp("", "count-bin-")
		if err != nil {
			built.err = err
			return
		}
		built.path = filepath.Join(dir, "count")
		out, err := exec.Command("go", "build", "-o", built.path, "github.com/count-db/count/cmd/count").CombinedOutput()
		if err != nil {
			built.err = fmt.Errorf("build the binary: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

// Cleanup removes what Binary built; call it at the end of TestMain.
func Cleanup() {
	if built.path != "" {
		_ = os.RemoveAll(filepath.Dir(built.path))
	}
}

// Skewed returns the path of a binary whose wall clock is as many seconds off as
// the environment of the process says (skewed.sh, ClockSkew). Without one the test
// is left out: it is built by `make clocks`.
func Skewed(t testing.TB) string {
	t.Helper()
	path := os.Getenv("COUNT_SKEWED_BIN")
	if path == "" {
		t.Skip("needs COUNT_SKEWED_BIN: make clocks")
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("COUNT_SKEWED_BIN: %v", err)
	}
	return path
}

// ClockSkew is the setting of a node that runs Skewed.
func ClockSkew(seconds int) string { return fmt.Sprintf("COUNT_TEST_CLOCK_SKEW=%d", seconds) }
