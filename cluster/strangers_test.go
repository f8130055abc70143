package cluster

import (
	"strings"
	"testing"
	"time"

	"github.com/count-db/count/cluster/quorum"
)

const otherClusterText = "the disk of this node belongs to another cluster than CLUSTER_NODES names"

func (n *testNode) says(text string) bool {
	return strings.Contains(strings.Join(n.Health().Problems, "; "), text)
}

// TestDiskOfAnotherCluster: a member of another cluster that is started with the
// addresses of this one says so, has a part in neither what is written here nor what
// is read, and goes on in its own. What the others say of it ends some time after it
// has gone. Started with the right addresses it says nothing any more.
func TestDiskOfAnotherCluster(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		d := tc.make(4)
		d.alter = func(o *Options) { o.Seeds = []string{d.host} }
		tc.start(d)
		tc.until("it has founded its own", 10*time.Second, func() bool { return d.RingRecord() != nil })
		tc.mustWrite(d, "own", 1, 1)
		tc.stop(d)
		d.alter = func(*Options) {}
		tc.start(d)
		tc.until("it says that it is apart", time.Minute, func() bool { return d.says(otherClusterText) })
		if h := d.Health(); !h.Founded || !h.Majority {
			t.Errorf("it does not go on in its own cluster: %+v", h)
		}
		tc.expect(d, "own", 1, 1)
		tc.mustWrite(tc.nodes[0], "ours", 1, 1)
		if points, _, err := d.read("ours", quorum.Quorum); err != nil || len(points) != 0 {
			t.Errorf("it reads %v of the cluster, %v", points, err)
		}
		if r := tc.nodes[0].RingRecord(); len(r.Members) != 3 || tc.nodes[0].inSight(4) {
			t.Errorf("it is taken in: %+v", r)
		}
		tc.until("the others say so too", time.Minute, func() bool { return tc.nodes[0].says("another cluster of the name") })
		tc.stop(d)
		d.alter = func(o *Options) { o.Seeds = []string{d.host} }
		tc.start(d)
		defer tc.stop(d)
		tc.until("the others forget it", 2*refusedShown, func() bool { return len(tc.nodes[0].Health().Problems) == 0 })
		if problems := d.Health().Problems; len(problems) > 0 {
			t.Errorf("with its own address: %q", problems)
		}
	})
}

// TestOthersFoundedAnew: a node whose neighbours were given empty disks and founded a
// cluster of their own, at the addresses that they have in this node's ring, says
// more than that they are away.
func TestOthersFoundedAnew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		for _, n := range tc.nodes {
			tc.stop(n)
		}
		for _, n := range tc.nodes[:2] {
			tc.wipe(n)
			n.alter = func(o *Options) { o.Seeds = tc.hosts[:2] }
			tc.start(n)
		}
		tc.until("two found a cluster", 10*time.Second, func() bool { return tc.nodes[0].RingRecord() != nil && tc.nodes[1].RingRecord() != nil })
		last := tc.nodes[2]
		tc.start(last)
		tc.until("the third says that it is apart", time.Minute, func() bool { return last.says(otherClusterText) })
		if h := last.Health(); h.Majority {
			t.Errorf("it counts them as members: %+v", h)
		}
		if r := tc.nodes[0].RingRecord(); len(r.Members) != 2 {
			t.Errorf("the two have the ring %+v", r)
		}
	})
}
