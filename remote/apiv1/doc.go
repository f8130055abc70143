// Package apiv1 serves Prometheus's HTTP API v1, remote read, OTLP and
// /federate. The handlers are Prometheus's own (web/api/v1), so that the answers
// are too; this package alone imports them. It answers by itself only where
// theirs would need a scraping Prometheus (metadata), or would show its
// configuration instead of Count's.
package apiv1
