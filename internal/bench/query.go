package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Question is one request to the HTTP API.
type Question struct {
	Class string
	Path  string // below /api/v1/
	Form  url.Values
}

// asker makes the questions of a class.
type asker func(d DataSet, r *rand.Rand) Question

// class is a kind of question that dashboards ask.
type class struct {
	name string
	ask  asker
}

// classes are the kinds of questions, as the literature of dashboards has them.
// Hosts and ends of the time range are drawn.
func classes() []class {
	return []class{
		{"series-1h", func(d DataSet, r *rand.Rand) Question {
			q := fmt.Sprintf(`%s{instance=%q,cpu="%d",mode="user"}`, metricCPU, d.host(r), r.IntN(8))
			return d.rangeQuery(r, q, time.Hour, 15*time.Second)
		}},
		{"host-rate-12h", func(d DataSet, r *rand.Rand) Question {
			return d.rangeQuery(r, fmt.Sprintf(`rate(%s{instance=%q}[5m])`, metricCPU, d.host(r)), 12*time.Hour, time.Minute)
		}},
		{"sum-mode-rate-1h", func(d DataSet, r *rand.Rand) Question {
			return d.rangeQuery(r, fmt.Sprintf(`sum by (mode) (rate(%s[5m]))`, metricCPU), time.Hour, 15*time.Second)
		}},
		{"sum-mode-rate-12h", func(d DataSet, r *rand.Rand) Question {
			return d.rangeQuery(r, fmt.Sprintf(`sum by (mode) (rate(%s[5m]))`, metricCPU), 12*time.Hour, time.Minute)
		}},
		{"topk-rate-1h", func(d DataSet, r *rand.Rand) Question {
			return d.rangeQuery(r, fmt.Sprintf(`topk(5, rate(%s[5m]))`, metricNet), time.Hour, time.Minute)
		}},
		{"quantile-le-1h", func(d DataSet, r *rand.Rand) Question {
			return d.rangeQuery(r, fmt.Sprintf(`histogram_quantile(0.99, sum by (le) (rate(%s[5m])))`, metricBucket), time.Hour, 30*time.Second)
		}},
		{"max-over-12h", func(d DataSet, r *rand.Rand) Question {
			return d.instant(r, fmt.Sprintf(`max by (instance) (max_over_time(%s[%s]))`, metricTemp, seconds(d.cut(12*time.Hour))))
		}},
		{"host-max-1h-12h", func(d DataSet, r *rand.Rand) Question {
			return d.rangeQuery(r, fmt.Sprintf(`max_over_time(%s{instance=%q}[1h])`, metricTemp, d.host(r)), 12*time.Hour, time.Hour)
		}},
		{"regex-hosts-1h", func(d DataSet, r *rand.Rand) Question {
			q := fmt.Sprintf(`sum by (instance) (rate(%s{instance=~"host-1.*",mode!="idle"}[5m]))`, metricCPU)
			return d.rangeQuery(r, q, time.Hour, 15*time.Second)
		}},
		{"join-1h", func(d DataSet, r *rand.Rand) Question {
			q := fmt.Sprintf(`1 - %s{mountpoint="/"} / on (instance, mountpoint) %s`, metricAvail, metricSize)
			return d.rangeQuery(r, q, time.Hour, 30*time.Second)
		}},
		{"count-by-name", func(d DataSet, r *rand.Rand) Question {
			return d.instant(r, `count by (__name__) ({__name__!=""})`)
		}},
		{"instant-sum", func(d DataSet, r *rand.Rand) Question {
			return d.instant(r, fmt.Sprintf(`sum(%s)`, metricTemp))
		}},
		{"instant-host", func(d DataSet, r *rand.Rand) Question {
			return d.instant(r, fmt.Sprintf(`{instance=%q}`, d.host(r)))
		}},
		{"label-values", func(d DataSet, r *rand.Rand) Question {
			return Question{Path: "label/instance/values", Form: d.window(r, time.Hour)}
		}},
		{"series", func(d DataSet, r *rand.Rand) Question {
			form := d.window(r, time.Hour)
			form.Set("match[]", fmt.Sprintf(`{__name__=~"node_cpu.*",instance=%q}`, d.host(r)))
			return Question{Path: "series", Form: form}
		}},
	}
}

// Classes returns the names of all kinds of questions.
func Classes() []string {
	var names []string
	for _, c := range classes() {
		names = append(names, c.name)
	}
	return names
}

func (d DataSet) host(r *rand.Rand) string { return instanceOf(r.IntN(d.Targets)) }

