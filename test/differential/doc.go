// Package differential holds one node against a map: a random mixture of all
// kinds of writes, deletes, flushes, restarts and kills goes to a real process
// with a tiny buffer, so that flushing, merging, sealing and the building of
// days happen all the time, and after each step every way of reading (remote
// read in both forms, REST ranges and aggregates, PromQL, federation) is
// compared with what the map says.
//
// One client does one thing at a time, but a flush may run beside it, and a kill
// may come in the middle of a request: what that one wanted to change may then
// be as before or as asked for, and stays as it was first seen.
//
// The seed is logged; COUNT_DIFFERENTIAL_SEED repeats one, and
// COUNT_DIFFERENTIAL_TIME (such as 10m) runs longer than the few seconds of an
// ordinary test.
package differential
