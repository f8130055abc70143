// Package merge puts the copies of one series together by the one merge rule
// (invariant V1): for one timestamp the higher version wins, and at equal
// versions the larger of (kind, value bytes, start timestamp). Tombstones hide
// what has a lower version (V3). It is pure.
package merge
