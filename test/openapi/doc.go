// Package openapi holds docs/openapi.yaml against a running node: for every
// path, method and status of the file a request is sent, and the answer must be
// what the file says. It has only tests.
//
// The checker knows the part of JSON Schema that the file uses (type, enum,
// required, properties, additionalProperties, items, oneOf, minimum, minLength,
// $ref) and fails on any other word, so that nothing is believed to be checked
// that is not.
package openapi
