// Package server is the one HTTP port of a node. Every path that it answers
// stands in one table (routes.go); middleware.go holds what surrounds each
// request: correlation id, access log, metrics, recovery, body limits and
// deadlines. The handlers come from outside (Handlers), so that this package
// knows none of the parts it serves.
package server
