package cluster

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
)

// TestStrangersAreNotRemembered: whoever reaches the port can make up nodes; a node
// keeps few of them, in memory, on disk and in the log.
func TestStrangersAreNotRemembered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 1, 1)
		tc.ready()
		tellOfStrangers(t, tc.nodes[0])
	})
}

func tellOfStrangers(t *testing.T, n *testNode) {
	const many = 3 * membership.MaxStrangers
	long := strings.Repeat("x", 10_000)
	for i := range many {
		id := ring.NodeID(1000 + i)
		n.hear(membership.Message{SenderID: id, Type: membership.MessageType{NodeFailed: &membership.IDMessage{NodeID: id + many}}})
		n.hear(membership.Message{SenderID: id, Type: membership.MessageType{Heartbeat: &membership.NodeMessage{Node: membership.NodeRecord{ID: id + 2*many, Address: long}}}})
		h := n.Hello()
		h.Node, h.Disk, h.Address = id, fmt.Sprint("disk of ", id), fmt.Sprintf("127.0.0.1:%d", id)
		_ = n.Meet(h) // refused or not: what is kept counts
		h.Node, h.Cluster = id, fmt.Sprint("other", i)
		if err := n.Meet(h); err == nil {
			t.Fatal("a node of another cluster is met")
		}
		n.hear(membership.Message{SenderID: id, Type: membership.MessageType{NodeLeave: &membership.IDMessage{NodeID: id}}})
	}
	pause(2 * time.Minute)
	late := n.Hello()
	late.Node, late.Disk, late.Address = 7, "disk of 7", "127.0.0.1:7"
	if err := n.Meet(late); err != nil {
		t.Errorf("a node that comes after all these: %v", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if got := len(n.view.Nodes(time.Now())); got > 2*membership.MaxStrangers {
		t.Errorf("%d nodes are known", got)
	}
	if len(n.refused) > maxRefusals {
		t.Errorf("%d refused nodes are remembered", len(n.refused))
	}
	if got := len(n.state.Addresses) + len(n.state.Seen); got > 5*membership.MaxStrangers {
		t.Errorf("%d nodes are kept on disk", got)
	}
}

func TestLongIntroductionsAreRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 1, 1)
		tc.ready()
		introduceAtLength(t, tc.nodes[0])
	})
}

func introduceAtLength(t *testing.T, n *testNode) {
	for _, lengthen := range []func(*transport.Hello, string){
		func(h *transport.Hello, s string) { h.Address = s },
		func(h *transport.Hello, s string) { h.Cluster = s },
		func(h *transport.Hello, s string) { h.Zone = s },
		func(h *transport.Hello, s string) { h.Disk = s },
	} {
		h := n.Hello()
		h.Node = 77
		lengthen(&h, strings.Repeat("x", 200_000))
		if err := n.Meet(h); err == nil || len(err.Error()) > 1000 {
			t.Errorf("%.200v", err)
		}
	}
}
