package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/count-db/count/internal/pause"
)

// InsertOptions say how single samples are written by POST /insert.
type InsertOptions struct {
	Clients  int // at once, each waiting for its answer
	Duration time.Duration
	// Rate is how many a second all clients together write at most; 0 = as many as
	// the target takes. A write that is late because the one before it took long
	// counts from when it was due.
	Rate float64
	// Each takes a line for each write: when it was due (Unix seconds) and how many
	// milliseconds it took. May be nil.
	Each io.Writer
}

// InsertResult is what single writes cost.
type InsertResult struct {
	Target       string
	Requests     int
	PerSecond    float64
	P50, P99     time.Duration
	Longest      time.Duration
	CPU          float64 // microseconds a request
	NotAvailable int     // answers that asked to come again
}

// Insert writes single samples, as many as the target takes.
func Insert(ctx context.Context, t Target, opts InsertOptions) (InsertResult, error) {
	if len(t.Writes) == 0 {
		return InsertResult{}, fmt.Errorf("target %s takes no writes", t.Name)
	}
	client := newClient(t, opts.Clients)
	defer client.CloseIdleConnections()
	before, err := cpuSeconds(t.PIDs)
	if err != nil {
		return InsertResult{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	start := time.Now()
	workers := make([]inserter, opts.Clients)
	var wg sync.WaitGroup
	for i := range workers {
		workers[i] = inserter{client: client, url: t.Writes[i%len(t.Writes)] + "/insert", series: fmt.Sprintf("bench.insert.client%d", i)}
		wg.Go(func() {
			if err := workers[i].run(ctx, start, opts); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	if err := context.Cause(ctx); err != nil {
		return InsertResult{}, fmt.Errorf("insert into %s: %w", t.Name, err)
	}
	after, err := cpuSeconds(t.PIDs)
	if err != nil {
		return InsertResult{}, err
	}
	r := InsertResult{Target: t.Name}
	var all []time.Duration
	for i := range workers {
		all = append(all, workers[i].latencies...)
		if opts.Each != nil {
			if err := workers[i].print(opts.Each); err != nil {
				return InsertResult{}, err
			}
		}
		r.NotAvailable += workers[i].notAvailable
	}
	r.Requests, r.PerSecond = len(all), ratio(float64(len(all)), took.Seconds())
	r.P50, r.P99 = percentile(all, 0.5), percentile(all, 0.99)
	if len(all) > 0 {
		r.Longest = slices.Max(all)
	}
	r.CPU = ratio(1e6*(after-before), float64(len(all)))
	return r, nil
}

// inserter is one client.
type inserter struct {
	client       *http.Client
	url, series  string
	latencies    []time.Duration
	due          []time.Time // of latencies
	notAvailable int
}

// print writes a line for each write.
func (in *inserter) print(w io.Writer) error {
	for i, took := range in.latencies {
		if _, err := fmt.Fprintf(w, "%.3f %.2f\n", float64(in.due[i].UnixMilli())/1000, millis(took)); err != nil {
			return fmt.Errorf("note each write: %w", err)
		}
	}
	return nil
}

func (in *inserter) run(ctx context.Context, began time.Time, opts InsertOptions) error {
	for n := 0; time.Since(began) < opts.Duration; n++ {
		start := time.Now()
		if opts.Rate > 0 {
			start = began.Add(time.Duration(float64(n*opts.Clients) / opts.Rate * float64(time.Second)))
			if start.Sub(began) >= opts.Duration {
				return nil
			}
			if err := pause.For(ctx, time.Until(start)); err != nil {
				return err
			}
		}
		body := fmt.Sprintf(`{"series":%q,"timestamp":%d,"value":%d}`, in.series, start.UnixMilli(), n)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, in.url, strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		code, text, err := do(in.client, req)
		switch {
		case err != nil:
			return err
		case code == http.StatusServiceUnavailable:
			in.notAvailable++
			if err := pause.For(ctx, retryWait); err != nil {
				return err
			}
			continue
		case code != http.StatusCreated:
			return fmt.Errorf("%s answered %d %s: %w", in.url, code, text, errors.Join(err, errRefused))
		}
		in.latencies, in.due = append(in.latencies, time.Since(start)), append(in.due, start)
	}
	return nil
}

// PrintInserts prints what single writes cost.
func PrintInserts(w io.Writer, results []InsertResult) error {
	for _, r := range results {
		if _, err := fmt.Fprintf(w, "%s: %d inserts, %.0f/s, p50 %.2f ms, p99 %.2f ms, longest %.1f ms, %.0f µs of CPU each, %d times not available\n",
			r.Target, r.Requests, r.PerSecond, millis(r.P50), millis(r.P99), millis(r.Longest), r.CPU, r.NotAvailable); err != nil {
			return err
		}
	}
	return nil
}
