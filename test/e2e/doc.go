// Package e2e tests the outside contract of one node against the real binary:
// REST, Prometheus's protocols with Prometheus's own clients, the requests that
// Grafana sends, restarts and kill -9. It has only tests.
package e2e
