// Package remote holds Prometheus's own protocols. The sub-packages:
//
//   - write: remote write 1.0 and 2.0 (the specifications "Prometheus
//     Remote-Write 1.0" and "2.0"), with a decoder of its own;
//   - apiv1: Prometheus's HTTP API v1, remote read and OTLP among it, mounted
//     from Prometheus's own code; the only importer of web/api/v1.
package remote
