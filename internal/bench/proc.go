package bench

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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

// Disk is what a server has on disk, in bytes.
type Disk struct {
	All int64
	// Lasting is without write-ahead logs and what belongs to them, which are
	// allocated ahead and cut away as time goes on.
	Lasting int64
}

// passing are the folders of logs, of Count and of Prometheus.
var passing = []string{"wal", "wbl", "chunks_head"}

// diskOf returns the bytes of all files below the folders. Files may go while it
// looks.
func diskOf(dirs []string) (d Disk, err error) {
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if os.IsNotExist(err) {
				return nil
			}
			if err != nil || entry.IsDir() {
				return err
			}
			inLog := slices.Contains(passing, filepath.Base(filepath.Dir(path)))
			info, err := entry.Info()
			if os.IsNotExist(err) {
				return nil
			}
			if err != nil {
				return err
			}
			d.All += info.Size()
			if !inLog {
				d.Lasting += info.Size()
			}
			return nil
		})
		if err != nil {
			return d, fmt.Errorf("size of %s: %w", dir, err)
		}
	}
	return d, nil
}
