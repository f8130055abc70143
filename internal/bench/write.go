package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/count-db/count/internal/pause"
)

// WriteResult is what loading a data set cost.
type WriteResult struct {
	Target   string
	Samples  int
	Wall     time.Duration // from the first request to the last answer
	CPU      float64       // seconds, up to Settle after the last answer
	P50, P99 time.Duration // of requests
	Peak     Memory
	Disk     Disk // after the last flush
	Retries  int  // answers that asked to come again
	Requests int
	Flushes  int
}

// PerCPUSecond is samples per CPU second.
func (r WriteResult) PerCPUSecond() float64 { return ratio(float64(r.Samples), r.CPU) }

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// WriteOptions say how a data set is loaded.
type WriteOptions struct {
	// Settle is how long after the last answer CPU time still counts.
	Settle time.Duration
	// MaxAhead is by how many rounds of scrapes a sender may be ahead of the
	// slowest: live, all targets are scraped at the same time, and Prometheus
	// refuses samples far behind the newest.
	MaxAhead int
	// Rate is how many samples a second are sent at most; 0 = as many as the target
	// takes.
	Rate float64
}

const (
	retryWait  = 200 * time.Millisecond
	maxRetries = 50 // of one request
)

// loader loads one target.
type loader struct {
	target Target
	load   *Load
	opts   WriteOptions
	client *http.Client
	start  time.Time

	retries   atomic.Int64
	latencies [][]time.Duration // by sender
	pace      *pace
}

// Write loads the data set into the target and measures.
func Write(ctx context.Context, t Target, load *Load, opts WriteOptions) (WriteResult, error) {
	if len(t.Writes) == 0 {
		return WriteResult{}, fmt.Errorf("target %s takes no writes", t.Name)
	}
	l := &loader{
		target: t, load: load, opts: opts,
		client:    newClient(t, len(load.senders)+1),
		latencies: make([][]time.Duration, len(load.senders)),
		pace:      newPace(len(load.senders), max(opts.MaxAhead, 1)),
	}
	defer l.client.CloseIdleConnections()
	cpuBefore, err := cpuSeconds(t.PIDs)
	if err != nil {
		return WriteResult{}, err
	}
	memory := watchMemory(ctx, t.PIDs)
	l.start = time.Now()
	flushes, err := l.run(ctx)
	wall := time.Since(l.start)
	if err == nil {
		err = l.settle(ctx, &flushes)
	}
	peak, memErr := memory.end()
	if err := errors.Join(err, memErr); err != nil {
		return WriteResult{}, fmt.Errorf("load %s: %w", t.Name, err)
	}
	cpuAfter, err := cpuSeconds(t.PIDs)
	if err != nil {
		return WriteResult{}, err
	}
	disk, err := diskOf(t.Data)
	if err != nil {
		return WriteResult{}, err
	}
	all := slices.Concat(l.latencies...)
	return WriteResult{
		Target: t.Name, Samples: load.Set.Samples(), Wall: wall, CPU: cpuAfter - cpuBefore,
		P50: percentile(all, 0.5), P99: percentile(all, 0.99), Peak: peak, Disk: disk,
		Retries: int(l.retries.Load()), Requests: len(all), Flushes: flushes,
	}, nil
}

// run sends everything and returns the number of flushes.
func (l *loader) run(ctx context.Context) (flushes int, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// A failure must also wake the senders that wait for their turn.
	defer context.AfterFunc(ctx, l.pace.abort)()
	var wg sync.WaitGroup
	for i := range l.load.senders {
		wg.Go(func() {
			if err := l.send(ctx, i); err != nil {
				cancel(err)
			}
		})
	}
	wg.Go(func() {
		var err error
		if flushes, err = l.flushAsLive(ctx); err != nil {
			cancel(err)
		}
	})
	wg.Wait()
	return flushes, context.Cause(ctx)
}

