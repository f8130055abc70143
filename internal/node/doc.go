// Package node puts a node together: it opens the storage, connects the write
// path, the queries, Prometheus's protocols and the cluster to it and to the
// HTTP port, and takes all of it down in order. It is the only package that
// knows all parts; they know none of each other.
//
// node.go has the life of a node, wire.go who gets what.
package node
