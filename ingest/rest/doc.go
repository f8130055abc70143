// Package rest serves POST /insert: samples as JSON.
//
// A body is one object, an array of objects, or objects on lines of their own
// (NDJSON); which of them is seen from the body itself, whatever its
// Content-Type says. An object is
//
//	{"series": "cpu.usage", "timestamp": 1700000000000, "value": 0.5, "labels": {"host": "a"}}
//
// series is a plain key (the metric name) or a full one, name{a="b"};
// timestamp is in ms, a number that is an integer exactly (1e3 is, 1.5 and
// "1" are not); value is a number or one of "NaN", "+Inf" and "-Inf"; labels
// may be left out or null and join those of the key. A label given twice, in
// whatever way, and a field given twice are errors. Other fields are ignored,
// so that whole events may be sent as they are.
//
// A batch is taken whole or refused whole, and the error names the first
// object with a fault. Parsing is done here, not by encoding/json, which takes
// fields in any case and any number and can't tell a missing one; a fuzz test
// compares the two.
package rest
