package ring

import "slices"

// Survived returns what is left of a settled ring when some of its members are
// lost for good, with what they held: the ring before of the change by which the
// others, members, found the next one without agreeing with them. A member may be
// lost with its disk only, and be one of them all the same.
//
// A write of which the N candidates hold W copies has lost as many of them as the
// list lost candidates, L at the most: it is at W-L of those left (Group.Held), and
// any W of these, or all where fewer are left, meet it. Where W or more are lost
// nobody is sure to hold it, and all that are left must be asked, so that what one
// of them has is seen by all; of a list that lost all its candidates nobody is
// asked.
func (r *Ring) Survived(lost []NodeID, members []Member) *Ring {
	left := *r
	left.order = nil // a list has no one width any more
	left.members = slices.Clone(members)
	slices.SortFunc(left.members, byID)
	left.lists = make([]List, len(r.lists))
	for i := range r.lists {
		l := &r.lists[i]
		nodes := slices.DeleteFunc(slices.Clone(l.Nodes), func(id NodeID) bool { return slices.Contains(lost, id) })
		gone := len(l.Nodes) - len(nodes)
		left.lists[i] = List{Nodes: nodes, Owners: l.Owners, W: l.W, held: max(l.W-gone, 0)}
		if gone > 0 {
			// Stand-ins are asked at once: there may be no W owners.
			left.lists[i].Owners, left.lists[i].W, left.lists[i].lost = len(nodes), min(l.W, len(nodes)), true
		}
	}
	return &left
}

// MayMiss says whether acknowledged writes may be held by nobody but some nodes
// that are lost. In the middle of a change its end may have been agreed on, and
// known to the lost alone.
func (l *List) MayMiss(lost []NodeID) bool {
	for i := range l.Groups() {
		g := l.Group(i)
		if count(g.Nodes, func(id NodeID) bool { return slices.Contains(lost, id) }) >= g.Held {
			return true
		}
	}
	return false
}
