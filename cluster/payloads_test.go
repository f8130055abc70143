package cluster

import (
	"testing"

	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// FuzzPayloads feeds what another node may send, whole or damaged, to all who
// read it: what is wrong comes back as an error, never as a panic, and nothing
// is allocated that the bytes do not pay for.
func FuzzPayloads(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{2, 1, 'a', 1, 'b'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f, 1})
	f.Add([]byte(`{"number":1,"members":[{"id":1}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		// All that matters of the errors is that they are returned.
		_, _ = decodeStrings(data)
		_, _ = decodeExemplars(data)
		_, _ = decodeMetadata(data)
		_, _ = decodeRing(data)
		_, _ = decodeRecord(data)
		_ = decodeOwn(&model.Batch{}, data)
		for _, read := range []func(*wire.Decoder){
			func(d *wire.Decoder) { decodeSelect(d) },
			func(d *wire.Decoder) { decodeSeriesAsk(d) },
			func(d *wire.Decoder) { decodeDigest(d) },
			func(d *wire.Decoder) { transport.DecodeMatchers(d) },
			func(d *wire.Decoder) { transport.DecodeTombstones(d) },
		} {
			d := wire.NewDecoder(data)
			read(&d)
		}
	})
}
