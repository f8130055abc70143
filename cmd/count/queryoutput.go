package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"
)

// The forms of a query's answer.
const (
	outputTable = "table"
	outputLines = "lines"
	outputGraph = "graph"
	outputCSV   = "csv"
	outputJSON  = "json"
)

func outputs() []string {
	return []string{outputTable, outputLines, outputGraph, outputCSV, outputJSON}
}

// timeForm is how times are shown to people: UTC.
const timeForm = "2006-01-02T15:04:05.000Z"

// presenter prints answers in a form.
type presenter struct {
	out           io.Writer
	form          string
	width, height int  // of what it is drawn on, in characters
	colours       bool // may be used
}

// newPresenter chooses the form where none is asked for: a table on a terminal,
// lines elsewhere.
func newPresenter(out io.Writer, form string) (*presenter, error) {
	p := &presenter{out: out, form: form, width: 80, height: 24}
	width, height, terminal := terminalSize(out)
	if terminal {
		p.width, p.height, p.colours = width, height, true
	}
	switch {
	case form == "" && terminal:
		p.form = outputTable
	case form == "":
		p.form = outputLines
	case !slices.Contains(outputs(), form):
		return nil, fmt.Errorf("unknown output %q: there are %v", form, outputs())
	}
	return p, nil
}

func (p *presenter) print(all []queried) error {
	switch p.form {
	case outputGraph:
		return p.graph(all)
	case outputCSV:
		return p.csv(all)
	case outputTable:
		return p.table(all)
	}
	for i := range all {
		for _, point := range all[i].points {
			if _, err := fmt.Fprintf(p.out, "%s\t%s\t%s\n", all[i].key, point.text, showTime(point.t)); err != nil {
				return err
			}
		}
	}
	return nil
}

func showTime(ms int64) string { return time.UnixMilli(ms).UTC().Format(timeForm) }

func (p *presenter) csv(all []queried) error {
	w := csv.NewWriter(p.out)
	errs := []error{w.Write([]string{"series", "timestamp", "value"})}
	for i := range all {
		for _, point := range all[i].points {
			errs = append(errs, w.Write([]string{all[i].key, strconv.FormatInt(point.t, 10), point.text}))
		}
	}
	w.Flush()
	return errors.Join(append(errs, w.Error())...)
}

// widest is how many series a table of a range has columns for.
const widest = 5

// table prints a row a series for one moment; for a range a row a time, where
// the series are few, else a row a sample.
func (p *presenter) table(all []queried) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(p.out, "no data")
		return err
	}
	ranged := slices.ContainsFunc(all, func(q queried) bool { return len(q.points) > 1 })
	w := tabwriter.NewWriter(p.out, 0, 4, 2, ' ', 0)
	switch {
	case !ranged:
		fmt.Fprintln(w, "SERIES\tVALUE\tTIME")
		for i := range all {
			for _, point := range all[i].points {
				fmt.Fprintf(w, "%s\t%s\t%s\n", all[i].key, point.text, showTime(point.t))
			}
		}
	case len(all) <= widest:
		columnTable(w, all)
	default:
		fmt.Fprintln(w, "SERIES\tTIME\tVALUE")
		for i := range all {
			key := all[i].key
			for _, point := range all[i].points {
				fmt.Fprintf(w, "%s\t%s\t%s\n", key, showTime(point.t), point.text)
				key = "" // said once
			}
		}
	}
	return w.Flush()
}

func columnTable(w io.Writer, all []queried) {
	fmt.Fprint(w, "TIME")
	at := make([]map[int64]string, len(all))
	var times []int64
	for i := range all {
		fmt.Fprintf(w, "\t%s", all[i].key)
		at[i] = map[int64]string{}
		for _, point := range all[i].points {
			at[i][point.t] = point.text
			times = append(times, point.t)
		}
	}
	fmt.Fprintln(w)
	slices.Sort(times)
	for _, t := range slices.Compact(times) {
		fmt.Fprint(w, showTime(t))
		for i := range all {
			fmt.Fprintf(w, "\t%s", at[i][t])
		}
		fmt.Fprintln(w)
	}
}
