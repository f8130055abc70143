// Package spread decides which node computes which part of a query when no node
// holds all series. It is pure.
//
// The series of a ring fall into candidate lists (package ring). Assign gives
// every list to one of its owners, so that every series is computed once; a list
// whose owner fails or cannot prove its copy complete (C7) is given to another.
package spread
