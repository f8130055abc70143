package backup

import (
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/count-db/count/internal/golden"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// checkGolden compares bytes with a file of testdata in hexadecimal.
func checkGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	golden.Check(t, "testdata/"+name, []byte(hex.EncodeToString(got)+"\n"))
}

func someManifest() *Manifest {
	return &Manifest{
		ID: "20260102T150405Z-0123abcd", Created: time.UnixMilli(1767366245123), Cluster: "count", Ring: 7, Copies: 3, Quorum: 2,
		Nodes: []Node{
			{ID: 1, Address: "http://a:1", Disk: [16]byte{1, 2}, Taken: 1767366245000, Version: 1 << 60, Versioned: true, Files: []File{
				{Name: "files/0000000001.wide", Object: "data/01020000000000000000000000000000/0000000001.wide-00112233", Bytes: 12345, Sum: [32]byte{3, 4}},
				{Name: "MANIFEST", Object: "backups/20260102T150405Z-0123abcd/node-1/MANIFEST", Bytes: 1, Sum: [32]byte{5}},
			}},
			{ID: 2, Address: "http://b:1", Disk: [16]byte{9}},
		},
		Missing: []uint64{3, 300},
	}
}

func TestManifestGolden(t *testing.T) {
	m := someManifest()
	data := encodeManifest(m)
	checkGolden(t, "manifest.golden", data)
	back, err := decodeManifest(data)
	if err != nil || !reflect.DeepEqual(back, m) {
		t.Errorf("%+v %v", back, err)
	}
	for i := range data {
		damaged := append([]byte(nil), data...)
		damaged[i] ^= 0x10
		if _, err := decodeManifest(damaged); err == nil {
			t.Errorf("a bit flip at byte %d is not noticed", i)
		}
		if _, err := decodeManifest(data[:i]); err == nil {
			t.Errorf("a manifest cut at byte %d is taken", i)
		}
	}
}

// TestManifestLeadsNowhere: names of a manifest from elsewhere do not reach out
// of the directory of a snapshot, or of the bucket.
func TestManifestLeadsNowhere(t *testing.T) {
	for _, f := range []File{
		{Name: "../x", Object: "a"},
		{Name: "files/../../x", Object: "a"},
		{Name: "/x", Object: "a"},
		{Name: "", Object: "a"},
		{Name: ".x", Object: "a"},
		{Name: "x", Object: "../a"},
		{Name: "x", Object: "/a"},
		{Name: "x", Object: "a/../../b"},
		{Name: "x", Object: ""},
	} {
		m := someManifest()
		m.Nodes[0].Files[0] = f
		if _, err := decodeManifest(encodeManifest(m)); err == nil {
			t.Errorf("%+v is taken", f)
		}
	}
	m := someManifest()
	m.Nodes[1].ID = 1
	if _, err := decodeManifest(encodeManifest(m)); err == nil {
		t.Error("a node may be there twice")
	}
}

// TestNewerManifest: an odd section that is not known is skipped, an even one
// refused.
func TestNewerManifest(t *testing.T) {
	for tag, ok := range map[uint64]bool{101: true, 102: false} {
		data := encodeManifest(someManifest())
		payload := append([]byte(nil), data[5+wire.FrameOverhead:]...)
		payload = wire.AppendBytes(wire.AppendUvarint(payload, tag), []byte("new"))
		head := data[:5:5]
		_, err := decodeManifest(wire.AppendFrame(head, payload, wire.Checksum(head)))
		if (err == nil) != ok {
			t.Errorf("section %d: %v", tag, err)
		}
	}
}

func FuzzDecodeManifest(f *testing.F) {
	f.Add(encodeManifest(someManifest()))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeManifest(data)
		if err != nil {
			return
		}
		if back, err := decodeManifest(encodeManifest(m)); err != nil || !reflect.DeepEqual(back, m) {
			t.Fatalf("%+v %v", back, err)
		}
	})
}

