package backup

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/count-db/count/internal/vfs"
)

// buckets are a directory and S3, both in memory, and the one that
// COUNT_TEST_S3=s3://bucket/prefix names, with keys and endpoint in AWS's
// variables.
func buckets(t *testing.T) map[string]Bucket {
	t.Helper()
	dir, err := newDirBucket(vfs.NewMem(), "/backups")
	if err != nil {
		t.Fatal(err)
	}
	s3, _ := unreliableS3(t)
	out := map[string]Bucket{"directory": dir, "s3": s3}
	if place := os.Getenv("COUNT_TEST_S3"); place != "" {
		real, err := OpenBucket(place+"/"+t.Name(), os.Environ())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := removeOthers(context.Background(), real, "", nil); err != nil {
			t.Fatal(err)
		}
		out["server"] = real
	}
	return out
}

func TestBuckets(t *testing.T) {
	ctx := context.Background()
	for name, b := range buckets(t) {
		t.Run(name, func(t *testing.T) {
			if names, err := b.List(ctx, "nothing"); err != nil || len(names) > 0 {
				t.Errorf("%v %v", names, err)
			}
			for _, object := range []string{"a/b/c", "a/b/d", "a/e", "a/b2"} {
				if err := b.Upload(ctx, object, strings.NewReader(object), int64(len(object))); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.Upload(ctx, "a/short", strings.NewReader("x"), 100); err == nil {
				t.Error("an upload that is too short is taken")
			}
			if names, err := b.List(ctx, "a"); err != nil || !slices.Equal(slices.Sorted(slices.Values(names)), []string{"b/", "b2", "e"}) {
				t.Errorf("%v %v", names, err)
			}
			r, err := b.Get(ctx, "a/b/c")
			if err != nil {
				t.Fatal(err)
			}
			if data, err := io.ReadAll(r); err != nil || string(data) != "a/b/c" || r.Close() != nil {
				t.Errorf("%s %v", data, err)
			}
			if _, err := b.Get(ctx, "a/x"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%v", err)
			}
			for _, object := range []string{"a/b/c", "a/b/d"} {
				if err := b.Delete(ctx, object); err != nil {
					t.Fatal(err)
				}
			}
			if names, err := b.List(ctx, "a"); err != nil || slices.Contains(names, "b/") {
				t.Errorf("%v %v", names, err)
			}
		})
	}
}

// TestSizes: what comes back is what was sent, in as many parts as it takes.
func TestSizes(t *testing.T) {
	for name, b := range buckets(t) {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1, smallPart, smallPart + 1} {
				data := randomBytes(size)
				// A stream, as what comes from a node.
				if err := b.Upload(context.Background(), "sizes/x", struct{ io.Reader }{bytes.NewReader(data)}, int64(size)); err != nil {
					t.Fatal(err)
				}
				if got := get(t, b, "sizes/x"); !bytes.Equal(got, data) {
					t.Errorf("%d bytes came back, not %d", len(got), size)
				}
				if err := b.Upload(context.Background(), "sizes/y", bytes.NewReader(data[:size-1]), int64(size)); err == nil {
					t.Errorf("%d bytes of %d are taken", size-1, size)
				}
				if names, err := b.List(context.Background(), "sizes"); err != nil || len(names) != 1 {
					t.Errorf("%v %v", names, err)
				}
			}
		})
	}
}

func TestPlaces(t *testing.T) {
	for _, place := range []string{"", "ftp://x", "s3://", "s3:///x", "file://"} {
		if _, err := OpenBucket(place, nil); err == nil {
			t.Errorf("%q is taken", place)
		}
	}
	if _, err := newS3Bucket(&url.URL{Host: "b"}, []string{"AWS_ENDPOINT_URL=nonsense"}); err == nil {
		t.Error("an endpoint that is none is taken")
	}
}

// node serves RoutePath from memory.
type node struct {
	mu    sync.Mutex
	id    uint64
	files map[string]string
	held  int
	cut   string // a file that breaks off
	ring  uint64
	reads int
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch r.Method {
	case http.MethodPost:
		n.held++
		s := Snapshot{ID: "1", Node: n.id, Disk: hex.EncodeToString(bytes.Repeat([]byte{byte(n.id)}, 16)), Versioned: true, Version: 1 << 60, Before: Standing{Ring: n.ring}, After: Standing{Ring: n.ring}}
		for name, text := range n.files {
			s.Files = append(s.Files, SnapshotFile{Name: name, Bytes: int64(len(text)), Fingerprint: fmt.Sprintf("%x", text[:1])})
		}
		if err := json.NewEncoder(w).Encode(s); err != nil {
			http.Error(w, err.Error(), 500)
		}
	case http.MethodDelete:
		n.held--
	default:
		n.reads++
		text := n.files[r.FormValue("file")]
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		if r.FormValue("file") == n.cut {
			text = text[:len(text)-1]
		}
		_, _ = io.WriteString(w, text)
	}
}

