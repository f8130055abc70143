package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/count-db/count/internal/config"
)

func checkVerb() verb {
	return verb{
		name:    "check",
		summary: "check a configuration, a data directory or backups",
		usage: `Usage:
  count check config [--config.file FILE] [--SETTING VALUE]...
  count check data [DIR]
  count check backup PLACE [--id ID]

config resolves the settings as "count serve" would, lists every fault, and prints what is in force.
data reads everything in a data directory (default ./count_data) that no node is using, and proves that it is whole.
backup reads all backups in a directory or at s3://bucket/prefix, or one, and compares them with their checksums.
`,
		words: []string{"config", "data", "backup"},
		run:   runCheck,
	}
}

func runCheck(ctx context.Context, c call) error {
	if len(c.args) == 0 {
		return &usageError{errors.New(`say what to check: "config", "data" or "backup"`)}
	}
	what := c.args[0]
	c.args = c.args[1:]
	switch what {
	case "config":
		return checkConfig(c)
	case "data":
		return checkData(ctx, c)
	case "backup":
		return checkBackup(ctx, c)
	}
	return &usageError{fmt.Errorf("%q cannot be checked, only config, data and backup", what)}
}

func checkConfig(c call) error {
	cfg, err := config.Load(config.Sources{Environ: c.environ, Args: c.args})
	if err != nil {
		return &usageError{err}
	}
	_, err = fmt.Fprintf(c.stdout, "# the configuration is good; in force:\n%s", cfg.YAML())
	return err
}
