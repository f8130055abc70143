package agree

import (
	"slices"

	"github.com/count-db/count/cluster/ring"
)

// Ballot orders the rounds of all proposers. The zero Ballot is below all that
// are used.
type Ballot struct {
	Round uint64
	Node  ring.NodeID // the proposer: no two have the same ballot
}

// Less says whether b comes before o.
func (b Ballot) Less(o Ballot) bool {
	if b.Round != o.Round {
		return b.Round < o.Round
	}
	return b.Node < o.Node
}

// Voter is a member as the ring before the decision records it.
type Voter struct {
	Node ring.NodeID
	Disk string // random id of the data directory that has the vote
}

// Electorate are those who decide. No two have the same node.
type Electorate []Voter

// Majority returns how many votes decide.
func (e Electorate) Majority() int { return len(e)/2 + 1 }

// Has says whether the node has a vote with the disk that it stands on.
func (e Electorate) Has(v Voter) bool { return slices.Contains(e, v) }
