package wire

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func sectioned(bodies ...string) []byte {
	var p []byte
	for i, b := range bodies {
		p = AppendString(AppendUvarint(p, uint64(i+1)), b)
	}
	out := append([]byte("TEST"), 3)
	return AppendFrame(out, p, Checksum(out))
}

func TestDecodeSections(t *testing.T) {
	var got []string
	read := func(data []byte) error {
		got = nil
		return DecodeSections(data, "list", "TEST", 3, func(tag uint64, body *Decoder) error {
			if int(tag) != len(got)+1 {
				t.Errorf("section %d has tag %d", len(got)+1, tag)
			}
			got = append(got, string(body.Rest()))
			return body.Err()
		})
	}
	data := sectioned("one", "", "three")
	if err := read(data); err != nil || !slices.Equal(got, []string{"one", "", "three"}) {
		t.Fatalf("read %q, %v", got, err)
	}
	for n := range data {
		if err := read(data[:n]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	if err := read(append(slices.Clone(data), 0)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a byte too many: %v", err)
	}
	damaged := slices.Clone(data)
	damaged[4] = 4
	if err := read(damaged); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a damaged format byte: %v", err)
	}
	newer := append([]byte("TEST"), 4)
	newer = AppendFrame(newer, []byte("more"), Checksum(newer))
	if err := read(newer); err == nil || errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "list format 4") {
		t.Errorf("a newer format: %v", err)
	}
}

func FuzzDecodeSections(f *testing.F) {
	f.Add(sectioned("one", "two"))
	f.Fuzz(func(t *testing.T, data []byte) {
		total := 0
		err := DecodeSections(data, "list", "TEST", 3, func(_ uint64, body *Decoder) error {
			total += body.Len()
			return nil
		})
		if err == nil && total > len(data) {
			t.Fatalf("%d bytes of sections out of %d", total, len(data))
		}
	})
}
