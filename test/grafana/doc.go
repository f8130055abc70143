// Package grafana replays what Grafana's Prometheus data source sends, byte for
// byte, against one node and against three. testdata/requests.txt has the
// requests: those of Grafana 9.3.2 as they were recorded (parameters of POST
// requests in the URL, an empty form as the body), and those of the data source
// 13.1 (parameters in the body, limits), read from its sources.
//
// Checked: status, the envelope, the encoding that was asked for, and the words
// that the file expects. Not checked: what the values are (test/differential).
// It has only tests.
package grafana
