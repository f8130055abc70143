package e2e

import (
	"os"
	"testing"
	"time"

	"github.com/count-db/count/test/process"
)

func TestMain(m *testing.M) {
	code := m.Run()
	process.Cleanup()
	os.Exit(code)
}

// minuteAgo is a timestamp that every limit on time accepts, in ms.
func minuteAgo() int64 { return time.Now().Add(-time.Minute).UnixMilli() }