// cut bounds a time range to nine tenths of the data, so that its end can be drawn.
func (d DataSet) cut(span time.Duration) time.Duration {
	return min(span, d.Span*9/10).Truncate(time.Second)
}

// end draws the end of a range of the given length, on whole seconds.
func (d DataSet) end(r *rand.Rand, span time.Duration) time.Time {
	free := d.Span - span - Step
	if free <= 0 {
		return d.End
	}
	return d.End.Add(-time.Duration(r.Int64N(int64(free)))).Truncate(time.Second)
}

func (d DataSet) window(r *rand.Rand, span time.Duration) url.Values {
	span = d.cut(span)
	end := d.end(r, span)
	return url.Values{"start": {unix(end.Add(-span))}, "end": {unix(end)}}
}

func (d DataSet) rangeQuery(r *rand.Rand, query string, span, step time.Duration) Question {
	form := d.window(r, span)
	form.Set("query", query)
	form.Set("step", strconv.Itoa(int(step.Seconds())))
	return Question{Path: "query_range", Form: form}
}

func (d DataSet) instant(r *rand.Rand, query string) Question {
	return Question{Path: "query", Form: url.Values{"query": {query}, "time": {unix(d.end(r, d.cut(12*time.Hour)))}}}
}

func unix(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

func seconds(d time.Duration) string { return strconv.Itoa(int(d.Seconds())) + "s" }

// Questions draws the first n questions of each class.
func Questions(d DataSet, only string, n int) []Question {
	var all []Question
	for i, c := range classes() {
		if only != "" && only != c.name {
			continue
		}
		r := rand.New(rand.NewPCG(d.Seed, uint64(1000+i)))
		for range n {
			q := c.ask(d, r)
			q.Class = c.name
			all = append(all, q)
		}
	}
	return all
}

// QueryResult is what one class of questions cost.
type QueryResult struct {
	Class    string
	Asked    int
	CPU      float64 // ms of all processes a question
	P50, P99 time.Duration
}

// QueryOptions say how long a class is asked for.
type QueryOptions struct {
	MaxQueries int           // of one class
	MaxTime    time.Duration // of one class
	Only       string        // a class; "" = all
}

// Query asks a target all classes of questions, one at a time.
func Query(ctx context.Context, t Target, d DataSet, opts QueryOptions) ([]QueryResult, error) {
	if len(t.Queries) == 0 {
		return nil, fmt.Errorf("target %s takes no queries", t.Name)
	}
	client := newClient(t, 1)
	defer client.CloseIdleConnections()
	var results []QueryResult
	for _, c := range classes() {
		if opts.Only != "" && opts.Only != c.name {
			continue
		}
		questions := Questions(d, c.name, opts.MaxQueries)
		r, err := queryClass(ctx, client, t, questions, opts.MaxTime)
		if err != nil {
			return results, fmt.Errorf("ask %s for %s: %w", t.Name, c.name, err)
		}
		results = append(results, r)
	}
	return results, nil
}

func queryClass(ctx context.Context, client *http.Client, t Target, questions []Question, maxTime time.Duration) (QueryResult, error) {
	r := QueryResult{Class: questions[0].Class}
	// Once without counting: connections and what is read first.
	if _, err := ask(ctx, client, t, questions[0]); err != nil {
		return r, err
	}
	before, err := cpuSeconds(t.PIDs)
	if err != nil {
		return r, err
	}
	var latencies []time.Duration
	for begin := time.Now(); r.Asked < len(questions) && time.Since(begin) < maxTime; r.Asked++ {
		start := time.Now()
		if _, err := ask(ctx, client, t, questions[r.Asked]); err != nil {
			return r, err
		}
		latencies = append(latencies, time.Since(start))
	}
	after, err := cpuSeconds(t.PIDs)
	if err != nil {
		return r, err
	}
	r.CPU = ratio(1000*(after-before), float64(r.Asked))
	r.P50, r.P99 = percentile(latencies, 0.5), percentile(latencies, 0.99)
	return r, nil
}

var errAnswer = errors.New("the query failed")

// maxAnswerBytes bounds what is read of an answer.
const maxAnswerBytes = 1 << 30

// ask sends a question and returns the body of the answer.
func ask(ctx context.Context, client *http.Client, t Target, q Question) ([]byte, error) {
	form := url.Values{}
	for _, values := range []url.Values{q.Form, t.Params} {
		for k, v := range values {
			form[k] = append(form[k], v...)
		}
	}
	base := t.Queries[0]
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/api/v1/"+q.Path+"?"+form.Encode(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%w: %s %v: code %d: %.300s", errAnswer, q.Path, q.Form, resp.StatusCode, body)
	}
	return body, err
}
