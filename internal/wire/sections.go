package wire

import "fmt"

// DecodeSections reads a small file, called what in errors: the magic number, one
// byte for the version of its format, and one frame, whose checksum covers both
// too, of sections. A section is a tag and a body with its length in front;
// section is called for each in turn. The error wraps ErrCorrupt, names a format
// that this build does not know, or is that of section.
func DecodeSections(data []byte, what, magic string, format byte, section func(tag uint64, body *Decoder) error) error {
	d := NewDecoder(data)
	head := d.Take(len(magic) + 1)
	if d.Err() == nil && string(head[:len(magic)]) != magic {
		d.Fail("magic %q, want %q", head[:len(magic)], magic)
	}
	if d.Err() != nil {
		return d.Err()
	}
	if head[len(magic)] != format {
		// Where the checksum fails too it is a damaged byte, and no newer build's.
		if d.Frame(Checksum(head)); d.Err() != nil {
			return d.Err()
		}
		return fmt.Errorf("%s format %d is not supported (this build reads %d)", what, head[len(magic)], format)
	}
	p := NewDecoder(d.Frame(Checksum(head)))
	if d.Err() == nil && d.Len() > 0 {
		d.Fail("%d bytes behind the %s", d.Len(), what)
	}
	if d.Err() != nil {
		return d.Err()
	}
	for p.Len() > 0 && p.Err() == nil {
		tag := p.Uvarint()
		body := NewDecoder(p.Bytes())
		if p.Err() != nil {
			break
		}
		if err := section(tag, &body); err != nil {
			return err
		}
	}
	return p.Err()
}
