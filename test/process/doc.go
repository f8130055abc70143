// Package process runs the real binary in tests: nodes on port 0 of
// 127.0.0.1, whose address is read from their log, with clients for what they
// answer. Output of a node is shown only when its test fails.
//
// COUNT_BIN names the binary to test; without it the package builds one.
package process
