package telemetry

import (
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Release is the version of Count that this source tree makes.
const Release = "0.1.0"

// Build says what the running binary was made from.
type Build struct {
	Version   string
	Revision  string // commit, or "unknown"
	Date      string // of the commit
	GoVersion string
	Platform  string // os/arch
}

// revision and date are what the linker was told (-X) by a build that has the
// sources without their history, as the one of the container image.
var revision, date string

// ReadBuild returns what the Go toolchain recorded in the binary.
func ReadBuild() Build {
	b := Build{Version: Release, Revision: "unknown", Date: "unknown", GoVersion: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if revision != "" {
		b.Revision = revision
	}
	if date != "" {
		b.Date = date
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Date = s.Value
		}
	}
	return b
}

// NewRegistry returns a registry with the metrics of the Go runtime and of the
// process, and count_build_info.
func NewRegistry(b Build) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "count_build_info",
		Help: "Always 1; the labels say what the binary was built from.",
		ConstLabels: prometheus.Labels{
			"version": b.Version, "revision": b.Revision, "goversion": b.GoVersion, "platform": b.Platform,
		},
	})
	info.Set(1)
	reg.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}
