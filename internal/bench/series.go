package bench

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// The metrics that questions are asked about.
const (
	metricCPU    = "node_cpu_seconds_total"
	metricNet    = "node_network_bytes_total"
	metricBucket = "http_request_duration_seconds_bucket"
	metricTemp   = "node_hwmon_temp_celsius"
	metricAvail  = "node_filesystem_avail_bytes"
	metricSize   = "node_filesystem_size_bytes"
)

// instanceOf is the label by which a target is known.
func instanceOf(target int) string { return fmt.Sprintf("host-%d:9100", target) }

// builder gathers the series of a target.
type builder struct {
	base   []pair
	rng    *rand.Rand
	series []series
}

func (b *builder) add(v valuer, name string, extra ...string) {
	labels := append(slices.Clone(b.base), pair{"__name__", name})
	for i := 0; i < len(extra); i += 2 {
		labels = append(labels, pair{extra[i], extra[i+1]})
	}
	slices.SortFunc(labels, func(x, y pair) int { return strings.Compare(x.name, y.name) })
	b.series = append(b.series, series{labels: labels, wire: wireLabels(labels), value: v})
}

// words are what the names of the lesser metrics are made of.
var words = []string{
	"active", "anonymous", "bounce", "buffers", "cached", "commit", "direct", "dirty", "entropy", "filefd", "forks", "hugepages",
	"inactive", "interrupts", "kernel", "lease", "mapped", "netstat", "overcommit", "pagetables", "percpu", "pressure", "queue",
	"reclaimable", "schedstat", "shmem", "slab", "softnet", "sockstat", "swap", "thermal", "timex", "unevictable", "vmalloc", "writeback", "zswap",
}

// nameOf returns name number i of a kind, different for each of them.
func nameOf(kind string, i int, unit string) string {
	return fmt.Sprintf("node_%s_%s_%s%s", kind, words[i%len(words)], words[(i*7+i/len(words))%len(words)], unit)
}

// about returns a number within a third of n, whole where n is large: counters
// and gauges start from whole units.
func (b *builder) about(n float64) float64 {
	x := n * (0.67 + 0.66*b.rng.Float64())
	if n >= 100 {
		return math.Round(x)
	}
	return x
}

// seriesOf returns the 500 series of a target: counters, gauges of few decimals,
// constants and histogram buckets, of 10 to 12 labels each.
func seriesOf(target int, rng *rand.Rand) []series {
	b := &builder{rng: rng, base: []pair{
		{"cluster", "production-1"},
		{"datacenter", fmt.Sprintf("dc%d", target%3)},
		{"env", "production"},
		{"instance", instanceOf(target)},
		{"job", "node"},
		{"os", "linux"},
		{"rack", fmt.Sprintf("rack-%02d", target%17)},
		{"team", fmt.Sprintf("team-%c", 'a'+target%5)},
	}}
	b.cpus()
	b.network()
	b.histograms()
	b.hardware()
	b.gauges()
	b.constants()
	b.slowCounters(seriesPerTarget - len(b.series))
	return b.series
}

// cpus: 8 CPUs x 8 modes, seconds of two decimals.
func (b *builder) cpus() {
	modes := []struct {
		name               string
		mean, spread, idle float64
	}{
		{"idle", 1380, 20, 0},
		{"user", 80, 14, 0},
		{"system", 30, 7, 0},
		{"iowait", 1, 1, 0.7},
		{"softirq", 1, 0.7, 0.5},
		{"irq", 0, 0, 1},
		{"nice", 0, 0, 1},
		{"steal", 0, 0, 1},
	}
	for cpu := range 8 {
		for _, m := range modes {
			b.add(&counter{units: math.Round(b.about(1e7 * m.mean / 100)), mean: m.mean, spread: m.spread, idle: m.idle, scale: 0.01},
				metricCPU, "cpu", fmt.Sprint(cpu), "mode", m.name)
		}
	}
}

// network: 8 devices x 2 directions, bytes and packets; half of them idle.
func (b *builder) network() {
	for dev := range 8 {
		for _, direction := range []string{"receive", "transmit"} {
			device := fmt.Sprintf("eth%d", dev)
			if dev >= 4 {
				b.add(constant(0), metricNet, "device", device, "direction", direction)
				b.add(constant(0), "node_network_packets_total", "device", device, "direction", direction)
				continue
			}
			packets := b.about(600)
			b.add(&counter{units: b.about(1e11), mean: packets * 700, spread: packets * 20, scale: 1}, metricNet, "device", device, "direction", direction)
			b.add(&counter{units: b.about(1e8), mean: packets, spread: packets / 8, scale: 1}, "node_network_packets_total", "device", device, "direction", direction)
		}
	}
}

