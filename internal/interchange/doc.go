// Package interchange reads and writes samples in the forms that other programs
// know: OpenMetrics text, JSON lines, CSV and Prometheus's TSDB blocks. Readers
// and writers stream: what they hold in memory does not grow with their source.
//
// What each form can say is in docs/cli.md. Blocks and JSON lines are exact:
// the bits of every value, stale markers, native histograms, start timestamps.
package interchange
