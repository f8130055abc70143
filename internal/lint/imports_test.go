package lint

import (
	"path"
	"strings"
	"testing"
)

// law says which folders of Count a folder's code may import. It is policy: a
// change here is a change of the architecture and wants a decision record. A
// folder stands for all below it; the longest matching line holds. Its own
// sub-packages may always be imported, its parents never.
const law = `
cmd/count           : internal/node internal/config internal/telemetry internal/model internal/bench internal/vfs internal/wire internal/interchange internal/transfer internal/backup engine cluster
engine              : internal/leaves
ingest              : internal/leaves
remote              : internal/leaves
promql              : internal/leaves
cluster             : internal/leaves
dashboards          :
deploy              : internal/config
internal/model      :
internal/vfs        :
internal/wire       :
internal/invariants :
internal/admission  :
internal/caller     :
internal/golden     :
internal/noted      :
internal/pause      :
internal/headroom   :
internal/selfsigned :
internal/telemetry  :
internal/config     :
internal/seriescache: internal/model
internal/server     : internal/caller internal/telemetry internal/selfsigned
internal/web        : internal/telemetry
internal/interchange: internal/model
internal/transfer   : internal/leaves internal/interchange
internal/backup     : internal/leaves internal/transfer engine cluster
internal/bench      : internal/leaves internal/telemetry internal/config
internal/lint       :
internal/node       : engine ingest remote promql cluster dashboards internal
test                : cmd engine ingest remote promql cluster dashboards internal test
`

// outside says what the tests in a folder may import besides when they are of the
// folder's outside (package x_test): what puts the folder together with what the law
// keeps apart. The lives of simulated clusters need the inside of cluster and the
// storage that nodes have.
const outside = `
cluster : engine internal/node/storage
`

// leaves are what all parts may share.
const leaves = "internal/model internal/vfs internal/wire internal/invariants internal/admission internal/caller internal/golden internal/noted internal/pause internal/seriescache internal/selfsigned"

type lawRow struct {
	folder  string
	allowed []string
}

func readLaw(t *testing.T, law string) []lawRow {
	t.Helper()
	var rows []lawRow
	for line := range strings.Lines(law) {
		folder, allowed, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		allowed = strings.ReplaceAll(allowed, "internal/leaves", leaves)
		rows = append(rows, lawRow{strings.TrimSpace(folder), strings.Fields(allowed)})
	}
	return rows
}

func rowOf(rows []lawRow, folder string) *lawRow {
	var best *lawRow
	for i := range rows {
		if within(folder, rows[i].folder) && (best == nil || len(rows[i].folder) > len(best.folder)) {
			best = &rows[i]
		}
	}
	return best
}

func TestImportLaw(t *testing.T) {
	rows, outside := readLaw(t, law), readLaw(t, outside)
	for _, s := range sources(t) {
		row := rowOf(rows, s.dir)
		if row == nil {
			t.Errorf("%s: folder %s has no line in the import law (internal/lint/imports_test.go): add one", s.path, s.dir)
			continue
		}
		for _, spec := range s.file.Imports {
			target, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), module)
			if !ours {
				continue
			}
			if within(s.dir, target) && s.dir != target && !s.test {
				t.Errorf("%s imports its parent %s: move what it needs down, or let the parent pass it", s.path, target)
				continue
			}
			if also := rowOf(outside, s.dir); strings.HasSuffix(s.file.Name.Name, "_test") && also != nil && allowedImport(also, s.dir, target) {
				continue
			}
			if !allowedImport(row, s.dir, target) {
				t.Errorf("%s imports %s, which the import law does not allow to %s: declare a small interface where it is needed and let internal/node connect the two", s.path, target, row.folder)
			}
		}
	}
}

func allowedImport(row *lawRow, dir, target string) bool {
	if within(target, row.folder) || target == dir {
		return true
	}
	for _, a := range row.allowed {
		if within(target, a) {
			return true
		}
	}
	return false
}

// homes says where packages from outside may be imported (tests excepted):
// each prefix only in the folders behind it.
const homes = `
github.com/prometheus/prometheus/web             : remote/apiv1
github.com/prometheus/prometheus/config          : remote/apiv1
github.com/prometheus/prometheus/scrape          : remote/apiv1
github.com/prometheus/prometheus/rules           : remote/apiv1
github.com/prometheus/prometheus/notifier        :
github.com/prometheus/prometheus/storage         : promql remote internal/node ingest internal/interchange test
github.com/prometheus/prometheus/promql          : promql remote internal/node cmd/count test dashboards
github.com/prometheus/prometheus/tsdb            : promql remote engine/column cmd/count test internal/bench internal/interchange internal/transfer
github.com/gorilla/mux                           : internal/server
github.com/hashicorp/memberlist                  : cluster
github.com/minio/minio-go                        : internal/backup
net/http                                         : ingest remote promql cluster internal/server internal/web internal/node internal/bench internal/telemetry internal/transfer internal/backup cmd test
os                                               : internal/vfs internal/golden internal/config internal/bench internal/interchange cluster/transport/memnet cmd test
`

func TestHomes(t *testing.T) {
	type home struct {
		pkg     string
		folders []string
	}
	var all []home
	for line := range strings.Lines(homes) {
		if pkg, folders, ok := strings.Cut(line, " : "); ok {
			all = append(all, home{strings.TrimSpace(pkg), strings.Fields(folders)})
		}
	}
	for _, s := range sources(t) {
		if s.test || s.dir == "internal/lint" {
			continue
		}
		for _, spec := range s.file.Imports {
			imported := strings.Trim(spec.Path.Value, `"`)
			for _, h := range all {
				if !within(imported, h.pkg) {
					continue
				}
				ok := false
				for _, f := range h.folders {
					ok = ok || within(s.dir, f)
				}
				if !ok {
					t.Errorf("%s imports %s, which belongs only into %s", s.path, imported, strings.Join(h.folders, ", "))
				}
			}
		}
	}
}

// TestFormatPages: a folder that writes bytes to disk or wire documents them.
func TestFormatPages(t *testing.T) {
	have := map[string]bool{}
	for _, s := range sources(t) {
		have[s.dir] = true
	}
	for dir := range have {
		if base := path.Base(dir); base == "wal" || base == "file" || base == "day" || base == "manifest" || base == "column" {
			if !exists(dir + "/FORMAT.md") {
				t.Errorf("%s writes a format: describe it in %s/FORMAT.md", dir, dir)
			}
		}
	}
}
