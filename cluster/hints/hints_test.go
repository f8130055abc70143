package hints

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/frontier"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/internal/golden"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

func labelsOf(ref model.Ref) labels.Labels {
	return labels.FromStrings("__name__", fmt.Sprintf("m%d", ref))
}

// taker collects what it is handed.
type taker struct {
	names   []string
	got     []string
	fail    error
	flushes int
}

func (t *taker) Intern(ls labels.Labels) (model.Ref, error) {
	t.names = append(t.names, ls.Get("__name__"))
	return model.Ref(len(t.names)), nil
}

func (t *taker) Batch(b *model.Batch, _ []frontier.Origin) error {
	if t.fail != nil {
		return t.fail
	}
	for _, s := range b.Floats {
		t.got = append(t.got, fmt.Sprintf("%s@%d=%g v%d", t.names[s.Ref-1], s.T, s.V, b.Version))
	}
	return nil
}

func (t *taker) Delete(ts model.Tombstone) error {
	t.got = append(t.got, fmt.Sprintf("delete %v v%d", ts.Matchers, ts.Version))
	return nil
}

func (t *taker) Flush() error {
	t.flushes++
	return nil
}

func batch(version model.Version, refs ...model.Ref) *model.Batch {
	b := &model.Batch{Version: version}
	for _, ref := range refs {
		b.Floats = append(b.Floats, model.FloatSample{T: int64(ref) * 10, V: float64(version), Ref: ref})
	}
	return b
}

func open(t *testing.T, fs vfs.FS, segmentBytes int64) *Store {
	t.Helper()
	s, err := Open(fs, "hints", Options{Labels: labelsOf, SegmentBytes: segmentBytes, MaxBytes: 4096})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestHandoverAfterRestart: C6. What was added and synced is handed over in
// order after a power cut, whole segments are removed, and a failed handover
// keeps everything.
func TestHandoverAfterRestart(t *testing.T) {
	for _, segmentBytes := range []int64{1, 1 << 20} {
		fs := vfs.NewMem()
		s := open(t, fs, segmentBytes)
		match := labels.MustNewMatcher(labels.MatchEqual, "a", "b")
		for _, err := range []error{
			s.Add(2, batch(5, 1, 2), nil), s.Add(2, batch(6, 2, 3), nil), s.Add(3, batch(7, 1), nil),
			s.AddDelete(2, model.Tombstone{Version: 8, Matchers: []*labels.Matcher{match}}), s.Sync(),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		s = open(t, fs.CrashClone(rand.New(rand.NewPCG(1, 2)), 0), segmentBytes)
		if owed := s.Owed(); !slices.Equal(owed, []ring.NodeID{2, 3}) {
			t.Fatalf("owed: %v", owed)
		}
		broken := errors.New("gone again")
		if _, err := s.Handover(2, &taker{fail: broken}); !errors.Is(err, broken) {
			t.Fatal(err)
		}
		var got taker
		if _, err := s.Handover(2, &got); err != nil {
			t.Fatal(err)
		}
		want := []string{"m1@10=5 v5", "m2@20=5 v5", "m2@20=6 v6", "m3@30=6 v6", `delete [a="b"] v8`}
		if !slices.Equal(got.got, want) || got.flushes == 0 {
			t.Fatalf("handed over %q, want %q", got.got, want)
		}
		if owed := s.Owed(); !slices.Equal(owed, []ring.NodeID{3}) {
			t.Fatalf("still owed: %v", owed)
		}
		if n, err := s.Handover(2, &got); n != 0 || err != nil {
			t.Fatal(n, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBounded(t *testing.T) {
	s := open(t, vfs.NewMem(), 64)
	for i := range 1000 {
		if err := s.Add(2, batch(model.Version(i), 1, 2, 3), nil); err != nil {
			t.Fatal(err)
		}
	}
	st := s.Stats()
	if st.Dropped == 0 || st.Bytes > 4096+200 || st.PerNode[2] != st.Bytes {
		t.Fatalf("%+v", st)
	}
	if err := s.Drop(2); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Bytes != 0 || len(s.Owed()) != 0 {
		t.Fatalf("after dropping: %+v", st)
	}
}

// TestGolden holds the bytes of a segment: a difference is a new version. Hints
// that were written before an upgrade are handed over after it.
func TestGolden(t *testing.T) {
	fs := vfs.NewMem()
	s, err := Open(fs, "hints", Options{Labels: labelsOf})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Add(2, batch(5, 1, 2), nil), s.Add(2, batch(7, 2), nil), s.Close()); err != nil {
		t.Fatal(err)
	}
	got, err := vfs.ReadFile(fs, "hints/2/00000000000000000001.hint")
	if err != nil {
		t.Fatal(err)
	}
	want := golden.Check(t, "testdata/segment.golden", got)
	records, _ := parse(want)
	var b model.Batch
	refs, to := map[uint32]model.Ref{}, &taker{}
	for _, r := range records {
		if err := replayRecord(r, refs, &b, to); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"m1@10=5 v5", "m2@20=5 v5", "m2@20=7 v7"}; !slices.Equal(to.got, want) {
		t.Errorf("read %v, want %v", to.got, want)
	}
}

func FuzzParse(f *testing.F) {
	fs := vfs.NewMem()
	s, err := Open(fs, "hints", Options{Labels: labelsOf})
	if err == nil {
		err = errors.Join(s.Add(2, batch(5, 1, 2), nil), s.Close())
	}
	if err != nil {
		f.Fatal(err)
	}
	data, err := vfs.ReadFile(fs, "hints/2/00000000000000000001.hint")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		records, _ := parse(data)
		var b model.Batch
		refs := map[uint32]model.Ref{}
		for _, r := range records {
			// What is wrong with it comes back as an error.
			_ = replayRecord(r, refs, &b, &taker{})
		}
	})
}

// TestTakenIsGone: V4. What was handed over or dropped does not come back after a
// power cut: by then others may have settled more than it.
func TestTakenIsGone(t *testing.T) {
	for name, end := range map[string]func(*Store) error{
		"handed over": func(s *Store) error { _, err := s.Handover(2, &taker{}); return err },
		"dropped":     func(s *Store) error { return s.Drop(2) },
	} {
		disk := vfs.NewMem()
		s := open(t, disk, 1)
		if err := errors.Join(s.Add(2, batch(5, 1), nil), s.Add(2, batch(6, 1), nil), s.Sync(), end(s)); err != nil {
			t.Fatal(err)
		}
		if owed, bytes := s.Owed(), s.Stats().Bytes; len(owed) > 0 || bytes != 0 {
			t.Errorf("%s: %v is owed something, %d bytes", name, owed, bytes)
		}
		s = open(t, disk.CrashClone(rand.New(rand.NewPCG(1, 2)), 0), 1)
		if owed := s.Owed(); len(owed) > 0 {
			t.Errorf("%s: after a power cut %v is owed something", name, owed)
		}
	}
}
