package agree

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/internal/golden"
	"github.com/count-db/count/internal/wire"
)

func drawBallot(t *rapid.T) Ballot {
	return Ballot{Round: rapid.Uint64().Draw(t, "round"), Node: ring.NodeID(rapid.Uint64().Draw(t, "node"))}
}

func TestCodecRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Message{
			Kind: Kind(rapid.IntRange(int(Prepare), int(Chosen)).Draw(t, "kind")), Slot: rapid.Uint64().Draw(t, "slot"),
			From: Voter{Node: 7, Disk: rapid.String().Draw(t, "disk")}, To: 9, Ballot: drawBallot(t), Last: drawBallot(t),
			Value: rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(t, "value"),
		}
		back, err := DecodeMessage(EncodeMessage(&m))
		if err != nil || !reflect.DeepEqual(m, back) {
			t.Fatalf("%+v came back as %+v, %v", m, back, err)
		}
		s := State{Slot: m.Slot, Promised: m.Ballot, Accepted: Ballot{Round: 1}, Value: m.Value}
		if s.Promised.Less(s.Accepted) {
			s.Promised = s.Accepted
		}
		state, err := DecodeState(EncodeState(&s))
		if err != nil || !reflect.DeepEqual(s, state) {
			t.Fatalf("%+v came back as %+v, %v", s, state, err)
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	whole := EncodeState(&State{Slot: 3, Promised: Ballot{2, 1}, Accepted: Ballot{1, 1}, Value: []byte("x")})
	for i := range whole {
		cut := bytes.Clone(whole)
		cut[i] ^= 4
		if _, err := DecodeState(cut); !errors.Is(err, wire.ErrCorrupt) {
			t.Errorf("byte %d flipped: %v", i, err)
		}
		if _, err := DecodeState(whole[:i]); !errors.Is(err, wire.ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
	for name, s := range map[string]State{
		"accepted above promised":     {Slot: 3, Promised: Ballot{1, 1}, Accepted: Ballot{2, 1}, Value: []byte("x")},
		"accepted without a value":    {Slot: 3, Promised: Ballot{2, 1}, Accepted: Ballot{1, 1}},
		"a value that was not agreed": {Slot: 3, Value: []byte("x")},
	} {
		if _, err := DecodeState(EncodeState(&s)); !errors.Is(err, wire.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := DecodeMessage(EncodeMessage(&Message{Kind: Accept})); !errors.Is(err, wire.ErrCorrupt) {
		t.Errorf("accept without a value: %v", err)
	}
	if _, err := DecodeMessage(EncodeMessage(&Message{Kind: 9})); !errors.Is(err, wire.ErrCorrupt) {
		t.Errorf("unknown kind: %v", err)
	}
}

// TestGolden holds the bytes of both forms: a difference is a new version.
func TestGolden(t *testing.T) {
	var out bytes.Buffer
	fmt.Fprintf(&out, "state-empty %x\n", EncodeState(&State{Slot: 2}))
	fmt.Fprintf(&out, "state %x\n", EncodeState(&State{Slot: 300, Promised: Ballot{5, 2}, Accepted: Ballot{4, 3}, Value: []byte("ring")}))
	for k := Prepare; k <= Chosen; k++ {
		m := Message{Kind: k, Slot: 300, From: Voter{3, "d3"}, To: 2, Ballot: Ballot{5, 2}, Last: Ballot{4, 3}, Value: []byte("ring")}
		fmt.Fprintf(&out, "%s %x\n", k, EncodeMessage(&m))
	}
	golden.Check(t, "testdata/agree.golden", out.Bytes())
}

func FuzzDecodeState(f *testing.F) {
	f.Add(EncodeState(&State{Slot: 2}))
	f.Add(EncodeState(&State{Slot: 2, Promised: Ballot{5, 2}, Accepted: Ballot{4, 3}, Value: []byte("ring")}))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := DecodeState(data)
		if err != nil {
			return
		}
		if again, err := DecodeState(EncodeState(&s)); err != nil || !reflect.DeepEqual(s, again) {
			t.Fatalf("%+v, then %+v, %v", s, again, err)
		}
	})
}

func FuzzDecodeMessage(f *testing.F) {
	f.Add(EncodeMessage(&Message{Kind: Accept, Slot: 2, Value: []byte("ring")}))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := DecodeMessage(data)
		if err != nil {
			return
		}
		if again, err := DecodeMessage(EncodeMessage(&m)); err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("%+v, then %+v, %v", m, again, err)
		}
	})
}