// kept is a Receiver that keeps everything.
type kept struct {
	keys      []string
	columns   []model.Columns
	metadata  []model.Metadata
	exemplars []model.Exemplar
}

func (k *kept) Series(ls labels.Labels, cols *model.Columns) error {
	k.keys, k.columns = append(k.keys, model.SeriesKey(ls)), append(k.columns, *cols)
	return nil
}

func (k *kept) Metadata(all []model.Metadata) error {
	k.metadata = append(k.metadata, all...)
	return nil
}

func (k *kept) Exemplars(ls labels.Labels, all []model.Exemplar) error {
	k.keys, k.exemplars = append(k.keys, model.SeriesKey(ls)), append(k.exemplars, all...)
	return nil
}

func someBody() *Encoder {
	e := NewEncoder()
	ls := labels.FromStrings(labels.MetricName, "a", "b", "c")
	e.Series(ls, &model.Columns{
		T: []int64{1, 2}, V: []float64{1.5, math.Inf(1)}, Ver: []model.Version{7, 8}, ST: []int64{0, 1},
		Hist: []model.HistogramPoint{{T: 3, ST: 2, H: tsdbutil.GenerateTestHistogram(1), Ver: 9}},
	})
	e.Metadata([]model.Metadata{{Family: "a", Metadata: metadata.Metadata{Type: "counter", Unit: "s", Help: "h"}}})
	e.Exemplars(ls, []model.Exemplar{{T: 1, V: 2, Labels: labels.FromStrings("t", "x")}})
	return e
}

func TestBody(t *testing.T) {
	e := someBody()
	checkGolden(t, "body.golden", e.Body())
	var k kept
	if err := DecodeBody(e.Body(), &k); err != nil {
		t.Fatal(err)
	}
	if c := k.columns[0]; len(k.columns) != 1 || c.Len() != 3 || c.Ver[1] != 8 || c.ST[1] != 1 || c.Hist[0].Ver != 9 || c.Hist[0].ST != 2 || !c.Hist[0].H.Equals(tsdbutil.GenerateTestHistogram(1)) {
		t.Errorf("%+v", k.columns)
	}
	if len(k.metadata) != 1 || k.metadata[0].Help != "h" || len(k.exemplars) != 1 || k.exemplars[0].V != 2 || k.exemplars[0].Labels.Get("t") != "x" {
		t.Errorf("%+v %+v", k.metadata, k.exemplars)
	}
	if e.Samples != 3 || e.Empty() {
		t.Errorf("%d samples, empty: %v", e.Samples, e.Empty())
	}
	if e.Reset(); !e.Empty() {
		t.Error("not empty after a reset")
	}
	body := someBody().Body()
	for i := range body {
		damaged := append([]byte(nil), body...)
		damaged[i] ^= 4
		if err := DecodeBody(damaged, &kept{}); !errors.Is(err, wire.ErrCorrupt) {
			t.Errorf("a bit flip at byte %d: %v", i, err)
		}
	}
}

func FuzzDecodeBody(f *testing.F) {
	f.Add(someBody().Body())
	f.Fuzz(func(t *testing.T, body []byte) {
		var k kept
		if err := DecodeBody(body, &k); err != nil && !errors.Is(err, wire.ErrCorrupt) {
			t.Fatal(err)
		}
		for i := range k.columns {
			if c := &k.columns[i]; len(c.V) != len(c.T) || len(c.Ver) != len(c.T) || (len(c.ST) > 0 && len(c.ST) != len(c.T)) {
				t.Fatalf("%+v", c)
			}
		}
	})
}

func TestIDs(t *testing.T) {
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	id, err := newID(now)
	if err != nil || !idForm.MatchString(id) || !timeOf(id).Equal(now) || !strings.HasPrefix(id, "20260102T150405Z-") {
		t.Errorf("%s %v", id, err)
	}
}
