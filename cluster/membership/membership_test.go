package membership

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/internal/golden"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

func ringOf(t *testing.T, ids ...ring.NodeID) *ring.Ring {
	t.Helper()
	rec := RingRecord{Number: 1, RF: 3}
	for _, id := range ids {
		rec.Members = append(rec.Members, RingMember{ID: id})
	}
	r, err := rec.Ring()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestViewMajority(t *testing.T) {
	now := time.Unix(1000, 0)
	v := NewView(Info{ID: 1}, 30*time.Second, now)
	if v.Majority() {
		t.Fatal("a majority without a ring")
	}
	v.SetRing(ringOf(t, 1, 2, 3), now)
	if v.Majority() || v.Seen() != 1 {
		t.Fatal("one of three is no majority")
	}
	v.SetUp(2, true, now)
	if !v.Majority() || v.Seen() != 2 {
		t.Fatal("two of three are a majority")
	}
	v.SetUp(7, true, now) // not in the ring: counts for nothing
	v.SetUp(2, false, now)
	if v.Majority() {
		t.Fatal("C4: a node outside the ring made a majority")
	}
}

func TestViewStatus(t *testing.T) {
	now := time.Unix(1000, 0)
	v := NewView(Info{ID: 1}, 30*time.Second, now)
	v.SetRing(ringOf(t, 1, 2), now)
	v.Learn(Info{ID: 3, Address: "c:1"}, now)
	status := func(id ring.NodeID, at time.Time) Status {
		n, ok := v.Get(id, at)
		if !ok {
			t.Fatalf("node %d unknown", id)
		}
		return n.Status
	}
	v.SetUp(2, true, now)
	if status(2, now.Add(time.Hour)) != Active {
		t.Error("a node that answers is active however long ago it was learned")
	}
	v.SetUp(2, false, now)
	if got := status(2, now.Add(29*time.Second)); got != Active {
		t.Errorf("before the timeout: %s", got)
	}
	if got := status(2, now.Add(30*time.Second)); got != Failed {
		t.Errorf("after the timeout: %s", got)
	}
	v.SetUp(2, true, now)
	v.Suspect(2, true)
	if status(2, now) != Active {
		t.Error("gossip's word counts more than an answer")
	}
	if status(3, now) != Joining {
		t.Error("a node outside the ring is joining")
	}
	v.Leave(3)
	v.Leave(2)
	if _, ok := v.Get(3, now); ok {
		t.Error("a joining node that left is still known")
	}
	if _, ok := v.Get(2, now); !ok {
		t.Error("a word of leaving moved ownership")
	}
	if !v.Learn(Info{ID: 2, Address: "b:2"}, now) || v.Learn(Info{ID: 2, Address: "b:2"}, now) {
		t.Error("moved is not what it says")
	}
}

func TestFound(t *testing.T) {
	list := []string{"a:1", "b:1", "c:1"}
	other := []string{"c:1", "a:1", "b:1"}
	full := []Founder{
		{Address: "a:1", ID: 1, Disk: "d1", List: list},
		{Address: "b:1", ID: 2, Disk: "d2", List: other},
		{Address: "c:1", ID: 3, Disk: "d3", List: list},
	}
	members, err := Found(1, list, full)
	if err != nil || len(members) != 3 || members[1].Disk != "d2" {
		t.Fatalf("%v, %v", members, err)
	}
	again, err := Found(3, other, full)
	if err != nil || ClusterID("count", members) != ClusterID("count", again) {
		t.Fatal("two founders come to different clusters", err)
	}
	if _, err := Found(1, list, full[:2]); !errors.Is(err, ErrWaiting) || !strings.Contains(err.Error(), "c:1") {
		t.Errorf("one missing: %v", err)
	}
	change := func(f func(a []Founder)) []Founder {
		out := append([]Founder{}, full...)
		f(out)
		return out
	}
	for name, answers := range map[string][]Founder{
		"shorter list": change(func(a []Founder) { a[1].List = []string{"a:1", "b:1"} }),
		"other list": change(func(a []Founder) {
			a[1].List, a[1].Resolved = []string{"a:1", "b:1", "d:1"}, []ring.NodeID{1, 2, 4}
		}),
		"one id twice":  change(func(a []Founder) { a[2].ID = 2 }),
		"somebody else": change(func(a []Founder) { a[0].ID = 9 }),
	} {
		if _, err := Found(1, list, answers); err == nil || errors.Is(err, ErrWaiting) {
			t.Errorf("%s: %v", name, err)
		}
	}
	renamed := change(func(a []Founder) { a[1].List = []string{"a.local:1", "b:1", "c:1"} })
	if _, err := Found(1, list, renamed); !errors.Is(err, ErrWaiting) {
		t.Errorf("other names, not resolved yet: %v", err)
	}
	renamed[1].Resolved = []ring.NodeID{3, 2, 1}
	if _, err := Found(1, list, renamed); err != nil {
		t.Errorf("other names of the same nodes: %v", err)
	}
}

func seen(disk string, starts, random uint64) Sighting {
	return Sighting{Disk: disk, Starts: starts, Random: random}
}

func TestRefillReason(t *testing.T) {
	mine := Disk{ID: "d1", Starts: 5, Past: []Start{{4, 44, 7}, {5, 55, 3}}}
	first, second := Renewed("d1", 44), Renewed(Renewed("d1", 44), 55)
	renewed := Disk{ID: second, Former: []string{"d1", first}, Starts: 5, Past: []Start{{5, 55, 3}}}
	for _, c := range []struct {
		name             string
		d                Disk
		recorded, merged string
		seen             []Sighting
		want             string
	}{
		{"as ever", mine, "d1", "", []Sighting{seen("d1", 4, 44)}, ""},
		{"seen in this start", mine, "d1", "", []Sighting{seen("d1", 5, 55)}, ""},
		{"seen by one that keeps no random numbers", mine, "d1", "", []Sighting{seen("d1", 5, 0)}, ""},
		{"seen before what the disk remembers", mine, "d1", "", []Sighting{seen("d1", 3, 34)}, ""},
		{"older copy that has started as often", mine, "d1", "", []Sighting{seen("d1", 5, 56)}, "its disk is an older copy"},
		{"older copy that has started more often", mine, "d1", "", []Sighting{seen("d1", 4, 45)}, "its disk is an older copy"},
		{"its last mark was heard of", mine, "d1", "", []Sighting{{Disk: "d1", Starts: 5, Random: 55, Mark: 3}}, ""},
		{"older copy made during the last start that was seen", mine, "d1", "", []Sighting{{Disk: "d1", Starts: 4, Random: 44, Mark: 8}}, "its disk is an older copy"},
		{"older copy made during the start before", mine, "d1", "", []Sighting{{Disk: "d1", Starts: 5, Random: 55, Before: Start{4, 44, 8}}}, "its disk is an older copy"},
		{"the start before as it was", mine, "d1", "", []Sighting{{Disk: "d1", Starts: 5, Random: 55, Before: Start{4, 44, 7}}}, ""},
		{"founding", mine, "", "", nil, ""},
		{"new disk", mine, "d0", "", nil, "its disk is a new one"},
		{"new disk, refilled", mine, "d0", "d1", nil, ""},
		{"older copy", mine, "d1", "", []Sighting{seen("d1", 6, 66)}, "its disk is an older copy"},
		{"other disk seen", mine, "d1", "", []Sighting{seen("d9", 6, 66)}, ""},
		{"copy from before it had another id", mine, "d1", "", []Sighting{seen(first, 3, 33)}, "its disk is an older copy"},
		{"copy from before it had the last id", Disk{ID: first, Former: []string{"d1"}, Starts: 5}, first, "", []Sighting{seen(second, 3, 33)}, "its disk is an older copy"},
		{"seen under an id that it had", renewed, second, "", []Sighting{seen("d1", 9, 99), seen(first, 9, 99)}, ""},
		{"renewed, and not recorded", renewed, "d1", "d1", nil, "its disk is a new one"},
		{"gap", Disk{ID: "d1", Starts: 5, Gap: true}, "d1", "d1", nil, "its log or a file had a gap"},
	} {
		if got := RefillReason(c.d, c.recorded, c.merged, c.seen); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestSighting(t *testing.T) {
	old := Sighting{Disk: "d1", Starts: 5, Random: 55, Mark: 9, Before: Start{4, 44, 1}}
	for now, want := range map[Sighting]Sighting{
		seen("d1", 6, 66): {Disk: "d1", Starts: 6, Random: 66, Before: Start{5, 55, 9}},
		seen("d1", 5, 55): old,
		seen("d1", 5, 56): old, // another start of the number: the disk is a copy
		seen("d1", 4, 44): old,
		seen("d2", 1, 11): seen("d2", 1, 11),
	} {
		if got := now.After(old); got != want {
			t.Errorf("%+v after %+v: %+v", now, old, got)
		}
	}
	if got := seen("d1", 5, 55).After(seen("d1", 5, 0)); got != seen("d1", 5, 55) {
		t.Errorf("after one whose number was not known: %+v", got)
	}
}

func TestState(t *testing.T) {
	fs, dir := vfs.OS(), t.TempDir()
	if s, err := LoadState(fs, dir); s != nil || err != nil {
		t.Fatalf("no file: %v, %v", s, err)
	}
	want := &State{
		Cluster: "count", Node: 2, Disk: "d2", Refilling: "because", Merged: "d1",
		Ring:      &RingRecord{Number: 1, ClusterID: "id", RF: 3, Members: []RingMember{{ID: 2, Zone: "z", Disk: "d2"}}},
		Addresses: map[ring.NodeID]string{3: "c:1"}, Seen: map[ring.NodeID]Sighting{3: {Disk: "d3", Starts: 9}},
	}
	if err := want.Save(fs, dir); err != nil {
		t.Fatal(err)
	}
	got, err := LoadState(fs, dir)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
}

// TestStateIsKeptTwice: whichever of the two files is damaged, lacks or is older,
// the state is there and both are whole again; without any the start is refused.
func TestStateIsKeptTwice(t *testing.T) {
	fs := vfs.NewMem()
	older, want := &State{Cluster: "count", Node: 1}, &State{Cluster: "count", Node: 2}
	good, err := encodeState(want)
	if err != nil {
		t.Fatal(err)
	}
	old, err := encodeState(older)
	if err != nil {
		t.Fatal(err)
	}
	flipped := func(at int) []byte {
		out := bytes.Clone(good)
		out[at%len(out)] ^= 4
		return out
	}
	type files struct{ file, copied []byte }
	cases := []files{{good, good}, {good, old}, {good, nil}, {nil, good}}
	for i := range good {
		cases = append(cases, files{flipped(i), good}, files{good, flipped(i)})
	}
	bad := []files{{flipped(3), nil}, {flipped(len(good) / 2), flipped(len(good) - 1)}, {nil, flipped(9)}}
	for i, c := range append(cases, bad...) {
		dir := fmt.Sprint(i)
		if err := fs.MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string][]byte{StateFile: c.file, stateCopy: c.copied} {
			if data == nil {
				continue
			}
			if err := vfs.WriteFile(fs, filepath.Join(dir, name), data); err != nil {
				t.Fatal(err)
			}
		}
		got, err := LoadState(fs, dir)
		if i >= len(cases) {
			if !errors.Is(err, wire.ErrCorrupt) {
				t.Errorf("case %d: %+v, %v", i, got, err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("case %d: %+v, %v", i, got, err)
		}
		if s, faults := CheckState(fs, dir); len(faults) > 0 || !reflect.DeepEqual(s, want) {
			t.Fatalf("case %d: afterwards %+v, %v", i, s, faults)
		}
	}
}

// TestStateGolden reads a state as version 1 wrote it, and holds its bytes.
func TestStateGolden(t *testing.T) {
	want := &State{
		Cluster: "count", Node: 2, Disk: "d2",
		Ring: &RingRecord{
			Number: 7, ClusterID: "id", RF: 2, Members: []RingMember{{ID: 1, Disk: "d1"}, {ID: 2, Zone: "z", Disk: "d2"}},
			Next: &NextRing{RF: 2, Members: []RingMember{{ID: 2, Zone: "z", Disk: "d2"}}},
		},
		Addresses: map[ring.NodeID]string{1: "a:1"}, Seen: map[ring.NodeID]Sighting{1: {Disk: "d1", Starts: 9}},
	}
	data, err := encodeState(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decodeState(golden.Check(t, "testdata/state.golden", data)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzDecodeState(f *testing.F) {
	good, err := encodeState(&State{Cluster: "count", Node: 1, Ring: &RingRecord{Number: 1, RF: 1, Members: []RingMember{{ID: 1}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(stateMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := decodeState(data); err != nil && !errors.Is(err, wire.ErrCorrupt) {
			t.Fatal(err)
		}
	})
}

func TestMessages(t *testing.T) {
	for _, text := range []string{
		`{"sender_id":2,"message_type":{"NodeJoin":{"node":{"id":2,"address":"b:1","status":"Joining","last_seen":5,"version":"1","data_size":7}}},"timestamp":9}`,
		`{"sender_id":2,"message_type":{"Heartbeat":{"node":{"id":2,"address":"b:1","status":"Active","last_seen":5,"version":"1","data_size":7}}},"timestamp":9}`,
		`{"sender_id":2,"message_type":{"NodeLeave":{"node_id":3}},"timestamp":9}`,
		`{"sender_id":2,"message_type":{"NodeFailed":{"node_id":3}},"timestamp":9}`,
		`{"sender_id":2,"message_type":{"ClusterState":{"nodes":[]}},"timestamp":9}`,
	} {
		m, err := ParseMessage([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if again, err := json.Marshal(m); err != nil || string(again) != text {
			t.Errorf("%s came back as %s, %v", text, again, err)
		}
	}
	for _, text := range []string{
		``, `{}`, `{"sender_id":1,"message_type":{},"timestamp":1}`,
		`{"sender_id":1,"message_type":{"NodeLeave":{"node_id":1},"NodeFailed":{"node_id":1}}}`,
		`{"sender_id":1,"message_type":{"NodeJoin":{"node":{"id":0}}}}`,
		`{"sender_id":1,"message_type":{"NodeJoin":{"node":{"id":1,"status":"Sleeping"}}}}`,
	} {
		if _, err := ParseMessage([]byte(text)); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
