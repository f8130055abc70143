package bench

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// clockTicks is USER_HZ: the unit of CPU times in /proc, which Linux fixed at
// 100 a second for all architectures that Go runs on.
const clockTicks = 100

// cpuSeconds returns the CPU time (user and system) that the processes have used
// so far, from /proc/PID/stat.
func cpuSeconds(pids []int) (float64, error) {
	total := 0.0
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, fmt.Errorf("read CPU time: %w", err)
		}
		ticks, err := ticksOf(b)
		if err != nil {
			return 0, fmt.Errorf("process %d: %w", pid, err)
		}
		total += float64(ticks) / clockTicks
	}
	return total, nil
}

// ticksOf reads utime and stime. The command's name before them may hold anything.
func ticksOf(stat []byte) (int64, error) {
	_, rest, ok := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(") "))
	fields := strings.Fields(string(rest))
	if !ok || len(fields) < 13 {
		return 0, fmt.Errorf("stat has an unknown form: %.80q", stat)
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("utime: %w", err)
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("stime: %w", err)
	}
	return user + system, nil
}

// Memory is what processes have in memory, in bytes.
type Memory struct {
	RSS       int64 // resident
	Anonymous int64 // of it not backed by files
}

// memoryOf returns the memory of the processes now, from /proc/PID/status.
func memoryOf(pids []int) (Memory, error) {
	var m Memory
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return m, fmt.Errorf("read memory: %w", err)
		}
		for line := range strings.Lines(string(b)) {
			name, text, _ := strings.Cut(line, ":")
			if name != "VmRSS" && name != "RssAnon" {
				continue
			}
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 10, 64)
			if err != nil {
				return m, fmt.Errorf("%s of process %d: %w", name, pid, err)
			}
			if name == "VmRSS" {
				m.RSS += kib << 10
			} else {
				m.Anonymous += kib << 10
			}
		}
	}
	return m, nil
}

// watcher keeps the highest memory of processes.
type watcher struct {
	stop context.CancelFunc
	done sync.WaitGroup
	peak Memory
	err  error
}

// watchMemory looks at the processes ten times a second until it is ended.
func watchMemory(ctx context.Context, pids []int) *watcher {
	ctx, cancel := context.WithCancel(ctx)
	w := &watcher{stop: cancel}
	w.done.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			m, err := memoryOf(pids)
			if err != nil {
				w.err = err
				return
			}
			w.peak.RSS = max(w.peak.RSS, m.RSS)
			w.peak.Anonymous = max(w.peak.Anonymous, m.Anonymous)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return w
}

// end returns the highest memory seen.
func (w *watcher) end() (Memory, error) {
	w.stop()
	w.done.Wait()
	return w.peak, w.err
}

// diskBytes returns the bytes of all files below the folders. Files may go while
// it looks.
func diskBytes(dirs []string) (int64, error) {
	total := int64(0)
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
			if os.IsNotExist(err) {
				return nil
			}
			if err != nil || entry.IsDir() {
				return err
			}
			info, err := entry.Info()
			if os.IsNotExist(err) {
				return nil
			}
			if err != nil {
				return err
			}
			total += info.Size()
			return nil
		})
		if err != nil {
			return 0, fmt.Errorf("size of %s: %w", dir, err)
		}
	}
	return total, nil
}
