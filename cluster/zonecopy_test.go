package cluster

import (
	"testing"
	"time"
)

// TestOneCopyAloneInItsZone: C7. A node that owns everything, because nobody else is
// in its zone, proves for each list with the candidates of that list that its copy
// is complete: what another member holds says nothing of it.
func TestOneCopyAloneInItsZone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		zones := map[bool]string{true: "b", false: "a"}
		tc := newTestCluster(t, 4, 3, func(o *Options) { o.Zone = zones[o.Node == 1] })
		tc.ready()
		self := tc.nodes[0]
		complete := func() bool { return self.CopyIsComplete(t.Context()) }
		tc.until("the copy is complete at the beginning", 3*time.Minute, complete)
		topo := self.topo.Load()
		if !topo.whole {
			t.Fatal("the node is no owner of everything")
		}
		l := newLedger()
		for i := range 6 {
			name := simName(i)
			list := &topo.lists[topo.ring.ListOf(tokenOf(name))]
			var writer *testNode
			for _, n := range tc.nodes[1:] {
				if list.Has(n.id) {
					tc.net.Cut(self.host, n.host)
					writer = n
				}
			}
			if err := l.write(writer, name, 1); err != nil {
				t.Fatal(err)
			}
			if complete() {
				t.Errorf("the copy counts for complete without a write to %s", name)
			}
			tc.net.Heal()
			tc.until("the copy is complete again", 3*time.Minute, complete)
			l.read(t, self, name, 1)
		}
	})
}
