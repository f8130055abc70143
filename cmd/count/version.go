package main

import (
	"context"
	"fmt"

	"github.com/count-db/count/internal/telemetry"
)

func versionVerb() verb {
	return verb{
		name:    "version",
		summary: "print the version",
		usage:   "Usage:\n  count version\n",
		run: func(_ context.Context, c call) error {
			b := telemetry.ReadBuild()
			_, err := fmt.Fprintf(c.stdout, "count %s (revision %s of %s, %s, %s)\n", b.Version, b.Revision, b.Date, b.GoVersion, b.Platform)
			return err
		},
	}
}
