package engine

import (
	"bytes"
	"path/filepath"
	"testing"

	prommodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"

	"github.com/count-db/count/internal/golden"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// TestGolden holds the small files to what FORMAT.md says: a change of the
// bytes is a change of the format.
func TestGolden(t *testing.T) {
	exemplars := newExemplarRing(4)
	exemplars.add([]model.Exemplar{
		{Ref: 1, T: testStart, V: 0.5, Labels: labels.FromStrings("trace_id", "abc")},
		{Ref: 300, T: -1, V: -2, Labels: labels.EmptyLabels()},
	})
	families := newMetadataStore(4)
	families.add([]model.Metadata{{Family: "up", Metadata: metadata.Metadata{Type: prommodel.MetricTypeGauge, Unit: "", Help: "1 = up"}}})
	for _, c := range []struct {
		file    smallFile
		payload []byte
	}{
		{identityFile, encodeIdentity(Identity{DiskID: [16]byte{1, 2, 3, 15: 16}, Starts: 300})},
		{tombstonesFile, encodeTombstones([]tombstone{{
			Tombstone: model.Tombstone{
				Version: model.VersionAt(testStart * 1000), MinT: -5, MaxT: testStart,
				Matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "job", "api"), labels.MustNewMatcher(labels.MatchNotRegexp, "x", "a.*")},
			},
			seq: 7,
		}})},
		{shedFile, encodeSheds([]shed{{
			tokens: model.NewTokenSet([]model.TokenRange{{From: 5, To: 1000}, {From: 1 << 63, To: 2}}), mark: 300, seq: 301,
		}})},
		{exemplarsFile, exemplars.encodeLocked()},
		{metadataFile, families.encodeLocked()},
	} {
		fsys := testFS(t, "d")
		if err := c.file.write(fsys, "d", c.payload); err != nil {
			t.Fatal(err)
		}
		got, err := vfs.ReadFile(fsys, filepath.Join("d", c.file.name))
		if err != nil {
			t.Fatal(err)
		}
		want := golden.Check(t, filepath.Join("testdata", c.file.name+".golden"), got)
		if payload, err := c.file.decode(want); err != nil || !bytes.Equal(payload, c.payload) {
			t.Errorf("%s: read %x, %v", c.file.name, payload, err)
		}
	}
}
