package bench

import (
	"math"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

func testSet(targets int, span time.Duration) DataSet {
	return DataSet{Name: "test", Targets: targets, Span: span, Jitter: 20 * time.Millisecond, End: time.Unix(1_700_000_100, 0), Seed: 1}
}

// TestDataLooksAsDescribed: repeats, entropy, labels and bytes on the wire.
func TestDataLooksAsDescribed(t *testing.T) {
	set := testSet(4, time.Hour)
	shape := set.Describe()
	if shape.LabelsMin < 10 || shape.LabelsMax > 12 {
		t.Errorf("%d to %d labels a series", shape.LabelsMin, shape.LabelsMax)
	}
	if math.Abs(shape.Repeats-0.38) > 0.03 {
		t.Errorf("%.3f of the samples repeat the value before", shape.Repeats)
	}
	if math.Abs(shape.EntropyBytes-0.51) > 0.08 {
		t.Errorf("%.3f bytes of entropy a value", shape.EntropyBytes)
	}
	load := Encode(set, V1, 4)
	if perSample := float64(load.Bytes) / float64(set.Samples()); math.Abs(perSample-26.8) > 3 {
		t.Errorf("%.1f bytes a sample on the wire", perSample)
	}
}

// TestBothProtocolsSayTheSame: the generated code reads what was encoded.
func TestBothProtocolsSayTheSame(t *testing.T) {
	set := testSet(3, time.Minute)
	v1, v2 := Encode(set, V1, 2), Encode(set, V2, 2)
	samples := 0
	lastT := map[string]int64{}
	for s := range v1.senders {
		for i, r := range v1.senders[s] {
			var one prompb.WriteRequest
			var two writev2.Request
			unpack(t, r.body, &one)
			unpack(t, v2.senders[s][i].body, &two)
			if len(one.Timeseries) != r.samples || len(two.Timeseries) != r.samples || r.samples > maxRequestSamples {
				t.Fatalf("%d and %d series for %d samples", len(one.Timeseries), len(two.Timeseries), r.samples)
			}
			samples += r.samples
			for j, ts := range one.Timeseries {
				other := two.Timeseries[j]
				if ts.Samples[0].Timestamp != other.Samples[0].Timestamp || ts.Samples[0].Value != other.Samples[0].Value {
					t.Fatalf("samples %v and %v", ts.Samples, other.Samples)
				}
				key := ""
				for k, l := range ts.Labels {
					if two.Symbols[other.LabelsRefs[2*k]] != l.Name || two.Symbols[other.LabelsRefs[2*k+1]] != l.Value {
						t.Fatalf("label %v differs", l)
					}
					if k > 0 && ts.Labels[k-1].Name >= l.Name {
						t.Fatalf("labels are not sorted: %v", ts.Labels)
					}
					key += l.Name + "=" + l.Value + ","
				}
				if at := ts.Samples[0].Timestamp; at <= lastT[key] || at > set.End.UnixMilli()+20 {
					t.Fatalf("%s: timestamp %d behind %d", key, at, lastT[key])
				}
				lastT[key] = ts.Samples[0].Timestamp
			}
		}
	}
	if samples != set.Samples() || len(lastT) != set.Series() {
		t.Fatalf("%d samples of %d series, want %d of %d", samples, len(lastT), set.Samples(), set.Series())
	}
}

func unpack(t *testing.T, body []byte, m interface{ Unmarshal([]byte) error }) {
	t.Helper()
	plain, err := snappy.Decode(nil, body)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Unmarshal(plain); err != nil {
		t.Fatal(err)
	}
}

func TestNamedSets(t *testing.T) {
	for name, want := range map[string]int{"A": 14_400_000, "B": 12_000_000} {
		d, err := NamedSet(name, 1, time.Now())
		if err != nil || d.Samples() != want {
			t.Errorf("%s: %d samples, %v", name, d.Samples(), err)
		}
	}
	if d, err := NamedSet("A", 0.001, time.Now()); err != nil || d.Targets != 1 {
		t.Errorf("%+v, %v", d, err)
	}
	for _, c := range []struct {
		name  string
		scale float64
	}{{"C", 1}, {"A", 0}, {"A", -1}} {
		if _, err := NamedSet(c.name, c.scale, time.Now()); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}
