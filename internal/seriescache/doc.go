// Package seriescache remembers which series the raw label bytes of a write
// request stand for, so that labels are parsed, sorted, validated and hashed
// by SHA-256 once per series and not once per sample.
//
// The key is the labels region of a remote write 1.0 TimeSeries as it came on
// the wire; other protocols assemble the same bytes. The bytes are compared on
// every hit: a hash alone never decides.
//
// Senders repeat themselves: the series of a scrape come in the same order
// every time. So each entry remembers which entry was asked for after it, and
// the next lookup first compares the request with that one's bytes. A right
// guess costs one comparison of memory that lies behind the one just read:
// neither the labels are walked to find their end, nor anything hashed, nor a
// table probed.
//
// A whole request reads under one shared lock (a Session), not one lock per
// sample; insertions are gathered and made together. Keys lie in segments
// without pointers, which the garbage collector does not look into. The size
// is bounded: when all segments are in use, the oldest gives up the entries
// that were not used since it was last looked at (a clock by segments).
package seriescache
