package agree

import (
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/internal/wire"
)

// The forms are described in FORMAT.md.
const (
	stateVersion   = 1
	messageVersion = 1
	stateSeed      = 0xa9ee57a7
	messageSeed    = 0xa9ee3e55
)

// maxValue bounds a value: a ring of ring.MaxMembers members fits.
const maxValue = 4 << 20

// EncodeState returns the form in which a State is kept.
func EncodeState(s *State) []byte {
	p := []byte{stateVersion}
	p = wire.AppendUvarint(p, s.Slot)
	p = appendBallot(p, s.Promised)
	p = appendBallot(p, s.Accepted)
	p = wire.AppendBytes(p, s.Value)
	return wire.AppendFrame(nil, p, stateSeed)
}

// DecodeState reads what EncodeState wrote; errors wrap wire.ErrCorrupt.
func DecodeState(data []byte) (State, error) {
	d, err := open(data, stateSeed, stateVersion)
	if err != nil {
		return State{}, err
	}
	s := State{Slot: d.Uvarint(), Promised: ballot(&d), Accepted: ballot(&d)}
	s.Value = value(&d)
	if s.Promised.Less(s.Accepted) {
		d.Fail("accepted round %d of node %d is above the promised one", s.Accepted.Round, s.Accepted.Node)
	}
	if (s.Accepted == Ballot{}) != (s.Value == nil) {
		d.Fail("a value and the ballot it was accepted in belong together")
	}
	return s, end(&d)
}

// EncodeMessage returns the form in which a Message is sent.
func EncodeMessage(m *Message) []byte {
	p := []byte{messageVersion, byte(m.Kind)}
	p = wire.AppendUvarint(p, m.Slot)
	p = wire.AppendUvarint(p, uint64(m.From.Node))
	p = wire.AppendString(p, m.From.Disk)
	p = wire.AppendUvarint(p, uint64(m.To))
	p = appendBallot(p, m.Ballot)
	p = appendBallot(p, m.Last)
	p = wire.AppendBytes(p, m.Value)
	return wire.AppendFrame(nil, p, messageSeed)
}

// DecodeMessage reads what EncodeMessage wrote; errors wrap wire.ErrCorrupt.
func DecodeMessage(data []byte) (Message, error) {
	d, err := open(data, messageSeed, messageVersion)
	if err != nil {
		return Message{}, err
	}
	m := Message{Kind: Kind(d.Byte()), Slot: d.Uvarint(), From: Voter{Node: ring.NodeID(d.Uvarint()), Disk: d.String()}}
	m.To, m.Ballot, m.Last = ring.NodeID(d.Uvarint()), ballot(&d), ballot(&d)
	m.Value = value(&d)
	if m.Kind < Prepare || m.Kind > Chosen {
		d.Fail("message of unknown kind %d", m.Kind)
	}
	if (m.Kind == Accept || m.Kind == Chosen) && m.Value == nil {
		d.Fail("%s without a value", m.Kind)
	}
	return m, end(&d)
}

func open(data []byte, seed uint32, version byte) (wire.Decoder, error) {
	outer := wire.NewDecoder(data)
	payload := outer.Frame(seed)
	if outer.Err() == nil && outer.Len() > 0 {
		outer.Fail("%d bytes behind the frame", outer.Len())
	}
	d := wire.NewDecoder(payload)
	if outer.Err() != nil {
		return d, outer.Err()
	}
	if v := d.Byte(); d.Err() == nil && v != version {
		d.Fail("version %d: %d is known", v, version)
	}
	return d, d.Err()
}

func end(d *wire.Decoder) error {
	if d.Err() == nil && d.Len() > 0 {
		d.Fail("%d bytes behind the last field", d.Len())
	}
	return d.Err()
}

func appendBallot(dst []byte, b Ballot) []byte {
	return wire.AppendUvarint(wire.AppendUvarint(dst, b.Round), uint64(b.Node))
}

func ballot(d *wire.Decoder) Ballot {
	return Ballot{Round: d.Uvarint(), Node: ring.NodeID(d.Uvarint())}
}

// value reads a copy; nil when it is empty.
func value(d *wire.Decoder) []byte {
	b := d.Bytes()
	if len(b) > maxValue {
		d.Fail("value of %d bytes: at most %d are possible", len(b), maxValue)
	}
	if len(b) == 0 || d.Err() != nil {
		return nil
	}
	return append([]byte(nil), b...)
}
