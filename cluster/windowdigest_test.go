package cluster

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/count-db/count/cluster/antientropy"
	"github.com/count-db/count/internal/model"
)

func (n *testNode) selected() int {
	n.local.mu.Lock()
	defer n.local.mu.Unlock()
	return n.local.selects
}

// TestSettledRangeIsNotReadAgain: verifying what was verified before reads
// nothing; what is written late to a closed window is compared, and what a disk
// loses there is found by reading back.
func TestSettledRangeIsNotReadAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		a, b, c := tc.nodes[0], tc.nodes[1], tc.nodes[2]
		old := time.Now().Add(-30 * time.Hour).UnixMilli()
		tc.mustWrite(a, "0001", old, 7)
		pause(2 * time.Hour)
		before := []int{a.selected(), b.selected(), c.selected()}
		verified := a.RepairStatus().Verified
		pause(2 * time.Hour)
		if v := a.RepairStatus().Verified; v < verified+50 {
			t.Fatalf("%d ranges were verified, %d two hours ago", v, verified)
		}
		for i, n := range tc.nodes {
			// Open slices are read, which nothing is in; and the window is read back.
			if got := n.selected() - before[i]; got > 60 {
				t.Errorf("node %d read its storage %d times", n.id, got)
			}
		}
		late := old + 1
		b.local.mu.Lock()
		floor := b.local.floor
		b.local.mu.Unlock()
		b.put(t, "0001", late, 8, max(floor, b.clock.Now()))
		tc.until("a late sample of one node reaches the others", 20*time.Minute, func() bool {
			_, hasA := a.holds("0001", late)
			_, hasC := c.holds("0001", late)
			return hasA && hasC
		})
		pause(2 * time.Hour)
		c.lose("0001", old)
		tc.until("what rots is found", 8*time.Hour, func() bool { v, has := c.holds("0001", old); return has && v == 7 })
	})
}

// put stores a sample at one node only, as a copy that the others missed.
func (n *testNode) put(t *testing.T, name string, at int64, v float64, version model.Version) {
	t.Helper()
	ref, err := n.local.Intern(metric(name))
	if err != nil {
		t.Fatal(err)
	}
	b := &model.Batch{Version: version, Floats: []model.FloatSample{{T: at, V: v, Ref: ref}}}
	if _, err := n.store(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

// TestWindowDigestsAreThoseOfTheContent: whatever is stored and deleted between,
// what is kept is what reading everything gives.
func TestWindowDigestsAreThoseOfTheContent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		n := tc.nodes[0]
		rng := rand.New(rand.NewPCG(1, 2))
		topo := n.topo.Load()
		for range 300 {
			name, w := fmt.Sprintf("%04d", rng.IntN(4)), int64(rng.IntN(30))
			switch rng.IntN(5) {
			case 0:
				ts := model.Tombstone{Version: n.clock.Now(), MinT: w * windowLength, MaxT: (w+int64(rng.IntN(40)))*windowLength + 5}
				if err := n.storeDeletes(t.Context(), ts); err != nil {
					t.Fatal(err)
				}
			default:
				n.put(t, name, w*windowLength+int64(rng.IntN(3)), rng.Float64(), n.clock.Now())
			}
			a := digestAsk{ring: topo.ring.Number(), maxt: 30*windowLength - 1, before: n.clock.Now()}
			got, err := n.windowsHere(t.Context(), topo, a)
			if err != nil {
				t.Fatal(err)
			}
			slices, err := n.digestsHere(t.Context(), topo, a)
			if err != nil {
				t.Fatal(err)
			}
			want := map[antientropy.Key]antientropy.Digest{}
			for k, d := range slices {
				k.Slice = windowOf(k.Slice * sliceLength)
				sum := want[k]
				sum.Add(d)
				want[k] = sum
			}
			if !maps.Equal(got, want) {
				t.Fatalf("kept %v, read %v", got, want)
			}
		}
	})
}

// TestWindowTouchedDuringPass: a digest that may have missed a write is not kept.
func TestWindowTouchedDuringPass(t *testing.T) {
	d := newWindowDigests(100)
	pass := func(during func()) {
		t.Helper()
		if err := d.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		found := map[int64]*windowDigest{}
		for w := range int64(3) {
			found[w] = &windowDigest{ring: 1, lists: map[int]antientropy.Digest{0: {Count: 1}}, plain: map[int]antientropy.Digest{0: {Count: 1}}}
		}
		during()
		d.end(found)
	}
	kept := func() []int64 { return slices.Sorted(maps.Keys(d.kept)) }
	pass(func() { d.touch(1, 1) })
	if got := kept(); !slices.Equal(got, []int64{0, 2}) {
		t.Errorf("kept %v", got)
	}
	pass(func() { d.touch(-1<<50, 1<<50) })
	if got := kept(); len(got) > 0 {
		t.Errorf("kept %v", got)
	}
	pass(func() {})
	get := func(ringNumber uint64, before model.Version) *windowDigest {
		return d.get(1, &digestAsk{ring: ringNumber, before: before})
	}
	if get(1, 1) == nil || get(2, 1) != nil || get(1, 0) != nil {
		t.Error("what is kept does not count, or counts for another ring or version")
	}
	d.max = 6
	pass(func() {})
	if got := kept(); !slices.Equal(got, []int64{1, 2}) || d.count != 6 {
		t.Errorf("kept %v, count %d", got, d.count)
	}
	d.clear()
	if len(d.kept) > 0 || d.count != 0 {
		t.Error("not cleared")
	}
}

func TestSplitClosed(t *testing.T) {
	now := time.UnixMilli(100*windowLength + closedAfter)
	for _, c := range []struct {
		mint, maxt, from, to int64 // from to: the windows; 0 0: none
		rest                 int
	}{
		{0, 1 << 62, 0, 100 * windowLength, 1},
		{1, 1 << 62, windowLength, 100 * windowLength, 2},
		{1, 100*windowLength - 1, windowLength, 100 * windowLength, 1},
		{0, 2*windowLength - 2, 0, windowLength, 1},
		{5, 2*windowLength - 2, 0, 0, 1},
		{100 * windowLength, 101 * windowLength, 0, 0, 1},
	} {
		a, any, rest := splitClosed(digestAsk{mint: c.mint, maxt: c.maxt}, now)
		if any != (c.to > 0) || len(rest) != c.rest || any && (a.mint != c.from || a.maxt != c.to-1) {
			t.Errorf("%+v: %+v %v %+v", c, a, any, rest)
		}
		sum := int64(0)
		if any {
			sum = a.maxt - a.mint + 1
		}
		for _, r := range rest {
			sum += r.maxt - r.mint + 1
		}
		if sum != c.maxt-c.mint+1 {
			t.Errorf("%+v: parts hold %d ms", c, sum)
		}
	}
}
