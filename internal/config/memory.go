package config

import (
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

// AvailableMemory returns how many bytes this process may use: the smallest
// limit of its control groups (version 1 or 2), or what the machine has. 0 =
// unknown, as outside Linux. The number of cores needs no such code: the Go
// runtime reads it from the control groups by itself.
func AvailableMemory() int64 { return availableMemory(os.ReadFile) }

func availableMemory(read func(string) ([]byte, error)) int64 {
	least := int64(math.MaxInt64)
	take := func(file string) {
		text, err := read(file)
		if err != nil {
			return // not this version of control groups, or not this level
		}
		// "max" and numbers near the largest mean no limit.
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 && n < least {
			least = n
		}
	}
	const root = "/sys/fs/cgroup"
	for _, group := range controlGroups(read) {
		// A limit may stand at any level above the process's own group. Inside a
		// container the path may not exist: then the root is the group itself.
		for dir := group.path; ; dir = path.Dir(dir) {
			if group.v2 {
				take(path.Join(root, dir, "memory.max"))
			} else {
				take(path.Join(root, "memory", dir, "memory.limit_in_bytes"))
			}
			if dir == "/" || dir == "." {
				break
			}
		}
	}
	if text, err := read("/proc/meminfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) >= 2 && fields[0] == "MemTotal:" {
				if kib, err := strconv.ParseInt(fields[1], 10, 53); err == nil {
					least = min(least, kib<<10)
				}
			}
		}
	}
	if least == math.MaxInt64 {
		return 0
	}
	return least
}

type controlGroup struct {
	path string
	v2   bool
}

// controlGroups returns the groups of this process that may limit its memory.
func controlGroups(read func(string) ([]byte, error)) []controlGroup {
	text, err := read("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	var out []controlGroup
	for line := range strings.Lines(string(text)) {
		// hierarchy-id:controllers:path; version 2 has 0 and no controllers.
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		if parts[0] == "0" && parts[1] == "" {
			out = append(out, controlGroup{path: path.Clean("/" + parts[2]), v2: true})
		}
		for c := range strings.SplitSeq(parts[1], ",") {
			if c == "memory" {
				out = append(out, controlGroup{path: path.Clean("/" + parts[2])})
			}
		}
	}
	return out
}
