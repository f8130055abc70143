package membership

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/count-db/count/cluster/ring"
)

// NodeRecord is a node in the documented messages.
type NodeRecord struct {
	ID       ring.NodeID `json:"id"`
	Address  string      `json:"address"`
	Status   Status      `json:"status"`
	LastSeen int64       `json:"last_seen"` // ms since the epoch
	Version  string      `json:"version"`
	DataSize int64       `json:"data_size"` // bytes
}

// Record returns the node as it stands in the documented messages.
func (n Node) Record() NodeRecord {
	r := NodeRecord{ID: n.ID, Address: n.Address, Status: n.Status, Version: n.Version, DataSize: n.DataSize}
	if !n.LastSeen.IsZero() {
		r.LastSeen = n.LastSeen.UnixMilli()
	}
	return r
}

// Message is the envelope of POST /cluster/join and /cluster/gossip.
type Message struct {
	SenderID  ring.NodeID `json:"sender_id"`
	Type      MessageType `json:"message_type"`
	Timestamp int64       `json:"timestamp"` // ms since the epoch
}

// MessageType is one of the documented messages: exactly one field is set.
type MessageType struct {
	NodeJoin     *NodeMessage  `json:"NodeJoin,omitempty"`
	Heartbeat    *NodeMessage  `json:"Heartbeat,omitempty"`
	NodeLeave    *IDMessage    `json:"NodeLeave,omitempty"`
	NodeFailed   *IDMessage    `json:"NodeFailed,omitempty"`
	ClusterState *StateMessage `json:"ClusterState,omitempty"`
}

// NodeMessage carries one node.
type NodeMessage struct {
	Node NodeRecord `json:"node"`
}

// IDMessage names one node.
type IDMessage struct {
	NodeID ring.NodeID `json:"node_id"`
}

// StateMessage carries all nodes that the sender knows.
type StateMessage struct {
	Nodes []NodeRecord `json:"nodes"`
}

// ErrMessage marks a message that is not one of the documented ones.
var ErrMessage = errors.New("malformed cluster message")

// ParseMessage reads a documented message.
func ParseMessage(data []byte) (Message, error) {
	var m Message
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	set := 0
	for _, is := range []bool{
		m.Type.NodeJoin != nil, m.Type.Heartbeat != nil, m.Type.NodeLeave != nil,
		m.Type.NodeFailed != nil, m.Type.ClusterState != nil,
	} {
		if is {
			set++
		}
	}
	if set != 1 {
		return m, fmt.Errorf("%w: message_type must be exactly one of NodeJoin, Heartbeat, NodeLeave, NodeFailed and ClusterState", ErrMessage)
	}
	for _, n := range m.Nodes() {
		if n.ID == 0 {
			return m, fmt.Errorf("%w: a node without an id", ErrMessage)
		}
	}
	return m, nil
}

// Nodes returns the nodes that the message carries.
func (m *Message) Nodes() []NodeRecord {
	switch t := m.Type; {
	case t.NodeJoin != nil:
		return []NodeRecord{t.NodeJoin.Node}
	case t.Heartbeat != nil:
		return []NodeRecord{t.Heartbeat.Node}
	case t.ClusterState != nil:
		return t.ClusterState.Nodes
	}
	return nil
}
