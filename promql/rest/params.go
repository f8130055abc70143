package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// query is one parsed request: a range of one or more series, raw or aggregated.
type query struct {
	series     []string // keys, and in POST requests selectors
	start, end int64    // ms, inclusive
	aggregated bool
	agg        aggregation
	step       int64 // ms; 0 = one value over the whole range
}

// parseGet reads GET {path}{series}?start&end[&aggregation[&step]].
func parseGet(r *http.Request, path string, aggregated bool) (query, error) {
	key, err := seriesOf(r, path)
	if err != nil {
		return query{}, err
	}
	params := r.URL.Query()
	q := query{series: []string{key}, aggregated: aggregated}
	if q.start, err = parseMillis("start", params, true); err != nil {
		return query{}, err
	}
	if q.end, err = parseMillis("end", params, true); err != nil {
		return query{}, err
	}
	if aggregated {
		if q.agg, err = parseAggregation(params.Get("aggregation")); err != nil {
			return query{}, err
		}
		if q.step, err = parseMillis("step", params, false); err != nil {
			return query{}, err
		}
		if params.Has("step") && q.step <= 0 {
			return query{}, badRequest("step is %d, it must be above 0", q.step)
		}
	}
	return q, q.check()
}

// seriesOf returns the series key behind path, matched in its escaped form: %2F
// is part of the key.
func seriesOf(r *http.Request, path string) (string, error) {
	_, escaped, found := strings.Cut(r.URL.EscapedPath(), path)
	if !found || escaped == "" {
		return "", badRequest("series is missing behind %s", path)
	}
	key, err := url.PathUnescape(escaped)
	if err != nil {
		return "", badRequest("series %q is not well escaped", escaped)
	}
	return key, nil
}

func parseMillis(name string, params url.Values, required bool) (int64, error) {
	text := params.Get(name)
	if text == "" {
		if required || params.Has(name) {
			return 0, badRequest("%s is missing", name)
		}
		return 0, nil
	}
	return parseInteger(name, text)
}

func parseInteger(name, text string) (int64, error) {
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, badRequest("%s is %q, it must be an integer of milliseconds", name, text)
	}
	return ms, nil
}

// check tests what concerns the query as a whole.
func (q *query) check() error {
	if q.start > q.end {
		return badRequest("start %d is behind end %d", q.start, q.end)
	}
	if q.step > 0 {
		// Unsigned: the difference may be larger than an int64.
		if n := (uint64(q.end) - uint64(q.start)) / uint64(q.step); n >= maxWindows {
			return badRequest("more than %d windows: take a longer step or a shorter range", maxWindows)
		}
	}
	return nil
}

// body is the JSON of a POST request, public or internal form; the fields are
// told apart later so that each error can name its field.
type body struct {
	Series      json.RawMessage `json:"series"`
	Start       json.RawMessage `json:"start"`
	End         json.RawMessage `json:"end"`
	Aggregation *string         `json:"aggregation"`
	Step        json.RawMessage `json:"step"`
	StartTime   json.RawMessage `json:"start_time"`
	EndTime     json.RawMessage `json:"end_time"`
	RequestID   string          `json:"request_id"`
}

func readBody(w http.ResponseWriter, r *http.Request, limit int64) (*body, error) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, &requestError{status: http.StatusRequestEntityTooLarge, text: "request body is larger than " + strconv.FormatInt(limit, 10) + " bytes"}
		}
		return nil, badRequest("reading the request body: %v", err)
	}
	var b body
	d := json.NewDecoder(bytes.NewReader(raw))
	if err := d.Decode(&b); err != nil {
		return nil, badRequest("request body is not the expected JSON object: %v", err)
	}
	if d.More() {
		return nil, badRequest("request body holds more than one JSON object")
	}
	return &b, nil
}

// internal says whether this is the documented internal form.
func (b *body) internal() bool { return b.StartTime != nil }

// query returns the public form.
func (b *body) query(aggregated bool) (query, error) {
	q := query{aggregated: aggregated}
	var err error
	if q.series, err = b.seriesList(); err != nil {
		return query{}, err
	}
	if q.start, err = requiredMillis("start", b.Start); err != nil {
		return query{}, err
	}
	if q.end, err = requiredMillis("end", b.End); err != nil {
		return query{}, err
	}
	if aggregated {
		name := ""
		if b.Aggregation != nil {
			name = *b.Aggregation
		}
		if q.agg, err = parseAggregation(name); err != nil {
			return query{}, err
		}
		if !absent(b.Step) {
			if q.step, err = requiredMillis("step", b.Step); err != nil {
				return query{}, err
			}
			if q.step <= 0 {
				return query{}, badRequest("step is %d, it must be above 0", q.step)
			}
		}
	}
	return q, q.check()
}

// seriesList reads a list of keys and selectors; a single text stands for a list
// of one.
func (b *body) seriesList() ([]string, error) {
	if absent(b.Series) {
		return nil, badRequest("series is missing")
	}
	var list []string
	if err := json.Unmarshal(b.Series, &list); err != nil {
		var one string
		if json.Unmarshal(b.Series, &one) != nil {
			return nil, badRequest("series must be a list of strings")
		}
		list = []string{one}
	}
	if len(list) == 0 {
		return nil, badRequest("series is empty")
	}
	return list, nil
}

func requiredMillis(name string, raw json.RawMessage) (int64, error) {
	if absent(raw) {
		return 0, badRequest("%s is missing", name)
	}
	return parseInteger(name, string(raw))
}

func absent(raw json.RawMessage) bool { return raw == nil || string(raw) == "null" }
