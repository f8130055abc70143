package settle

import (
	"errors"
	"testing"

	"github.com/count-db/count/cluster/antientropy"
	"github.com/count-db/count/cluster/ring"
)

func TestRoundOfOneMember(t *testing.T) {
	var s State
	r := Round{Floor: 10, Leader: 1, Start: 7, Ring: 3}
	if err := s.Freeze(r, 3); err == nil {
		t.Error("frozen without a promise")
	}
	s.Promise(10)
	s.Promise(5)
	if s.Fresh(10) || !s.Fresh(11) {
		t.Errorf("mark %d", s.Mark)
	}
	if err := s.Freeze(r, 4); !errors.Is(err, ErrOtherRing) {
		t.Errorf("a round of another ring: %v", err)
	}
	for range 2 {
		if err := s.Freeze(r, 3); err != nil {
			t.Fatal(err)
		}
	}
	other := r
	other.Start++
	if err := s.Freeze(other, 3); !errors.Is(err, ErrFrozen) {
		t.Errorf("another round: %v", err)
	}
	if s.Copy(10, 0) != Later || s.Copy(11, 0) != Take || s.Quiet() != 10 {
		t.Error("a frozen member takes copies below, or none above")
	}
	if v, _ := s.Delete(9, 0, 5); v != Later {
		t.Error("a frozen member takes deletes")
	}
	if err := s.Decide(other); !errors.Is(err, ErrNotFrozen) {
		t.Errorf("another round is decided: %v", err)
	}
	for range 2 {
		if err := s.Decide(r); err != nil {
			t.Fatal(err)
		}
	}
	s.Release(r)
	if s.Floor != 10 || s.Frozen != (Round{}) || s.OutcomeOf(r, Round{}) != Settled {
		t.Errorf("%+v", s)
	}
	if s.Copy(9, 0) != Drop || s.Copy(10, 0) != Take {
		t.Error("what is below the floor is taken, or what is at it is not")
	}
	s.Revoke()
	if s.Floor != 0 || s.Mark != 10 || s.Copy(9, 0) != Take {
		t.Errorf("revoked: %+v", s)
	}
}

func TestRoundThatComesToNothing(t *testing.T) {
	s := State{Mark: 20}
	r := Round{Floor: 10, Leader: 1, Ring: 3}
	if err := s.Freeze(r, 3); err != nil {
		t.Fatal(err)
	}
	s.Enter(3)
	if s.Frozen != r || s.OutcomeOf(r, r) != Pending {
		t.Error("a round ends too early")
	}
	s.Enter(4)
	if s.Frozen != (Round{}) {
		t.Error("a round outlasts its ring")
	}
	if err := s.Freeze(Round{Floor: 11, Leader: 1, Ring: 4}, 4); err != nil {
		t.Fatal(err)
	}
	if s.OutcomeOf(s.Frozen, Round{}) != Dropped || s.Frozen != (Round{}) {
		t.Error("a leader that drives no round does not drop it")
	}
}

// TestFrom: what is older than the settled time goes by versions.
func TestFrom(t *testing.T) {
	s := State{Floor: 10, From: 100}
	if s.Copy(9, 99) != Take || s.Copy(9, 100) != Drop {
		t.Error("copies")
	}
	for _, c := range []struct {
		mint, maxt int64
		want       Verdict
		end        int64
	}{{100, 200, Drop, 200}, {0, 50, Take, 50}, {0, 200, Take, 99}} {
		if v, end := s.Delete(9, c.mint, c.maxt); v != c.want || end != c.end {
			t.Errorf("%+v: %d, %d", c, v, end)
		}
	}
	if v, end := s.Delete(11, 0, 200); v != Take || end != 200 {
		t.Error("a delete above the floor is cut")
	}
}

func TestAssess(t *testing.T) {
	r, err := ring.New(1, 2, []ring.Member{{ID: 1}, {ID: 2}, {ID: 3}})
	if err != nil {
		t.Fatal(err)
	}
	some := antientropy.Digest{Sum: [2]uint64{1, 2}, Count: 3}
	whole := func() map[ring.NodeID]Holding {
		out := map[ring.NodeID]Holding{}
		for _, m := range r.Members() {
			lists := map[int]antientropy.Digest{}
			for n, l := range r.Lists() {
				if l.Owns(m.ID) {
					lists[n] = some
				}
			}
			out[m.ID] = Holding{Lists: lists, Deletes: some}
		}
		return out
	}
	if err := Assess(r, whole()); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(h map[ring.NodeID]Holding){
		"a member is silent":    func(h map[ring.NodeID]Holding) { delete(h, 2) },
		"a member owes":         func(h map[ring.NodeID]Holding) { m := h[2]; m.Owes = true; h[2] = m },
		"a delete is missing":   func(h map[ring.NodeID]Holding) { m := h[2]; m.Deletes.Count++; h[2] = m },
		"an owner has less":     func(h map[ring.NodeID]Holding) { delete(h[r.Lists()[0].Nodes[1]].Lists, 0) },
		"a stand-in has a copy": func(h map[ring.NodeID]Holding) { h[r.Lists()[0].Nodes[2]].Lists[0] = some },
	} {
		h := whole()
		spoil(h)
		if err := Assess(r, h); !errors.Is(err, ErrNotSettled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	dual, err := ring.Dual(2, r, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := Assess(dual, whole()); !errors.Is(err, ErrNotSettled) {
		t.Errorf("a ring that changes: %v", err)
	}
}
