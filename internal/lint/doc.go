// Package lint checks the rules of the house that no ready tool knows: who may
// import whom (imports_test.go), sizes and banned calls (rules_test.go), package
// documents and living links (docs_test.go). Each failure names the cure. It has
// only tests.
package lint
