package bench

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Step is the time between two scrapes of a target.
const Step = 15 * time.Second

// seriesPerTarget is what one scrape yields.
const seriesPerTarget = 500

// DataSet says what is written and asked for.
type DataSet struct {
	Name    string
	Targets int           // of 500 series each
	Span    time.Duration // how long each target is scraped
	Jitter  time.Duration // a scrape is up to this much early or late
	End     time.Time     // of the last scrape
	Seed    uint64
}

// NamedSet returns data set A (10,000 series for 6 hours, 14.4 million samples)
// or B (50,000 series for an hour, 12 million). Scale multiplies the number of
// targets; there is always one.
func NamedSet(name string, scale float64, end time.Time) (DataSet, error) {
	d := DataSet{Name: name, Jitter: 20 * time.Millisecond, End: end.Truncate(Step), Seed: 1}
	switch name {
	case "A":
		d.Targets, d.Span = 20, 6*time.Hour
	case "B":
		d.Targets, d.Span = 100, time.Hour
	default:
		return d, fmt.Errorf("data set %q: there are A and B", name)
	}
	if scale <= 0 {
		return d, fmt.Errorf("scale %v is not above 0", scale)
	}
	d.Targets = max(1, int(float64(d.Targets)*scale+0.5))
	return d, nil
}

// Rounds is how often each target is scraped.
func (d DataSet) Rounds() int { return int(d.Span / Step) }

// Series is the number of series.
func (d DataSet) Series() int { return d.Targets * seriesPerTarget }

// Samples is the number of samples.
func (d DataSet) Samples() int { return d.Series() * d.Rounds() }

// Start is the time of the first scrape.
func (d DataSet) Start() time.Time { return d.End.Add(-time.Duration(d.Rounds()-1) * Step) }

func (d DataSet) String() string {
	return fmt.Sprintf("%s: %d series x %v = %.2f million samples, jitter %v", d.Name, d.Series(), d.Span, float64(d.Samples())/1e6, d.Jitter)
}

// target is one scraped process.
type target struct {
	rng    *rand.Rand
	jitter time.Duration
	start  int64 // ms
	series []series
}

// series is one series of a target with the state of its values.
type series struct {
	labels []pair // sorted by name
	wire   []byte // the labels as remote write 1.0 sends them
	value  valuer
}

type pair struct{ name, value string }

// newTarget returns target number i.
func (d DataSet) newTarget(i int) *target {
	t := &target{rng: rand.New(rand.NewPCG(d.Seed, uint64(i))), jitter: d.Jitter, start: d.Start().UnixMilli()}
	// Targets are not scraped at once, but spread over the step.
	t.start -= int64(t.rng.IntN(int(Step.Milliseconds())))
	t.series = seriesOf(i, t.rng)
	return t
}

// scrape moves the target to a round and returns the round's timestamp (ms),
// which all its series share.
func (t *target) scrape(round int) int64 {
	at := t.start + int64(round)*Step.Milliseconds()
	if j := t.jitter.Milliseconds(); j > 0 {
		at += t.rng.Int64N(2*j+1) - j
	}
	return at
}