// send is one sender.
func (l *loader) send(ctx context.Context, sender int) error {
	defer l.pace.done(sender)
	for _, r := range l.load.senders[sender] {
		if !l.pace.wait(sender, r.round) {
			return nil // another one failed
		}
		if err := pause.For(ctx, time.Until(l.due(r.round))); err != nil {
			return err
		}
		url := l.target.Writes[sender%len(l.target.Writes)] + "/api/v1/write"
		start := time.Now()
		if err := l.post(ctx, url, r.body); err != nil {
			return err
		}
		l.latencies[sender] = append(l.latencies[sender], time.Since(start))
	}
	return nil
}

// due returns when a round of scrapes is to be sent.
func (l *loader) due(round int) time.Time {
	if l.opts.Rate <= 0 {
		return l.start
	}
	samples := float64(round) * float64(l.load.Set.Samples()) / float64(max(l.load.Set.Rounds(), 1))
	return l.start.Add(time.Duration(samples / l.opts.Rate * float64(time.Second)))
}

// post sends a request until it is taken.
func (l *loader) post(ctx context.Context, url string, body []byte) error {
	for attempt := 0; ; attempt++ {
		code, text, err := l.try(ctx, url, body)
		switch {
		case err == nil && code/100 == 2:
			return nil
		case attempt == maxRetries || ctx.Err() != nil || (err == nil && code/100 == 4 && code != http.StatusTooManyRequests):
			return fmt.Errorf("%s answered %d %s: %w", url, code, text, errors.Join(err, errRefused))
		}
		l.retries.Add(1)
		if err := pause.For(ctx, retryWait); err != nil {
			return err
		}
	}
}

var errRefused = errors.New("the write was refused")

func (l *loader) try(ctx context.Context, url string, body []byte) (code int, text string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Encoding", "snappy")
	if l.load.Protocol == V2 {
		req.Header.Set("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
		req.Header.Set("X-Prometheus-Remote-Write-Version", "2.0.0")
	} else {
		req.Header.Set("Content-Type", "application/x-protobuf")
		req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	}
	return do(l.client, req)
}

// do returns the code and the beginning of the text of an answer.
func do(client *http.Client, req *http.Request) (code int, text string, err error) {
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	head, err := io.ReadAll(io.LimitReader(resp.Body, 500))
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
	}
	return resp.StatusCode, strings.TrimSpace(string(head)), err
}

// flushAsLive calls the target's flush as often as a live server would have
// flushed while it took what the senders sent.
func (l *loader) flushAsLive(ctx context.Context) (flushes int, err error) {
	if l.target.Flush == "" || l.target.FlushRounds == 0 {
		return 0, nil
	}
	for round := l.target.FlushRounds; round < l.load.Set.Rounds(); round += l.target.FlushRounds {
		if !l.pace.reached(round) {
			return flushes, nil
		}
		if err := l.flush(ctx); err != nil {
			return flushes, err
		}
		flushes++
	}
	return flushes, nil
}

func (l *loader) flush(ctx context.Context) error {
	for _, base := range l.target.Writes {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+l.target.Flush, nil)
		if err != nil {
			return err
		}
		if code, text, err := do(l.client, req); err != nil || code/100 != 2 {
			return fmt.Errorf("flush of %s answered %d %s: %w", base, code, text, errors.Join(err, errFlush))
		}
	}
	return nil
}

var errFlush = errors.New("the flush failed")

// settle makes the last flush and waits for what the answers left behind.
func (l *loader) settle(ctx context.Context, flushes *int) error {
	if l.target.Flush != "" {
		if err := l.flush(ctx); err != nil {
			return err
		}
		*flushes++
	}
	return pause.For(ctx, l.opts.Settle)
}

// newClient returns a client that keeps connections and asks for nothing compressed.
func newClient(t Target, conns int) *http.Client {
	return &http.Client{Timeout: 5 * time.Minute, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: t.Trust},
		MaxIdleConns:    2 * conns, MaxIdleConnsPerHost: conns, DisableCompression: true, IdleConnTimeout: time.Minute,
	}}
}

// percentile returns a percentile of durations, which it sorts.
func percentile(all []time.Duration, p float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(len(all)-1, int(p*float64(len(all))))]
}
