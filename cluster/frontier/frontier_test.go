package frontier

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/count-db/count/internal/wire"
)

// TestAgainstMap compares the sets of runs with plain maps.
func TestAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) (*Set, map[uint64]bool) {
			s, m := &Set{}, map[uint64]bool{}
			for range rapid.IntRange(0, 40).Draw(t, name) {
				n := rapid.Uint64Range(1, 25).Draw(t, "n")
				s.Add(n)
				m[n] = true
			}
			return s, m
		}
		a, inA := draw("a")
		b, inB := draw("b")
		contains := true
		for n := range uint64(30) {
			if a.Has(n) != inA[n] {
				t.Fatalf("%v has %d: %v", a.spans, n, a.Has(n))
			}
			contains = contains && (!inB[n] || inA[n])
		}
		if a.Contains(b) != contains {
			t.Fatalf("%v contains %v: %v", a.spans, b.spans, a.Contains(b))
		}
		for i := 1; i < len(a.spans); i++ {
			if a.spans[i].from <= a.spans[i-1].to+1 {
				t.Fatalf("runs touch: %v", a.spans)
			}
		}
		d := wire.NewDecoder(a.append(nil))
		if back := decodeSet(&d); d.Err() != nil || len(back.spans) != len(a.spans) || !back.Contains(a) {
			t.Fatalf("%v came back as %v, %v", a.spans, back.spans, d.Err())
		}
		a.Unite(b)
		if !a.Contains(b) {
			t.Fatalf("united %v does not contain %v", a.spans, b.spans)
		}
		for n := range uint64(30) {
			if a.Has(n) != (inA[n] || inB[n]) {
				t.Fatalf("united has %d: %v", n, a.Has(n))
			}
		}
	})
}

func TestSetsRoundTrip(t *testing.T) {
	origins := []Origin{
		{Stream{Node: 1, Start: 9, Ring: 1, List: 0}, 5, []uint64{3}},
		{Stream{Node: 2, Start: 1 << 60, Ring: 2, List: 7}, 1, nil},
	}
	d := wire.NewDecoder(AppendOrigins(nil, origins))
	if got := DecodeOrigins(&d, nil); d.Err() != nil || !reflect.DeepEqual(got, origins) {
		t.Fatalf("%+v, %v", got, d.Err())
	}
	s := Sets{}
	for i := range origins {
		s.Add(&origins[i])
	}
	d = wire.NewDecoder(s.Append(nil))
	got := DecodeSets(&d)
	if d.Err() != nil || !reflect.DeepEqual(got, s) {
		t.Fatalf("%+v, %v", got, d.Err())
	}
	if !got.Contains(s) || (Sets{}).Contains(s) || !s.Contains(Sets{}) {
		t.Fatal("contains")
	}
}

// TestLedger: C7. A node answers alone only when the other has said that nothing
// from before is missing, in the very start that it asks, and nothing since is.
func TestLedger(t *testing.T) {
	stream := Stream{Node: 3, Start: 1, Ring: 1}
	x, y := NewLedger(), NewLedger()
	check := func(want, wantHope bool) {
		t.Helper()
		if ok, _, changed := x.Complete(2, 7, y.Snapshot()); ok != want || (changed != nil) != wantHope {
			t.Fatalf("complete %v, hope %v", ok, changed != nil)
		}
	}
	check(false, false) // nothing is known of what it held before
	x.Unite(2, 6, nil)
	check(false, false) // that was an earlier start of it
	x.Unite(2, 7, nil)
	check(true, true)
	y.Stored([]Origin{{stream, 1, nil}})
	check(false, true)
	x.Stored([]Origin{{stream, 2, nil}})
	check(false, true)
	x.Stored([]Origin{{stream, 3, []uint64{1}}}) // a later attempt replaces the first
	check(true, true)
	y.Stored([]Origin{{stream, 5, nil}})
	check(false, true)
	x.GiveUp(y.Snapshot())
	check(false, false) // what did not come is not waited for again
	x.Stored([]Origin{{stream, 5, nil}, {stream, 4, nil}})
	check(true, true)
	y.Stored([]Origin{{stream, 6, nil}})
	check(false, true) // what is new is
	x.Shown([]Origin{{stream, 6, nil}})
	check(true, true) // reads show it, others are not told yet
	if y.Stored([]Origin{{stream, 7, nil}}); x.Snapshot()[stream].Has(6) {
		t.Fatal("what is not durable is told")
	}
	check(false, true)
	x.Stored([]Origin{{stream, 6, nil}, {stream, 7, nil}})
	if x.Gaps() != 0 {
		t.Fatalf("%d gaps", x.Gaps())
	}
}

func FuzzDecodeSets(f *testing.F) {
	s := Sets{}
	s.Add(&Origin{Stream{1, 2, 3, 4}, 5, []uint64{9}})
	f.Add(s.Append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := wire.NewDecoder(data)
		got := DecodeSets(&d)
		if d.Err() != nil {
			return
		}
		again := wire.NewDecoder(got.Append(nil))
		if back := DecodeSets(&again); again.Err() != nil || !reflect.DeepEqual(back, got) {
			t.Fatalf("%v, %v", back, again.Err())
		}
	})
}
