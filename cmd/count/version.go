package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/count-db/count/internal/telemetry"
)

func versionVerb() verb {
	return verb{
		name:    "version",
		summary: "print the version",
		usage: `Usage:
  count version [--sbom]

  --sbom   print what the binary is made of, the modules and their versions, as
           the Go toolchain recorded it: a CycloneDX document
`,
		run: runVersion,
	}
}

func runVersion(_ context.Context, c call) error {
	fs := flag.NewFlagSet("version", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	sbom := fs.Bool("sbom", false, "")
	if _, err := parse(fs, c.args); err != nil {
		return err
	}
	b := telemetry.ReadBuild()
	if !*sbom {
		_, err := fmt.Fprintf(c.stdout, "count %s (revision %s of %s, %s, %s)\n", b.Version, b.Revision, b.Date, b.GoVersion, b.Platform)
		return err
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("the binary was built without a record of its modules")
	}
	out := json.NewEncoder(c.stdout)
	out.SetIndent("", " ")
	return out.Encode(billOfMaterials(b, info))
}

// bill is a CycloneDX document, as far as it is used here.
type bill struct {
	Format      string      `json:"bomFormat"`
	SpecVersion string      `json:"specVersion"`
	Version     int         `json:"version"`
	Metadata    billSubject `json:"metadata"`
	Components  []component `json:"components"`
}

type billSubject struct {
	Component component `json:"component"`
}

// component is a module, or Count itself.
type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	PURL       string     `json:"purl"`
	Properties []property `json:"properties,omitempty"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func billOfMaterials(b telemetry.Build, info *debug.BuildInfo) bill {
	self := moduleComponent("application", info.Main.Path, b.Version)
	self.Properties = []property{{"count:revision", b.Revision}, {"count:date", b.Date}, {"count:platform", b.Platform}}
	out := bill{
		Format: "CycloneDX", SpecVersion: "1.5", Version: 1, Metadata: billSubject{self},
		Components: []component{moduleComponent("library", "std", b.GoVersion)},
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		c := moduleComponent("library", m.Path, m.Version)
		if m.Sum != "" {
			// Go's own hash over the files of the module, as in go.sum.
			c.Properties = []property{{"go:sum", m.Sum}}
		}
		out.Components = append(out.Components, c)
	}
	return out
}

func moduleComponent(kind, path, version string) component {
	purl := "pkg:golang/" + path + "@" + version
	return component{Type: kind, Ref: purl, Name: path, Version: version, PURL: purl}
}
