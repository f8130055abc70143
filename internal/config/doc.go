// Package config holds every setting of a node in one table (fields.go): its
// name in the environment, in the configuration file and as a flag, its
// default, its unit and what is allowed. Load resolves them in the order
// environment, configuration file, flags, defaults, and reports all faults at
// once, each with the key, where it was given and what is allowed.
//
// docs/configuration.md is written from the same table; a test keeps the two
// alike.
package config
