package backup

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// Manifest says what a backup consists of.
type Manifest struct {
	ID      string    // its time to the second, and a random part
	Created time.Time // to the millisecond
	Cluster string    // its name
	Ring    uint64    // number of the ring in force
	Copies  uint64    // replication factor
	Quorum  uint64    // copies that were acknowledged
	Nodes   []Node
	// Missing are the members of the ring that are not in the backup.
	Missing []uint64
	// Incomplete are nodes that were in the middle of merging back what they had
	// lost: what is in the backup of them proves nothing.
	Incomplete []uint64
}

// Lacking returns how many members' copies the backup lacks in part at least.
func (m *Manifest) Lacking() int { return len(m.Missing) + len(m.Incomplete) }

// Node is the snapshot of one node.
type Node struct {
	ID      uint64
	Address string
	Disk    [16]byte
	Taken   int64 // ms
	// Version is above every version in the snapshot; where Versioned is false, the
	// samples have none of their own and count as written at it.
	Version   model.Version
	Versioned bool
	Files     []File
}

// File is a file of a snapshot.
type File struct {
	Name   string // in the data directory, with slashes
	Object string // in the bucket
	Bytes  int64
	Sum    [sha256.Size]byte
}

// Bytes returns the length of all files.
func (m *Manifest) Bytes() int64 {
	var n int64
	for i := range m.Nodes {
		for _, f := range m.Nodes[i].Files {
			n += f.Bytes
		}
	}
	return n
}

// Node returns the snapshot of a node, or nil.
func (m *Manifest) Node(id uint64) *Node {
	for i := range m.Nodes {
		if m.Nodes[i].ID == id {
			return &m.Nodes[i]
		}
	}
	return nil
}

// The places in a bucket.
const (
	backupsDir   = "backups"
	dataDir      = "data"
	locksDir     = "locks"
	manifestName = "manifest"
)

