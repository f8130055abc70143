package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/count-db/count/engine"
)

// storageMetric is one number of the storage as a metric.
type storageMetric struct {
	name string // behind count_engine_; a counter's gets _total
	help string
	read func(*engine.Stats) float64
}

// storageGauges returns what the storage holds now.
func storageGauges() []storageMetric {
	return []storageMetric{
		{"series", "Series in memory.", func(s *engine.Stats) float64 { return float64(s.Series) }},
		{"buffer_samples", "Samples in the memory buffer.", func(s *engine.Stats) float64 { return float64(s.BufferSamples) }},
		{"buffer_bytes", "Bytes of the memory buffer.", func(s *engine.Stats) float64 { return float64(s.BufferBytes) }},
		{"log_bytes", "Bytes of the log that a start would replay.", func(s *engine.Stats) float64 { return float64(s.LogBytes) }},
		{"log_segments", "Files of the log.", func(s *engine.Stats) float64 { return float64(s.LogSegments) }},
		{"wide_files", "Files that are not sealed.", func(s *engine.Stats) float64 { return float64(s.WideFiles) }},
		{"sealed_files", "Files of one sealed window.", func(s *engine.Stats) float64 { return float64(s.SealedFiles) }},
		{"day_files", "Files of one day.", func(s *engine.Stats) float64 { return float64(s.DayFiles) }},
		{"file_bytes", "Bytes of all data files.", func(s *engine.Stats) float64 { return float64(s.FileBytes) }},
		{"file_samples", "Samples in data files, overwritten ones included.", func(s *engine.Stats) float64 { return float64(s.FileSamples) }},
		{"tombstones", "Deletes that still hide samples.", func(s *engine.Stats) float64 { return float64(s.Tombstones) }},
		{"shed_files", "Data files that may hold what the node no longer owns, to be written anew.", func(s *engine.Stats) float64 { return float64(s.ShedFiles) }},
		{"shed_file_bytes", "Bytes of the data files that may hold what the node no longer owns.", func(s *engine.Stats) float64 { return float64(s.ShedFileBytes) }},
		{"exemplars", "Exemplars held.", func(s *engine.Stats) float64 { return float64(s.Exemplars) }},
		{"oldest_sample_timestamp_seconds", "Timestamp of the oldest sample held.", func(s *engine.Stats) float64 { return float64(s.MinTime) / 1000 }},
		{"newest_sample_timestamp_seconds", "Timestamp of the newest sample held.", func(s *engine.Stats) float64 { return float64(s.MaxTime) / 1000 }},
		{"disk_free_bytes", "Free space of the data directory's disk.", func(s *engine.Stats) float64 { return float64(s.DiskFree) }},
		{"disk_full", "1 while less than DISK_RESERVE is free and writes are refused.", func(s *engine.Stats) float64 { return boolValue(s.DiskFull) }},
		{"quarantined_files", "Damaged files set aside since the data directory was made.", func(s *engine.Stats) float64 { return float64(s.QuarantinedFile) }},
		{"failed", "1 when the storage has stopped after an error.", func(s *engine.Stats) float64 { return boolValue(s.Failed) }},
		{"last_flush_duration_seconds", "Time that the last flush took.", func(s *engine.Stats) float64 { return s.LastFlush.Seconds() }},
		{"last_seal_duration_seconds", "Time that the last sealing of a window took.", func(s *engine.Stats) float64 { return s.LastSeal.Seconds() }},
		{"replay_duration_seconds", "Time that the last start took to replay the log.", func(s *engine.Stats) float64 { return s.Replay.Duration.Seconds() }},
		{"replay_samples", "Samples that the last start took from the log.", func(s *engine.Stats) float64 { return float64(s.Replay.Samples) }},
		{"replay_torn_bytes", "Bytes of unfinished records that the last start cut from the end of the log.", func(s *engine.Stats) float64 { return float64(s.Replay.TornBytes) }},
		{"replay_gap", "1 when the last start found acknowledged data missing.", func(s *engine.Stats) float64 { return boolValue(s.Replay.Gap) }},
	}
}

// storageCounters returns what the storage has done since it was opened.
func storageCounters() []storageMetric {
	return []storageMetric{
		{"appended_samples", "Samples stored.", func(s *engine.Stats) float64 { return float64(s.AppendedSamples) }},
		{"appended_batches", "Batches stored.", func(s *engine.Stats) float64 { return float64(s.AppendedBatches) }},
		{"out_of_order_samples", "Samples that were older than the newest of their series.", func(s *engine.Stats) float64 { return float64(s.OutOfOrder) }},
		{"overloaded", "Writes refused because flushing could not keep up.", func(s *engine.Stats) float64 { return float64(s.Overloaded) }},
		{"refused_disk_full", "Writes refused because the disk was nearly full.", func(s *engine.Stats) float64 { return float64(s.RefusedFull) }},
		{"flushes", "Flushes of the memory buffer.", func(s *engine.Stats) float64 { return float64(s.Flushes) }},
		{"flush_failures", "Flushes that failed.", func(s *engine.Stats) float64 { return float64(s.FlushFailures) }},
		{"flushed_bytes", "Bytes written by flushes.", func(s *engine.Stats) float64 { return float64(s.FlushedBytes) }},
		{"merges", "Merges of files.", func(s *engine.Stats) float64 { return float64(s.Merges) }},
		{"merged_bytes", "Bytes written by merges.", func(s *engine.Stats) float64 { return float64(s.MergedBytes) }},
		{"sealed_windows", "Windows sealed.", func(s *engine.Stats) float64 { return float64(s.SealedWindows) }},
		{"sealed_bytes", "Bytes written by sealing.", func(s *engine.Stats) float64 { return float64(s.SealedBytes) }},
		{"day_files_built", "Day files built.", func(s *engine.Stats) float64 { return float64(s.DaysBuilt) }},
		{"deletes", "Deletes taken.", func(s *engine.Stats) float64 { return float64(s.Deletes) }},
		{"dropped_files", "Files dropped by retention.", func(s *engine.Stats) float64 { return float64(s.DroppedFiles) }},
		{"log_syncs", "Syncs of the log.", func(s *engine.Stats) float64 { return float64(s.LogSyncs) }},
		{"log_appended_bytes", "Bytes written to the log.", func(s *engine.Stats) float64 { return float64(s.LogAppendedBytes) }},
	}
}

func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// storageCollector shows the storage's counters and gauges on /metrics.
type storageCollector struct {
	db    *engine.DB
	rows  []storageMetric
	descs []*prometheus.Desc
	kinds []prometheus.ValueType
}

func newStorageCollector(db *engine.DB) *storageCollector {
	c := &storageCollector{db: db}
	add := func(rows []storageMetric, kind prometheus.ValueType, suffix string) {
		for _, row := range rows {
			c.rows = append(c.rows, row)
			c.descs = append(c.descs, prometheus.NewDesc("count_engine_"+row.name+suffix, row.help, nil, nil))
			c.kinds = append(c.kinds, kind)
		}
	}
	add(storageGauges(), prometheus.GaugeValue, "")
	add(storageCounters(), prometheus.CounterValue, "_total")
	return c
}

// Describe implements prometheus.Collector.
func (c *storageCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *storageCollector) Collect(out chan<- prometheus.Metric) {
	stats := c.db.Stats()
	for i, row := range c.rows {
		out <- prometheus.MustNewConstMetric(c.descs[i], c.kinds[i], row.read(&stats))
	}
}
