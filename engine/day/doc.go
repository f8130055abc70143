// Package day joins the sealed windows of a day into one file that stands
// alone: a data file of package file whose series carry their labels in an
// index of its own (FORMAT.md), so that the registry may forget series that no
// open window names. The index is read where it is mapped: symbols, series
// sorted by labels, postings of each label value.
package day
