package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"time"
)

func demoVerb() verb {
	return verb{
		name:    "demo",
		summary: "write a few invented series to a node by REST and read them back, until it is ended",
		usage: `Usage:
  count demo [--server URL] [--every D] [--times N]

Each time it writes the temperature and humidity of some rooms and the orders of
some shops as one batch to POST /insert, and asks for an aggregate of them: the
dashboard "Count / REST demo" shows what comes of it. What fails is said, and
tried again with the next samples.

  --server URL   the node; default COUNT_SERVER, or ` + defaultServer + `
  --every D      how often (1s)
  --times N      end after so many times; 0 = never
`,
		run:  runDemo,
		more: reachHelp,
	}
}

// The names of the demo's series. Plain keys may hold dots; labels are optional.
const (
	demoTemperature = "demo.room.temperature" // degrees Celsius, by room
	demoHumidity    = "demo.room.humidity"    // part of 1, by room
	demoOrders      = "demo_orders_total"     // counter, by city
	demoLamp        = "demo.lamp"             // 0 or 1, without labels
)

// demoSample is a sample in the form of POST /insert.
type demoSample struct {
	Series    string            `json:"series"`
	Labels    map[string]string `json:"labels,omitempty"`
	Timestamp int64             `json:"timestamp"` // ms
	Value     float64           `json:"value"`
}

// demoBatch returns what the invented world looks like at a time. It follows
// from the time alone: whoever writes it twice changes nothing.
func demoBatch(at time.Time) []demoSample {
	ms := at.UnixMilli()
	const newYear2026 = 1767225600
	seconds := float64(ms)/1000 - newYear2026
	wave := func(period, phase float64) float64 { return math.Sin(2*math.Pi*seconds/period + phase) }
	out := []demoSample{{Series: demoLamp, Timestamp: ms, Value: float64(ms / 60000 % 2)}}
	for i, room := range []string{"kitchen", "office", "cellar"} {
		phase, labels := float64(i), map[string]string{"room": room}
		out = append(
			out,
			demoSample{demoTemperature, labels, ms, math.Round(100*(21-2*phase+1.5*wave(900, phase)+0.2*wave(47, phase))) / 100},
			demoSample{demoHumidity, labels, ms, math.Round(1000*(0.45+0.1*phase+0.05*wave(1300, phase))) / 1000},
		)
	}
	for i, city := range []string{"Berlin", "Lima", "Nairobi", "Osaka"} {
		// The integral of a rate that goes up and down: it never falls.
		rate, period := float64(i+1), 600.0
		orders := rate * (seconds - period/(2*math.Pi)*0.8*math.Cos(2*math.Pi*seconds/period+float64(i)))
		out = append(out, demoSample{demoOrders, map[string]string{"city": city}, ms, math.Floor(orders)})
	}
	return out
}

func runDemo(ctx context.Context, c call) error {
	fs, at := newFlags(c, "demo")
	every := fs.Duration("every", time.Second, "")
	times := fs.Int("times", 0, "")
	args, err := parse(fs, c.args)
	if err != nil {
		return err
	}
	if len(args) > 0 || *every < time.Millisecond || *times < 0 {
		return &usageError{fmt.Errorf("there are no arguments, and --every is at least 1ms")}
	}
	node, err := at.client()
	if err != nil {
		return err
	}
	tick := time.NewTicker(*every)
	defer tick.Stop()
	for done := 0; ; {
		if err = demoOnce(ctx, node, time.Now()); err != nil && ctx.Err() == nil {
			fmt.Fprintf(c.stderr, "count demo: %v\n", err)
		}
		if done++; done == *times {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// demoOnce writes the samples of now and asks for an aggregate of the last
// minutes.
func demoOnce(ctx context.Context, node *client, now time.Time) error {
	var body bytes.Buffer
	lines := json.NewEncoder(&body)
	for _, s := range demoBatch(now) {
		if err := lines.Encode(s); err != nil {
			return fmt.Errorf("encode a sample: %w", err)
		}
	}
	if _, err := node.do(ctx, "POST", "/insert", "application/x-ndjson", &body); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	asked := url.Values{"aggregation": {"mean"}, "start": {strconv.FormatInt(now.Add(-5*time.Minute).UnixMilli(), 10)}, "end": {strconv.FormatInt(now.UnixMilli(), 10)}}
	if _, err := node.do(ctx, "GET", "/query/aggregated/"+demoLamp+"?"+asked.Encode(), "", nil); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	return nil
}
