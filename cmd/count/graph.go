package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	drawn       = 8  // series of a graph; more would be a tangle
	graphRows   = 20 // at most
	axisWidth   = 10 // characters before the axis
	barsDrawn   = 40
	leastNameOf = 16 // characters of a bar's name
)

// palette are the colours of the series, as ANSI codes.
var palette = [drawn]int{36, 33, 35, 32, 31, 34, 96, 93}

// graph draws lines over time, or bars for one moment.
func (p *presenter) graph(all []queried) error {
	ranged := false
	for i := range all {
		ranged = ranged || len(all[i].points) > 1
	}
	var text string
	switch {
	case len(all) == 0:
		text = "no data\n"
	case ranged:
		text = p.lines(all)
	default:
		text = p.bars(all)
	}
	_, err := fmt.Fprint(p.out, text)
	return err
}

// bounds are what a graph shows.
type bounds struct {
	t0, t1   int64
	low, top float64
}

func boundsOf(all []queried) (b bounds, ok bool) {
	b = bounds{t0: math.MaxInt64, t1: math.MinInt64, low: math.Inf(1), top: math.Inf(-1)}
	for i := range all {
		for _, point := range all[i].points {
			if point.v-point.v != 0 {
				continue // no number, or none that can be drawn
			}
			b.t0, b.t1 = min(b.t0, point.t), max(b.t1, point.t)
			b.low, b.top = min(b.low, point.v), max(b.top, point.v)
		}
	}
	if b.t0 > b.t1 {
		return b, false
	}
	if b.low == b.top {
		b.low, b.top = b.low-1, b.top+1
	}
	b.t1 = max(b.t1, b.t0+1)
	return b, true
}

// canvas is a field of Braille characters: 2 by 4 dots each.
type canvas struct {
	width, height int // characters
	dots          [][]uint8
	owner         [][]int // which series drew last
}

func newCanvas(width, height int) *canvas {
	c := &canvas{width: width, height: height}
	for range height {
		c.dots = append(c.dots, make([]uint8, width))
		c.owner = append(c.owner, make([]int, width))
	}
	return c
}

// brailleBits are the bits of the dots, by row and column.
var brailleBits = [4][2]uint8{{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}}

func (c *canvas) set(x, y, series int) {
	row, col := y/4, x/2
	if row < 0 || row >= c.height || col < 0 || col >= c.width {
		return
	}
	c.dots[row][col] |= brailleBits[y%4][x%2]
	c.owner[row][col] = series
}

// line draws from one dot to another.
func (c *canvas) line(x0, y0, x1, y1, series int) {
	steps := max(abs(x1-x0), abs(y1-y0), 1)
	for i := range steps + 1 {
		part := float64(i) / float64(steps)
		c.set(x0+int(math.Round(part*float64(x1-x0))), y0+int(math.Round(part*float64(y1-y0))), series)
	}
}

func abs(n int) int { return max(n, -n) }

// lines draws series over time.
func (p *presenter) lines(all []queried) string {
	left := max(len(all)-drawn, 0)
	all = all[:min(len(all), drawn)]
	b, ok := boundsOf(all)
	if !ok {
		return "nothing that can be drawn\n"
	}
	height := max(min(graphRows, p.height-4-len(all)), 5)
	c := newCanvas(max(p.width-axisWidth-2, 20), height)
	step := shortestStep(all)
	for i := range all {
		c.draw(all[i].points, b, step, i)
	}
	var out strings.Builder
	for row := range height {
		label := ""
		if row%4 == 0 || row == height-1 {
			label = axisNumber(b.top - (b.top-b.low)*float64(row)/float64(height-1))
		}
		fmt.Fprintf(&out, "%*s ┤", axisWidth, label)
		for col := range c.width {
			out.WriteString(p.paint(c.owner[row][col], string(rune(0x2800+int(c.dots[row][col])))))
		}
		out.WriteByte('\n')
	}
	out.WriteString(timeAxis(b, c.width))
	for i := range all {
		last := all[i].points[len(all[i].points)-1]
		fmt.Fprintf(&out, "%s %s  %s\n", p.paint(i, "━━"), all[i].key, last.text)
	}
	if left > 0 {
		fmt.Fprintf(&out, "and %d series more that are not drawn\n", left)
	}
	return out.String()
}

// draw draws one series; it is interrupted where points are missing.
func (c *canvas) draw(points []queriedPoint, b bounds, step int64, series int) {
	width, height := 2*c.width-1, 4*c.height-1
	before, x0, y0 := int64(math.MinInt64), 0, 0
	for _, point := range points {
		if point.v-point.v != 0 {
			before = math.MinInt64
			continue
		}
		x := int(math.Round(float64(point.t-b.t0) / float64(b.t1-b.t0) * float64(width)))
		y := height - int(math.Round((point.v-b.low)/(b.top-b.low)*float64(height)))
		if before != math.MinInt64 && point.t-before <= step+step/2 {
			c.line(x0, y0, x, y, series)
		} else {
			c.set(x, y, series)
		}
		before, x0, y0 = point.t, x, y
	}
}

// shortestStep is the time between two points of a range.
func shortestStep(all []queried) int64 {
	step := int64(math.MaxInt64 / 4)
	for i := range all {
		for k := 1; k < len(all[i].points); k++ {
			if d := all[i].points[k].t - all[i].points[k-1].t; d > 0 {
				step = min(step, d)
			}
		}
	}
	return step
}

func (p *presenter) paint(series int, text string) string {
	if !p.colours {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", palette[series%drawn], text)
}

func timeAxis(b bounds, width int) string {
	form := "15:04:05"
	if b.t1-b.t0 > (24 * time.Hour).Milliseconds() {
		form = "01-02 15:04"
	}
	first, last := time.UnixMilli(b.t0).UTC().Format(form), time.UnixMilli(b.t1).UTC().Format(form)+" UTC"
	gap := max(width-len(first)-len(last), 1)
	return fmt.Sprintf("%*s └%s\n%*s  %s%s%s\n", axisWidth, "", strings.Repeat("─", width), axisWidth, "", first, strings.Repeat(" ", gap), last)
}

// axisNumber prints a number in few characters.
func axisNumber(v float64) string {
	if v == 0 {
		return "0"
	}
	if a := math.Abs(v); a >= 1e12 || a < 1e-3 {
		return strconv.FormatFloat(v, 'e', 2, 64)
	} else if a >= 1000 {
		sign := ""
		if v < 0 {
			sign = "-"
		}
		return sign + humanCount(a)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// bars draws one value a series.
func (p *presenter) bars(all []queried) string {
	left := max(len(all)-barsDrawn, 0)
	all = all[:min(len(all), barsDrawn)]
	name, most := 0, 0.0
	for i := range all {
		name = max(name, len([]rune(all[i].key)))
		if v := math.Abs(all[i].points[0].v); v-v == 0 {
			most = max(most, v)
		}
	}
	name = min(name, max(p.width/2, leastNameOf))
	width := max(p.width-name-16, 10)
	var out strings.Builder
	for i := range all {
		key := []rune(all[i].key)
		if len(key) > name {
			key = append(key[:name-1], '…')
		}
		v := all[i].points[0].v
		n := 0
		if most > 0 && v-v == 0 {
			n = int(math.Round(math.Abs(v) / most * float64(width)))
		}
		fmt.Fprintf(&out, "%-*s %s %s\n", name, string(key), p.paint(i, strings.Repeat("█", n)), all[i].points[0].text)
	}
	if left > 0 {
		fmt.Fprintf(&out, "and %d series more that are not drawn\n", left)
	}
	return out.String()
}
