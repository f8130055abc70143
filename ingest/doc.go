// Package ingest is the path that every write goes through, whatever protocol
// it came by.
//
// An entrance (ingest/rest, remote/write, remote/appendable) decodes a request
// into one model.Batch: series are references already, their labels checked
// when they were first seen. Pipeline.Write then takes the samples out whose
// timestamps may not be stored, keeps of several samples of one series and
// timestamp the last, and hands the batch to the Appender, which makes it
// durable: the engine on a single node, the coordinator in a cluster. What was
// refused is in an admission.Report and counted by reason.
//
// Memory is bounded at the door: an entrance reserves the bytes of a request
// before it reads them. There is no queue: a request that finds no room is
// refused at once with an error that tells the sender to come back.
package ingest
