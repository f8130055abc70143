// Package backup keeps copies of the nodes of a cluster in a bucket (a directory
// or S3) and puts them back.
//
// A backup is a snapshot of every node, taken at about the same time. Data files
// never change and their names are never used again on a disk, so a backup
// uploads only those that no earlier one has; the small files of a node (names
// of series, deletes, metadata) are uploaded each time. The manifest comes last:
// without it there is no backup. Layout and manifest are in FORMAT.md.
//
// A restore reads the snapshots of all nodes, merges them by the rule of the
// cluster (V1, V3), and writes the result through a running cluster of any size,
// as new writes: only where nothing is, or over everything.
package backup
