package engine

import (
	"fmt"
	"testing"

	prommodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

func testFS(t testing.TB, dir string) vfs.FS {
	t.Helper()
	fsys := vfs.NewMem()
	if err := fsys.MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	return fsys
}

func TestIdentityStaysAndCountsStarts(t *testing.T) {
	fsys := testFS(t, "d")
	first, err := openIdentity(fsys, "d")
	if err != nil || first.Starts != 1 {
		t.Fatalf("first start: %+v, %v", first, err)
	}
	second, err := openIdentity(fsys, "d")
	if err != nil || second.Starts != 2 || second.DiskID != first.DiskID {
		t.Fatalf("second start: %+v, %v", second, err)
	}
}

func TestSmallFileRefusesDamage(t *testing.T) {
	fsys := testFS(t, "d")
	if err := identityFile.write(fsys, "d", []byte("payload")); err != nil {
		t.Fatal(err)
	}
	data, err := vfs.ReadFile(fsys, "d/identity")
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		bad := append([]byte(nil), data...)
		bad[i] ^= 4
		if _, err := identityFile.decode(bad); err == nil {
			t.Errorf("byte %d changed: accepted", i)
		}
		if _, err := identityFile.decode(data[:i]); err == nil {
			t.Errorf("cut to %d bytes: accepted", i)
		}
	}
}

func TestExemplarRing(t *testing.T) {
	r := newExemplarRing(10)
	for i := range int64(25) {
		r.add([]model.Exemplar{{Ref: model.Ref(1 + i%2), T: i, V: float64(i), Labels: labels.FromStrings("id", fmt.Sprint(i))}})
	}
	r.add([]model.Exemplar{{Ref: 1, T: 24, V: 24, Labels: labels.FromStrings("id", "24")}}) // a repetition
	check := func(r *exemplarRing) {
		t.Helper()
		var got []int64
		for _, e := range r.of(1, 0, 100) {
			got = append(got, e.T)
		}
		if fmt.Sprint(got) != "[16 18 20 22 24]" {
			t.Fatalf("series 1 has %v", got)
		}
		if es := r.of(2, 17, 19); len(es) != 2 || es[0].Labels.Get("id") != "17" {
			t.Fatalf("series 2 has %v in [17, 19]", es)
		}
		if r.holds(3) || r.len() != 10 {
			t.Fatalf("holds(3) = %v, len %d", r.holds(3), r.len())
		}
	}
	check(r)
	fsys := testFS(t, "d")
	if err := r.persist(fsys, "d"); err != nil {
		t.Fatal(err)
	}
	again := newExemplarRing(10)
	if err := again.load(fsys, "d"); err != nil {
		t.Fatal(err)
	}
	check(again)
	for i := range int64(10) { // series 1 and 2 leave the ring
		r.add([]model.Exemplar{{Ref: 3, T: i}})
	}
	if r.holds(1) || r.holds(2) || len(r.last) != 1 {
		t.Fatalf("series that left the ring are still known: %v", r.last)
	}
}

func TestMetadataStore(t *testing.T) {
	s := newMetadataStore(2)
	m := func(family, help string) model.Metadata {
		return model.Metadata{Family: family, Metadata: metadata.Metadata{Type: prommodel.MetricTypeCounter, Help: help, Unit: "s"}}
	}
	s.add([]model.Metadata{m("b", "one"), m("a", "two"), m("c", "too many"), m("b", "new")})
	if fresh := s.fresh([]model.Metadata{m("a", "two"), m("b", "newer"), m("c", "x")}); len(fresh) != 1 || fresh[0].Help != "newer" {
		t.Fatalf("fresh: %v", fresh)
	}
	fsys := testFS(t, "d")
	if err := s.persist(fsys, "d"); err != nil {
		t.Fatal(err)
	}
	again := newMetadataStore(10)
	if err := again.load(fsys, "d"); err != nil {
		t.Fatal(err)
	}
	if got := again.list("", 0); len(got) != 2 || got[0] != m("a", "two") || got[1] != m("b", "new") {
		t.Fatalf("read back %v", got)
	}
	if got := again.list("b", 0); len(got) != 1 || got[0].Help != "new" {
		t.Fatalf("family b: %v", got)
	}
}

func TestTombstonesFile(t *testing.T) {
	fsys := testFS(t, "d")
	in := []tombstone{{
		Tombstone: model.Tombstone{Version: 77, MinT: -5, MaxT: 12, Matchers: []*labels.Matcher{
			labels.MustNewMatcher(labels.MatchEqual, "job", "api"), labels.MustNewMatcher(labels.MatchNotRegexp, "x", "a.*"),
		}},
		seq: 9,
	}}
	if err := writeTombstones(fsys, "d", in); err != nil {
		t.Fatal(err)
	}
	out, err := readTombstones(fsys, "d")
	if err != nil || len(out) != 1 || out[0].Version != 77 || out[0].MinT != -5 || out[0].MaxT != 12 || out[0].seq != 9 {
		t.Fatalf("read back %+v, %v", out, err)
	}
	yes, no := labels.FromStrings("job", "api", "x", "b"), labels.FromStrings("job", "api", "x", "ab")
	if !out[0].Matches(yes) || out[0].Matches(no) {
		t.Fatal("matchers read back match something else")
	}
	if spans := (&view{tombs: out}).spansOf(nil, yes, 13, 20); len(spans) != 0 {
		t.Fatalf("spans beyond the tombstone's range: %v", spans)
	}
}

// FuzzSmallFiles: what a small file's decoder accepts, no damage makes panic.
func FuzzSmallFiles(f *testing.F) {
	f.Add([]byte{1, 2, 3})
	f.Add(encodeIdentity(Identity{Starts: 3}))
	f.Add(encodeTombstones([]tombstone{{Tombstone: model.Tombstone{Version: 3, MaxT: 4, Matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, "a", "b|c")}}}}))
	f.Add(encodeSheds([]shed{{tokens: model.NewTokenSet([]model.TokenRange{{From: 7, To: 3}}), mark: 1, seq: 2}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = decodeIdentity(data)
		_, _ = decodeMetadata(data)
		_, _ = decodeExemplars(data)
		_, _ = decodeTombstones(data)
		_, _ = decodeSheds(data)
		_, _ = identityFile.decode(data)
	})
}
