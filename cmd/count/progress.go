package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

const (
	progressEvery = 200 * time.Millisecond
	progressWidth = 24 // characters of the bar
)

// bar shows how far long work is, in one line of a terminal that is written
// again and again. Elsewhere it shows nothing but notes.
type bar struct {
	out      io.Writer
	width    int // of the terminal; 0 = there is none
	began    time.Time
	describe func() (part float64, text string) // part is below 0 while it is unknown

	mu    sync.Mutex
	shown bool // guarded by mu; the line is not empty
	stop  chan struct{}
	done  sync.WaitGroup
}

// newBar starts to show what describe returns, until end. Safe for concurrent
// use with what describe reads.
func newBar(out io.Writer, describe func() (part float64, text string)) *bar {
	b := &bar{out: out, began: time.Now(), describe: describe, stop: make(chan struct{})}
	b.width, _, _ = terminalSize(out)
	if b.width == 0 {
		return b
	}
	b.done.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				b.draw()
			case <-b.stop:
				return
			}
		}
	})
	return b
}

func (b *bar) draw() {
	part, text := b.describe()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shown = true
	fmt.Fprintf(b.out, "\r\x1b[K%s", barLine(part, text, time.Since(b.began), b.width-1))
}

// barLine is the line: [#####.....]  50 %  text  1m0s left.
func barLine(part float64, text string, took time.Duration, width int) string {
	line := text
	if part >= 0 {
		part = min(part, 1)
		full := int(part * progressWidth)
		line = fmt.Sprintf("[%s%s] %3.0f %%  %s", strings.Repeat("#", full), strings.Repeat(".", progressWidth-full), 100*part, text)
		if part > 0.01 && part < 1 && took > 2*time.Second {
			left := time.Duration(float64(took) * (1 - part) / part)
			line += fmt.Sprintf("  %v left", left.Round(time.Second))
		}
	}
	if r := []rune(line); len(r) > width {
		line = string(r[:max(width, 0)])
	}
	return line
}

// note prints a line of its own above the bar.
func (b *bar) note(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clearLocked()
	fmt.Fprintln(b.out, text)
}

func (b *bar) clearLocked() {
	if b.shown {
		fmt.Fprint(b.out, "\r\x1b[K")
		b.shown = false
	}
}

// end takes the bar away.
func (b *bar) end() {
	close(b.stop)
	b.done.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clearLocked()
}

// humanBytes prints bytes in powers of 1024.
func humanBytes(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/1024, 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return fmt.Sprintf("%.1f %ciB", v, units[i])
}

// perSecond prints a rate.
func perSecond(n uint64, took time.Duration) string {
	if took <= 0 {
		return "-"
	}
	return humanCount(float64(n)/took.Seconds()) + "/s"
}

// humanCount prints a number with three digits and a unit.
func humanCount(v float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if v >= u.size {
			return fmt.Sprintf("%.3g%s", v/u.size, u.name)
		}
	}
	return fmt.Sprintf("%.3g", v)
}
