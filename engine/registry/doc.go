// Package registry knows the series of one node: their labels once, a 32-bit
// local reference and the 16-byte cluster-wide id of each, the postings that
// matchers are answered from, and which two-hour windows each series has
// samples in.
//
// # Life of a reference
//
//	        Intern / Define            MarkLogged              RemoveCold
//	(none) ----------------> unlogged ------------> live          +--------> gone
//	                                                 | ^          |
//	                                        MarkCold | | Prepare, | (still cold
//	                                                 v | Intern   |  a cycle later)
//	                                                cold ---------+
//
// A reference that was given out is never given to another series, also not
// after a restart: files and log records name series by it. Caches outside
// (wire bytes to reference) may go on naming a gone one; Prepare refuses it
// and Generation tells that something has gone, so that they look up again.
//
// # Durability
//
// The definition of a new series (reference and labels) travels in the first
// log record that names it: see Prepare and MarkLogged. Persist then writes
// all new definitions to the registry file, and must have succeeded before the
// log is cut. FORMAT.md describes the file.
//
// # Concurrency
//
// All methods are safe for concurrent use. Labels, ID and Token are lock-free;
// Lookup and Intern of a known series take one shard's read lock; creating
// series and answering matchers share one read-write lock, held for memory
// work only.
package registry
