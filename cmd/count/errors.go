package main

import "errors"

// errLogged marks an error that the log has already: it is not printed again.
var errLogged = errors.New("logged")

// usageError marks what the user asked for wrongly.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// partialError marks what was done, but not wholly.
type partialError struct{ err error }

func (e *partialError) Error() string { return e.err.Error() }
func (e *partialError) Unwrap() error { return e.err }
