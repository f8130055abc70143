package agree

import "github.com/count-db/count/cluster/ring"

// Kind is what a Message means.
type Kind uint8

// The kinds of messages.
const (
	Prepare  Kind = 1 + iota // proposer: promise to take nothing below Ballot
	Promise                  // acceptor: promised; Last and Value are what it accepted before
	Accept                   // proposer: accept Value
	Accepted                 // acceptor: accepted, durably
	Refuse                   // acceptor: Last was promised to another and is above Ballot
	Chosen                   // anyone: Value is decided
)

var kindNames = [...]string{"unknown", "prepare", "promise", "accept", "accepted", "refuse", "chosen"}

// String returns the name.
func (k Kind) String() string {
	if int(k) >= len(kindNames) {
		k = 0
	}
	return kindNames[k]
}

// Message is what the members tell one another. Value is shared and must not be
// changed.
type Message struct {
	Kind   Kind
	Slot   uint64 // number of the ring that is decided
	From   Voter
	To     ring.NodeID
	Ballot Ballot
	Last   Ballot // Promise: ballot of Value, zero = none; Refuse: what was promised
	Value  []byte // of Promise, Accept and Chosen
}

// State is what a member must find again after a crash.
type State struct {
	Slot     uint64 // number of the ring that it is about
	Promised Ballot // nothing below it is accepted any more
	Accepted Ballot // ballot of Value; zero = nothing accepted
	Value    []byte
}

// Ready is what a step leads to.
type Ready struct {
	// Save, when not nil, must be durable before anything of Send leaves.
	Save *State
	Send []Message
	// Chosen is the decision; nil while it is not known here.
	Chosen []byte
}