func (n *node) start(t *testing.T) *Remote {
	t.Helper()
	s := httptest.NewServer(n)
	t.Cleanup(s.Close)
	return &Remote{URL: s.URL, Client: s.Client()}
}

// of is a cluster of these nodes.
func of(remotes ...*Remote) Cluster {
	return func(context.Context) (Manifest, []*Remote, error) {
		return Manifest{Cluster: "c", Copies: 3, Quorum: 2}, remotes, nil
	}
}

func take(t *testing.T, b Bucket, remotes ...*Remote) *Taken {
	t.Helper()
	// Backups of one millisecond have no order.
	for began := time.Now().UnixMilli(); time.Now().UnixMilli() == began; {
		runtime.Gosched()
	}
	out, err := Take(context.Background(), b, of(remotes...), TakeOptions{}, &Progress{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTakeVerifyPrune(t *testing.T) {
	ctx := context.Background()
	for name, b := range buckets(t) {
		t.Run(name, func(t *testing.T) {
			one := &node{id: 1, files: map[string]string{"files/1.wide": "one", "files/2.wide": "two", "MANIFEST": "m"}}
			two := &node{id: 2, files: map[string]string{"files/1.wide": "other"}}
			r1, r2 := one.start(t), two.start(t)
			first := take(t, b, r1, r2)
			if first.Uploaded != 4 || first.Reused != 0 || first.Manifest.Bytes() != 12 {
				t.Errorf("%+v", first)
			}
			delete(one.files, "files/2.wide")
			one.files["files/3.wide"], one.files["MANIFEST"] = "three", "n"
			second := take(t, b, r1, r2)
			if second.Uploaded != 2 || second.Reused != 2 || second.ReusedBytes != 8 {
				t.Errorf("%+v", second)
			}
			// Another file of the same name and length is told by its fingerprint.
			two.files["files/1.wide"] = "OTHER"
			third := take(t, b, r1, r2)
			if third.Uploaded != 2 || third.Reused != 2 {
				t.Errorf("%+v", third)
			}
			if one.held != 0 || two.held != 0 {
				t.Errorf("%d and %d snapshots are still held", one.held, two.held)
			}
			all, _, err := List(ctx, b)
			if err != nil || len(all) != 3 || all[0].ID != first.Manifest.ID || all[2].ID != third.Manifest.ID {
				t.Fatalf("%v %v", all, err)
			}
			if faults, err := Verify(ctx, b, all, &Progress{}); err != nil || len(faults) > 0 {
				t.Errorf("%v %v", faults, err)
			}
			fetchAll(t, b, second.Manifest, map[string]string{"files/1.wide": "one", "files/3.wide": "three", "MANIFEST": "n"})
			out, err := Prune(ctx, b, 1, &Progress{})
			// MANIFEST of node 1 twice, files/2.wide of node 1, files/1.wide of node 2.
			if err != nil || len(out.Backups) != 2 || out.Kept != 1 || out.Objects != 4 {
				t.Errorf("%+v %v", out, err)
			}
			if all, _, err = List(ctx, b); err != nil || len(all) != 1 {
				t.Fatalf("%v %v", all, err)
			}
			if faults, err := Verify(ctx, b, all, &Progress{}); err != nil || len(faults) > 0 {
				t.Errorf("%v %v", faults, err)
			}
			damage(t, b, all)
		})
	}
}

func fetchAll(t *testing.T, b Bucket, m *Manifest, want map[string]string) {
	t.Helper()
	n := m.Node(1)
	mem := vfs.NewMem()
	if err := Fetch(context.Background(), b, m.ID, n, mem, "/node", &Progress{}); err != nil {
		t.Fatal(err)
	}
	for name, text := range want {
		if data, err := vfs.ReadFile(mem, "/node/"+name); err != nil || string(data) != text {
			t.Errorf("%s: %q %v", name, data, err)
		}
	}
	if err := Fetch(context.Background(), b, m.ID, n, mem, "/node", &Progress{}); err == nil {
		t.Error("a directory that is not empty is taken")
	}
}

// damage changes an object: a check, a fetch and a later backup notice it.
func damage(t *testing.T, b Bucket, all []*Manifest) {
	t.Helper()
	ctx := context.Background()
	object := all[0].Nodes[0].Files[0].Object
	if err := b.Upload(ctx, object, strings.NewReader("?"), 1); err != nil {
		t.Fatal(err)
	}
	faults, err := Verify(ctx, b, all, &Progress{})
	if err != nil || len(faults) != 1 || !strings.HasPrefix(faults[0], object) {
		t.Errorf("%v %v", faults, err)
	}
	if err := Fetch(ctx, b, all[0].ID, &all[0].Nodes[0], vfs.NewMem(), "/x", &Progress{}); !errors.Is(err, errDamaged) {
		t.Errorf("%v", err)
	}
	if err := b.Delete(ctx, object); err != nil {
		t.Fatal(err)
	}
	if faults, err = Verify(ctx, b, all, &Progress{}); err != nil || len(faults) != 1 {
		t.Errorf("%v %v", faults, err)
	}
	known, err := knownObjects(ctx, b, &Progress{})
	if _, ok := known[object]; err != nil || ok {
		t.Errorf("an object that is gone counts as there: %v", err)
	}
}

// TestFailedTake: a backup that fails is none, leaves no snapshot and no lock,
// and what it left in the bucket goes with the next prune.
func TestFailedTake(t *testing.T) {
	ctx := context.Background()
	for name, b := range buckets(t) {
		t.Run(name, func(t *testing.T) {
			n := &node{id: 1, files: map[string]string{"files/1.wide": "one", "files/2.wide": "two"}, cut: "files/2.wide"}
			r := n.start(t)
			if _, err := Take(ctx, b, of(r), TakeOptions{Patience: time.Millisecond}, &Progress{}); err == nil {
				t.Fatal("a file that breaks off is taken")
			}
			if all, _, err := List(ctx, b); err != nil || len(all) > 0 || n.held != 0 {
				t.Errorf("%v %v, %d snapshots held", all, err, n.held)
			}
			if _, err := Find(ctx, b, ""); !errors.Is(err, ErrNoBackup) {
				t.Errorf("%v", err)
			}
			if _, err := Take(ctx, b, of(r, r), TakeOptions{}, &Progress{}); err == nil || !strings.Contains(err.Error(), "both node 1") {
				t.Errorf("a node is taken twice: %v", err)
			}
			n.cut = ""
			take(t, b, r)
			if out, err := Prune(ctx, b, 5, &Progress{}); err != nil || len(out.Backups) > 0 {
				t.Errorf("%+v %v", out, err)
			}
			if all, _, err := List(ctx, b); err != nil || len(all) != 1 {
				t.Errorf("%v %v", all, err)
			}
		})
	}
}

// TestDamagedManifest: nothing is pruned while it is not known what is needed, an
// older backup is not restored in its place, and new backups go on.
func TestDamagedManifest(t *testing.T) {
	ctx := context.Background()
	b := memBucket(t)
	n := (&node{id: 1, files: map[string]string{"files/1.wide": "one"}}).start(t)
	first := take(t, b, n).Manifest
	bad := "29990101T000000Z-00000001"
	if err := b.Upload(ctx, manifestObject(bad), strings.NewReader("nonsense"), 8); err != nil {
		t.Fatal(err)
	}
	var broken *DamagedError
	if all, damaged, err := List(ctx, b); err != nil || len(all) != 1 || len(damaged) != 1 || damaged[0].ID != bad {
		t.Errorf("%v %v %v", all, damaged, err)
	}
	if _, err := Prune(ctx, b, 1, &Progress{}); !errors.As(err, &broken) {
		t.Errorf("a prune: %v", err)
	}
	if _, err := Find(ctx, b, ""); !errors.As(err, &broken) {
		t.Errorf("the newest: %v", err)
	}
	if m, err := Find(ctx, b, first.ID); err != nil || m.ID != first.ID {
		t.Errorf("one that is named: %v", err)
	}
	if out := take(t, b, n); out.Reused != 1 {
		t.Errorf("a new backup: %+v", out)
	}
}

// TestSkipped: a node that stops to answer in the middle is left out, where that is
// asked for.
func TestSkipped(t *testing.T) {
	ctx := context.Background()
	b := memBucket(t)
	well := (&node{id: 1, files: map[string]string{"files/1.wide": "one"}}).start(t)
	dies := (&node{id: 2, files: map[string]string{"files/1.wide": "two", "MANIFEST": "m"}, cut: "MANIFEST"}).start(t)
	gone := &Remote{URL: "http://127.0.0.1:1", Node: 3, Client: http.DefaultClient}
	o := TakeOptions{Patience: time.Millisecond}
	if _, err := Take(ctx, b, of(well, dies), o, &Progress{}); err == nil || !strings.Contains(err.Error(), "MANIFEST of node 2") {
		t.Errorf("%v", err)
	}
	if _, err := Take(ctx, b, of(well, gone), o, &Progress{}); err == nil || !strings.Contains(err.Error(), "no answer from") {
		t.Errorf("%v", err)
	}
	o.SkipUnreachable = true
	out, err := Take(ctx, b, of(well, dies, gone), o, &Progress{})
	if err != nil || len(out.Manifest.Nodes) != 1 || !slices.Equal(out.Manifest.Missing, []uint64{2, 3}) || out.Manifest.Lacking() != 2 {
		t.Fatalf("%+v %v", out, err)
	}
	if m, err := Read(ctx, b, out.Manifest.ID); err != nil || len(m.Nodes) != 1 || !slices.Equal(m.Missing, []uint64{2, 3}) {
		t.Errorf("%+v %v", m, err)
	}
	if _, err := Take(ctx, b, of(dies, gone), o, &Progress{}); err == nil {
		t.Error("a backup of no node is taken")
	}
}

// TestSnapshotsBelongTogether: where the ring or the floor changes while snapshots
// are taken, they are taken again.
func TestSnapshotsBelongTogether(t *testing.T) {
	same := Standing{Ring: 3, Floor: 7}
	one := func(before, after Standing) *part { return &part{snapshot: &Snapshot{Before: before, After: after}} }
	for name, c := range map[string]struct {
		ring  uint64
		parts []*part
		well  bool
	}{
		"all alike":             {3, []*part{one(same, same), one(same, same)}, true},
		"older builds":          {3, []*part{one(Standing{}, Standing{}), one(same, same)}, true},
		"another ring":          {2, []*part{one(same, same)}, false},
		"a ring meanwhile":      {3, []*part{one(same, same), one(same, Standing{Ring: 4, Floor: 7})}, false},
		"one has settled":       {3, []*part{one(same, same), one(Standing{3, 8}, Standing{3, 8})}, false},
		"one settles meanwhile": {3, []*part{one(same, Standing{3, 8}), one(same, same)}, false},
	} {
		if err := together(c.ring, c.parts, nil); (err == nil) != c.well {
			t.Errorf("%s: %v", name, err)
		}
	}
	// After a refill a node has settled less than others, for hours.
	less := Standing{Ring: 3, Floor: 2}
	parts := []*part{{snapshot: &Snapshot{Node: 1, Before: same, After: same}}, {snapshot: &Snapshot{Node: 2, Before: less, After: less}}}
	for _, c := range []struct {
		last map[uint64]Standing
		well bool
	}{
		{map[uint64]Standing{}, false},
		{map[uint64]Standing{1: same}, false},
		{map[uint64]Standing{1: {3, 6}, 2: less}, false},
		{map[uint64]Standing{1: same, 2: {2, 2}}, false},
		{map[uint64]Standing{1: same, 2: less}, true},
	} {
		if err := together(3, parts, c.last); (err == nil) != c.well {
			t.Errorf("after %v: %v", c.last, err)
		}
	}
	n := &node{id: 1, files: map[string]string{"files/1.wide": "one"}, ring: 4}
	r := n.start(t)
	asked := 0
	cluster := func(context.Context) (Manifest, []*Remote, error) {
		asked++
		return Manifest{Ring: uint64(2 + asked)}, []*Remote{r}, nil
	}
	out, err := Take(context.Background(), memBucket(t), cluster, TakeOptions{}, &Progress{})
	if err != nil || asked != 2 || out.Manifest.Ring != 4 || n.held != 0 {
		t.Errorf("%+v after %d times, %d snapshots held: %v", out, asked, n.held, err)
	}
}

// TestDirectoryIsDurable: what Upload acknowledged is there after a power cut.
func TestDirectoryIsDurable(t *testing.T) {
	mem := vfs.NewMem()
	b, err := newDirBucket(mem, "/b")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Upload(context.Background(), "x/y/z", strings.NewReader("text"), 4); err != nil {
		t.Fatal(err)
	}
	after, err := newDirBucket(mem.CrashClone(nil, 0), "/b")
	if err != nil {
		t.Fatal(err)
	}
	r, err := after.Get(context.Background(), "x/y/z")
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(r); err != nil || string(data) != "text" {
		t.Errorf("%q %v", data, err)
	}
}
