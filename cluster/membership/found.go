package membership

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/count-db/count/cluster/ring"
)

// Founder is what one address of the founders' list answered.
type Founder struct {
	Address  string        // as it stands in this node's list
	ID       ring.NodeID   // who answered
	Zone     string        // of who answered
	Disk     string        // of who answered
	List     []string      // the list of who answered
	Resolved []ring.NodeID // who answered there under each name, when all did
}

// ErrWaiting means that founding cannot be decided yet: some founders have not
// answered. Everything else that Found returns needs an operator.
var ErrWaiting = errors.New("waiting for the founders")

// Found decides whether ring 1 can be made (C2): every address of the list has
// answered, the answers are distinct nodes, this one among them, and all have
// the same list, in any order. Lists are the same when their names are, or when
// the same nodes answer under their names. The members are ascending by id.
//
// All founders come to the same ring by themselves: it follows from the answers.
func Found(self ring.NodeID, list []string, answers []Founder) ([]RingMember, error) {
	byAddress := map[string]Founder{}
	for _, a := range answers {
		byAddress[a.Address] = a
	}
	var missing []string
	var members []RingMember
	names := map[ring.NodeID]string{}
	for _, address := range list {
		a, ok := byAddress[address]
		if !ok {
			missing = append(missing, address)
			continue
		}
		if other, twice := names[a.ID]; twice {
			return nil, fmt.Errorf("CLUSTER_NODES: node %d answers at %s and at %s: the list names it twice, or two nodes have one NODE_ID", a.ID, other, address)
		}
		names[a.ID] = address
		members = append(members, RingMember{ID: a.ID, Zone: a.Zone, Disk: a.Disk})
	}
	if err := sameLists(list, answers, len(missing) == 0, members); err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%w: no answer yet from %s", ErrWaiting, strings.Join(missing, ", "))
	}
	if _, ok := names[self]; !ok {
		return nil, fmt.Errorf("CLUSTER_NODES names this node's ADVERTISE_ADDRESS, but node %d does not answer there", self)
	}
	sortMembers(members)
	return members, nil
}

func sameLists(list []string, answers []Founder, all bool, members []RingMember) error {
	mine := sorted(list)
	var ids []ring.NodeID
	for _, m := range members {
		ids = append(ids, m.ID)
	}
	slices.Sort(ids)
	for _, a := range answers {
		theirs := sorted(a.List)
		if slices.Equal(mine, theirs) {
			continue
		}
		if len(theirs) == len(mine) && (!all || len(a.Resolved) == 0) {
			return fmt.Errorf("%w: CLUSTER_NODES of node %d is written %s, here %s; they may still name the same nodes", ErrWaiting, a.ID, strings.Join(theirs, ","), strings.Join(mine, ","))
		}
		if resolved := slices.Sorted(slices.Values(a.Resolved)); len(theirs) != len(mine) || !slices.Equal(resolved, ids) {
			return fmt.Errorf("CLUSTER_NODES differ: node %d has %s, this node has %s; give all founders the same list", a.ID, strings.Join(theirs, ","), strings.Join(mine, ","))
		}
	}
	return nil
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

func sortMembers(members []RingMember) {
	slices.SortFunc(members, func(a, b RingMember) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
}

// ClusterID names the cluster that ring 1 founds: each founder comes to the same
// one, and another founding comes to another because disks are random.
func ClusterID(name string, members []RingMember) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q", name) // a hash never fails
	for _, m := range members {
		fmt.Fprintf(h, ";%d=%q", m.ID, m.Disk)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