// histograms: 12 handlers x 12 buckets, sum and count; two handlers are idle.
func (b *builder) histograms() {
	bounds := []string{"0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"}
	for handler := range 12 {
		h := &histogram{mean: b.about(float64(40 * (handler + 1))), counts: make([]float64, len(bucketShares))}
		if handler%6 == 5 {
			h.mean = 0
		}
		path := fmt.Sprintf("/api/v1/handler%d", handler)
		for i, le := range bounds {
			b.add(bucketOf{h, i}, metricBucket, "handler", path, "le", le)
		}
		b.add(sumOf{h}, "http_request_duration_seconds_sum", "handler", path)
		b.add(countOf{h}, "http_request_duration_seconds_count", "handler", path)
	}
}

// hardware: 24 sensors of one decimal, 6 file systems.
func (b *builder) hardware() {
	for sensor := range 24 {
		middle := b.about(450)
		b.add(&gauge{units: middle, middle: middle, spread: 2, idle: 0.3, scale: 0.1}, metricTemp,
			"chip", fmt.Sprintf("platform_coretemp_%d", sensor/8), "sensor", fmt.Sprintf("temp%d", sensor%8))
	}
	for i, mount := range []string{"/", "/boot", "/data", "/home", "/var", "/var/log"} {
		labels := []string{"device", fmt.Sprintf("/dev/nvme0n1p%d", i+1), "fstype", "ext4", "mountpoint", mount}
		pages := b.about(5e7)
		b.add(constant(float64(int64(pages)*4096)), metricSize, labels...)
		b.add(&gauge{units: math.Round(pages / 2), middle: pages / 2, spread: 40, idle: 0.3, scale: 4096}, metricAvail, labels...)
	}
}

// gauges: memory in pages, and ratios of two decimals.
func (b *builder) gauges() {
	for i := range 50 {
		middle := b.about(2e6)
		b.add(&gauge{units: middle, middle: middle, spread: b.about(200), idle: 0.15, scale: 4096},
			nameOf("memory", i, "_bytes"), "kind", "memory", "numa", "0")
	}
	for i := range 40 {
		middle := b.about(300)
		b.add(&gauge{units: middle, middle: middle, spread: 12, idle: 0.1, scale: 0.01},
			nameOf("pressure", i, "_ratio"), "kind", "ratio", "window", "60s")
	}
}

// constants: what only says how a thing is set up.
func (b *builder) constants() {
	for i := range 50 {
		b.add(constant(int(b.about(5000))), nameOf("setting", i, "_info"), "kind", "setting", "version", fmt.Sprintf("1.%d.0", i%7))
	}
}

// slowCounters: n counters of things that happen a few times a scrape, or not.
func (b *builder) slowCounters(n int) {
	for i := range n {
		b.add(&counter{units: b.about(1e5), mean: b.about(60), spread: 15, idle: 0.15, scale: 1},
			nameOf("disk", i, "_total"), "device", fmt.Sprintf("nvme%dn1", i%4), "kind", "disk")
	}
}

// wireLabels encodes labels as remote write 1.0 sends them.
func wireLabels(labels []pair) []byte {
	var all []byte
	for _, l := range labels {
		var one []byte
		one = appendBytes(one, 1, []byte(l.name))
		one = appendBytes(one, 2, []byte(l.value))
		all = appendBytes(all, 1, one)
	}
	return all
}

// appendBytes appends a length-delimited protobuf field.
func appendBytes(dst []byte, field byte, content []byte) []byte {
	dst = append(dst, field<<3|2)
	dst = binary.AppendUvarint(dst, uint64(len(content)))
	return append(dst, content...)
}

// MetricNames returns the names of all metrics of the data sets.
func MetricNames() []string {
	seen := map[string]bool{}
	var names []string
	for _, s := range seriesOf(0, rand.New(rand.NewPCG(1, 1))) {
		for _, l := range s.labels {
			if l.name == "__name__" && !seen[l.value] {
				seen[l.value] = true
				names = append(names, l.value)
			}
		}
	}
	return names
}
