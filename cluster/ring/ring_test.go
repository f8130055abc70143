package ring

import (
	"bufio"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"github.com/count-db/count/internal/model"
)

func mustRing(t testing.TB, rf int, members ...Member) *Ring {
	t.Helper()
	r, err := New(1, rf, members)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func nodes(n int) []Member {
	var out []Member
	for i := range n {
		out = append(out, Member{ID: NodeID(i + 1)})
	}
	return out
}

// TestVectors checks the published vectors, which testdata/vectors.py computed
// without this code.
func TestVectors(t *testing.T) {
	f, err := os.Open("testdata/vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := 0
	for in := bufio.NewScanner(f); in.Scan(); lines++ {
		p := strings.Fields(in.Text())
		switch p[0] {
		case "token":
			id, _ := strconv.ParseUint(p[1], 10, 64)
			virtual, _ := strconv.Atoi(p[2])
			if got := fmt.Sprintf("%016x", Token(NodeID(id), virtual)); got != p[3] {
				t.Errorf("Token(%s, %s) = %s, want %s", p[1], p[2], got, p[3])
			}
		case "candidates":
			var members []Member
			for _, s := range strings.Split(p[1], ",") {
				id, _ := strconv.ParseUint(s, 10, 64)
				members = append(members, Member{ID: NodeID(id)})
			}
			rf, _ := strconv.Atoi(p[2])
			id := model.SeriesIDOf(labels.FromStrings(labels.MetricName, p[3]))
			got := fmt.Sprint(mustRing(t, rf, members...).Candidates(nil, id.Token()))
			if want := "[" + strings.ReplaceAll(p[4], ",", " ") + "]"; got != want {
				t.Errorf("candidates of %s over %s, rf %d: %s, want %s", p[3], p[1], rf, got, want)
			}
		default:
			t.Fatalf("unknown vector %q", p[0])
		}
	}
	if lines < 100 {
		t.Fatalf("only %d vectors", lines)
	}
}

// TestAgainstPlainWalk compares the indexed ring with the obvious walk.
func TestAgainstPlainWalk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "nodes")
		rf := rapid.IntRange(1, 6).Draw(t, "rf")
		zones := rapid.IntRange(0, 4).Draw(t, "zones")
		var members []Member
		for i := range n {
			m := Member{ID: NodeID(i*7 + 1)}
			if zones > 0 {
				m.Zone = strconv.Itoa(i % zones)
			}
			members = append(members, m)
		}
		r, err := New(1, rf, members)
		if err != nil {
			t.Fatal(err)
		}
		position := rapid.Uint64().Draw(t, "position")
		if rapid.Bool().Draw(t, "on a token") {
			position = Token(members[0].ID, int(position%VirtualNodes))
		}
		want := plainCandidates(members, rf, position)
		if got := r.Candidates(nil, position); !slices.Equal(got, want) {
			t.Fatalf("candidates %v, want %v", got, want)
		}
		l := r.Lists()[r.ListOf(position)]
		if slices.Sort(want[:l.Owners]); !slices.Equal(l.Nodes, want) {
			t.Fatalf("list %v, want %v", l.Nodes, want)
		}
		if 2*l.W <= len(l.Nodes) || l.W > len(l.Nodes) {
			t.Fatalf("C1: two quorums of %d in %d candidates need not meet", l.W, len(l.Nodes))
		}
	})
}

// plainCandidates is the definition, written down.
func plainCandidates(members []Member, rf int, position uint64) []NodeID {
	type vnode struct {
		token uint64
		m     Member
	}
	var all []vnode
	for _, m := range members {
		for v := range VirtualNodes {
			all = append(all, vnode{Token(m.ID, v), m})
		}
	}
	// Distance clockwise from the position; 0 for a token at it.
	slices.SortFunc(all, func(a, b vnode) int {
		if a.token-position < b.token-position {
			return -1
		}
		return 1
	})
	var distinct []Member
	for _, v := range all {
		if !slices.Contains(distinct, v.m) {
			distinct = append(distinct, v.m)
		}
	}
	owners := min(rf, len(members))
	w := owners/2 + 1
	width := max(owners, min(2*w-1, len(members)))
	var picked, rest []Member
	zones := map[string]bool{}
	for _, m := range distinct {
		if len(picked) < owners && (m.Zone == "" || !zones[m.Zone]) {
			picked = append(picked, m)
			zones[m.Zone] = true
		} else {
			rest = append(rest, m)
		}
	}
	picked = append(picked, rest...)
	var ids []NodeID
	for _, m := range picked[:width] {
		ids = append(ids, m.ID)
	}
	return ids
}

