// Package model holds the vocabulary that all parts of Count share: series
// references and ids, samples, write batches, versions, tombstones and the
// columns in which samples are read. It imports nothing of Count.
package model