var idForm = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}$`)

func manifestObject(id string) string { return path.Join(backupsDir, id, manifestName) }

// objectOf names the object of a file: for a data file the same in all backups.
func objectOf(id string, n *Node, name, fingerprint string) string {
	if base, ok := strings.CutPrefix(name, "files/"); ok {
		return path.Join(dataDir, hex.EncodeToString(n.Disk[:]), base+"-"+fingerprint)
	}
	return path.Join(backupsDir, id, fmt.Sprintf("node-%d", n.ID), name)
}

const (
	magic  = "CTbk"
	format = 1
)

// The sections of the payload: a reader skips an odd tag that it does not know
// and refuses an even one.
const (
	tagBackup  = 2
	tagNode    = 4
	tagMissing = 6
	// tagIncomplete is there when there are some.
	tagIncomplete = 7
)

// encodeManifest returns the content of the manifest's object.
func encodeManifest(m *Manifest) []byte {
	var p []byte
	add := func(tag uint64, body []byte) { p = wire.AppendBytes(wire.AppendUvarint(p, tag), body) }
	b := wire.AppendString(nil, m.ID)
	b = wire.AppendVarint(b, m.Created.UnixMilli())
	b = wire.AppendString(b, m.Cluster)
	b = wire.AppendUvarint(wire.AppendUvarint(wire.AppendUvarint(b, m.Ring), m.Copies), m.Quorum)
	add(tagBackup, b)
	for i := range m.Nodes {
		add(tagNode, appendNode(nil, &m.Nodes[i]))
	}
	add(tagMissing, appendIDs(nil, m.Missing))
	if len(m.Incomplete) > 0 {
		add(tagIncomplete, appendIDs(nil, m.Incomplete))
	}
	out := append([]byte(magic), format)
	return wire.AppendFrame(out, p, wire.Checksum(out))
}

func appendIDs(b []byte, ids []uint64) []byte {
	b = wire.AppendUvarint(b, uint64(len(ids)))
	for _, id := range ids {
		b = wire.AppendUvarint(b, id)
	}
	return b
}

func decodeIDs(d *wire.Decoder) (ids []uint64) {
	for range d.Count(1) {
		ids = append(ids, d.Uvarint())
	}
	return ids
}

func appendNode(b []byte, n *Node) []byte {
	b = wire.AppendString(wire.AppendUvarint(b, n.ID), n.Address)
	b = append(b, n.Disk[:]...)
	b = wire.AppendUint64(wire.AppendVarint(b, n.Taken), uint64(n.Version))
	versioned := byte(0)
	if n.Versioned {
		versioned = 1
	}
	b = wire.AppendUvarint(append(b, versioned), uint64(len(n.Files)))
	for i := range n.Files {
		f := &n.Files[i]
		b = wire.AppendString(wire.AppendString(b, f.Name), f.Object)
		b = append(wire.AppendUvarint(b, uint64(f.Bytes)), f.Sum[:]...)
	}
	return b
}

// decodeManifest reads the content of the manifest's object. The error wraps
// wire.ErrCorrupt, or names a format that this build does not know.
func decodeManifest(data []byte) (*Manifest, error) {
	m := &Manifest{}
	if err := wire.DecodeSections(data, "manifest", magic, format, m.decodeSection); err != nil {
		return nil, err
	}
	if err := m.validate(); err != nil {
		return nil, wire.Corruptf("%v", err)
	}
	return m, nil
}

func (m *Manifest) decodeSection(tag uint64, d *wire.Decoder) error {
	switch tag {
	case tagBackup:
		m.ID, m.Created, m.Cluster = d.String(), time.UnixMilli(d.Varint()), d.String()
		m.Ring, m.Copies, m.Quorum = d.Uvarint(), d.Uvarint(), d.Uvarint()
	case tagNode:
		m.Nodes = append(m.Nodes, decodeNode(d))
	case tagMissing:
		m.Missing = decodeIDs(d)
	case tagIncomplete:
		m.Incomplete = decodeIDs(d)
	default:
		if tag%2 == 0 {
			return fmt.Errorf("manifest section %d is not supported: written by a newer build", tag)
		}
		d.Rest()
	}
	if d.Err() == nil && d.Len() > 0 {
		d.Fail("%d bytes behind section %d", d.Len(), tag)
	}
	return d.Err()
}

func decodeNode(d *wire.Decoder) Node {
	n := Node{ID: d.Uvarint(), Address: d.String()}
	copy(n.Disk[:], d.Take(len(n.Disk)))
	n.Taken, n.Version = d.Varint(), model.Version(d.Uint64())
	versioned := d.Byte()
	if versioned > 1 {
		d.Fail("versioned is %d", versioned)
	}
	n.Versioned = versioned == 1
	for range d.Count(3 + sha256.Size) {
		f := File{Name: d.String(), Object: d.String(), Bytes: int64(d.Uvarint())}
		copy(f.Sum[:], d.Take(len(f.Sum)))
		n.Files = append(n.Files, f)
	}
	return n
}

// validate says what no manifest may be. Names lead nowhere but into the
// directory that a snapshot is put into.
func (m *Manifest) validate() error {
	if !idForm.MatchString(m.ID) {
		return fmt.Errorf("backup id %q", m.ID)
	}
	seen := map[uint64]bool{}
	for i := range m.Nodes {
		n := &m.Nodes[i]
		if n.ID == 0 || seen[n.ID] {
			return fmt.Errorf("node %d is there twice, or is none", n.ID)
		}
		seen[n.ID] = true
		for _, f := range n.Files {
			if err := checkName(f.Name); err != nil {
				return err
			}
			if f.Bytes < 0 || f.Object == "" || f.Object != path.Clean(f.Object) || path.IsAbs(f.Object) || strings.HasPrefix(f.Object, "..") {
				return fmt.Errorf("file %q has %d bytes in object %q", f.Name, f.Bytes, f.Object)
			}
		}
	}
	return nil
}

var nameForm = regexp.MustCompile(`^(files/)?[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// errName refuses a name that no snapshot has.
var errName = errors.New("not the name of a file of a snapshot")

func checkName(name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("%w: %q", errName, name)
	}
	return nil
}