// TestBalance: with 150 virtual nodes each node owns its share within a third of
// the mean at 3 to 200 nodes, and the mean deviation is a few percent.
func TestBalance(t *testing.T) {
	for _, n := range []int{3, 4, 5, 10, 50, 200} {
		r := mustRing(t, 3, nodes(n)...)
		share := map[NodeID]float64{}
		var owners []NodeID
		for b := range r.Buckets() {
			from, to := r.Range(b)
			owners = r.Owners(owners[:0], to)
			for _, id := range owners {
				share[id] += Share(from, to)
			}
		}
		want, sum, worst := 3/float64(n), 0.0, 0.0
		for _, s := range share {
			off := math.Abs(s/want - 1)
			sum, worst = sum+off, max(worst, off)
		}
		if len(share) != n || worst > 0.34 || sum/float64(n) > 0.08 {
			t.Errorf("%d nodes: %d own something, worst share off by %.0f%%, mean by %.1f%%", n, len(share), 100*worst, 100*sum/float64(n))
		}
	}
}

// TestMinimalMovement: a node that comes takes about its share and nothing moves
// between the others; a node that goes gives up only its own.
func TestMinimalMovement(t *testing.T) {
	for _, n := range []int{3, 4, 5, 20, 199} {
		before, after := mustRing(t, 3, nodes(n)...), mustRing(t, 3, nodes(n+1)...)
		gained := 0.0
		for _, m := range diff(before, after) {
			if len(m.Gained) != 1 || m.Gained[0] != NodeID(n+1) || len(m.Lost) != 1 {
				t.Fatalf("%d nodes: range moves among old nodes: %+v", n, m)
			}
			gained += Share(m.From, m.To)
		}
		want := 3 / float64(n+1)
		if gained > want*1.34 || gained < want*0.66 {
			t.Errorf("%d nodes and one more: it gets %.3f, its share is %.3f", n, gained, want)
		}
		lost := 0.0
		for _, m := range diff(after, before) {
			if len(m.Lost) != 1 || m.Lost[0] != NodeID(n+1) {
				t.Fatalf("%d nodes: leaving moves others' ranges: %+v", n, m)
			}
			lost += Share(m.From, m.To)
		}
		if math.Abs(lost-gained) > 1e-9 {
			t.Errorf("leaving moves %.6f, joining moved %.6f", lost, gained)
		}
	}
	if d := diff(mustRing(t, 3, nodes(5)...), mustRing(t, 3, nodes(5)...)); len(d) != 0 {
		t.Errorf("equal rings differ: %v", d)
	}
}

func TestZones(t *testing.T) {
	var members []Member
	for i := range 9 {
		members = append(members, Member{ID: NodeID(i + 1), Zone: string(rune('a' + i%3))})
	}
	zone := func(id NodeID) string { return members[id-1].Zone }
	r := mustRing(t, 3, members...)
	for _, l := range r.Lists() {
		if a, b, c := zone(l.Nodes[0]), zone(l.Nodes[1]), zone(l.Nodes[2]); a == b || b == c || a == c {
			t.Fatalf("owners %v share a zone", l.Nodes)
		}
	}
	// One zone only: as if there were none.
	for i := range members {
		members[i].Zone = "z"
	}
	for _, l := range mustRing(t, 3, members...).Lists() {
		if l.Owners != 3 {
			t.Fatalf("%d owners in a single zone", l.Owners)
		}
	}
}

func TestComplete(t *testing.T) {
	r := mustRing(t, 3, nodes(5)...)
	without := func(dead ...NodeID) func(NodeID) bool {
		return func(id NodeID) bool { return !slices.Contains(dead, id) }
	}
	if !r.Complete(without(4)) {
		t.Error("one dead of five makes reads incomplete")
	}
	if r.Complete(without(4, 5)) {
		t.Error("with 4 and 5 dead some series has lost its quorum, yet the read is complete")
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		rf      int
		members []Member
	}{
		{0, nodes(3)},
		{3, nil},
		{3, []Member{{ID: 0}}},
		{3, []Member{{ID: 2}, {ID: 2}}},
		{3, nodes(MaxMembers + 1)},
	} {
		if _, err := New(1, c.rf, c.members); err == nil {
			t.Errorf("New(rf %d, %d members) gave no error", c.rf, len(c.members))
		}
	}
}

func BenchmarkListOf(b *testing.B) {
	r := mustRing(b, 3, nodes(5)...)
	positions := make([]uint64, 4096)
	for i := range positions {
		positions[i] = rand.Uint64()
	}
	sum := 0
	for i := 0; b.Loop(); i++ {
		sum += r.ListOf(positions[i&4095])
	}
	_ = sum
}
