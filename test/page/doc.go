// Package page clicks through the built-in page in a headless Chromium, by the
// DevTools protocol: query, graph, table, explain, cluster, cardinality, slow
// and running queries, cancelling. Without a chromium (Debian's package; or
// CHROMIUM_BIN names one) the test is skipped. It has only tests.
//
// COUNT_PAGE=http://host:port clicks through the page of a node of the demo, and
// COUNT_PICTURES=DIR leaves pictures of it there: those of the README come from
// the demo so.
package page
