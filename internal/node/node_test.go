package node

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/engine/registry"
	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/config"
	"github.com/count-db/count/internal/node/storage"
)

// TestAdmissionError: what the storage answers has the code that senders must
// see: 503 where sending again helps, 500 where the storage is in trouble.
func TestAdmissionError(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		code int
	}{
		{"stored", nil, 200},
		{"overloaded", fmt.Errorf("append: %w", engine.ErrOverloaded), 503},
		{"stopping", engine.ErrClosed, 503},
		{"retired series", registry.ErrUnknownRef, 503},
		{"client gone", context.Canceled, 503},
		{"failed", fmt.Errorf("%w: disk full", engine.ErrFailed), 500},
		{"unknown", errors.New("boom"), 500},
	} {
		if code, _ := admission.StatusOf(storage.AdmissionError(c.err)); code != c.code {
			t.Errorf("%s: %d, want %d", c.name, code, c.code)
		}
	}
}

func TestBufferBytes(t *testing.T) {
	for memory, want := range map[int64]int64{0: 256 << 20, 1 << 30: 64 << 20, 64 << 20: 16 << 20, 64 << 30: 256 << 20} {
		if got := bufferBytes(memory); got != want {
			t.Errorf("bufferBytes(%d) = %d, want %d", memory, got, want)
		}
	}
}

func TestCacheBytes(t *testing.T) {
	for _, c := range []struct{ setting, memory, want int64 }{
		{0, 1 << 30, 0}, {5, 1 << 30, 5}, {-1, 0, 128 << 20}, {-1, 1 << 30, 32 << 20}, {-1, 64 << 20, 8 << 20}, {-1, 64 << 30, 128 << 20},
	} {
		if got := cacheBytes(c.setting, c.memory); got != c.want {
			t.Errorf("cacheBytes(%d, %d) = %d, want %d", c.setting, c.memory, got, c.want)
		}
	}
}

func TestEngineOptions(t *testing.T) {
	cfg, err := config.Load(config.Sources{Environ: []string{"MEMORY_BUFFER_SIZE=1000", "WAL_SYNC=never", "RETENTION=15d", "MAX_EXEMPLARS=0", "FLUSH_INTERVAL=10"}})
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{opts: Options{Config: cfg, Memory: 1 << 30}}
	o := n.engineOptions(false)
	if o.BufferSamples != 1000 || o.Sync != engine.SyncNever || o.Retention != 15*24*time.Hour || o.MaxExemplars != -1 || o.FlushInterval != 10*time.Second {
		t.Errorf("%+v", o)
	}
	cfg.MemoryBuffer = config.BufferSize{}
	if o := n.engineOptions(false); o.BufferBytes != 64<<20 || o.BufferSamples != 0 {
		t.Errorf("automatic buffer: %d bytes, %d samples", o.BufferBytes, o.BufferSamples)
	}
}
