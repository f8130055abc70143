// Package bench is the load tool behind `count bench`: it makes data as a fleet
// of node_exporters would, writes it to servers by remote write, asks them the
// questions that dashboards ask, compares their answers, and tells what the
// servers spent on it: CPU seconds and memory from /proc, bytes on disk.
//
// Everything follows from a seed: two runs send the same samples and ask the
// same questions. Requests are encoded before the clock starts. CPU seconds
// (user and system, of all processes named) up to some seconds after the last
// answer are the figure to compare: they hold the work that an answer leaves
// behind, and repeat better than wall times on a machine that does other things.
package bench
