package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/count-db/count/internal/model"
)

// specialValues are the floats that JSON has no numbers for.
func specialValues() map[string]float64 {
	return map[string]float64{"NaN": math.NaN(), "+Inf": math.Inf(1), "-Inf": math.Inf(-1)}
}

// copyQuery is the documented internal form of a query, told from the public
// one by start_time: it asks for this node's own copy.
type copyQuery struct {
	Series      string  `json:"series"`
	Start       *int64  `json:"start_time"`
	End         *int64  `json:"end_time"`
	Aggregation *string `json:"aggregation"`
	RequestID   string  `json:"request_id"`
}

type copyPoint struct {
	Timestamp int64     `json:"timestamp"`
	Value     jsonFloat `json:"value"`
}

// copyAnswer is the documented answer.
type copyAnswer struct {
	Success    bool         `json:"success"`
	Data       *[]copyPoint `json:"data"`
	Aggregated *jsonFloat   `json:"aggregated_value"`
	Error      *string      `json:"error"`
	NodeID     uint64       `json:"node_id"`
}

// jsonFloat writes NaN and the infinities as strings.
type jsonFloat float64

// MarshalJSON writes the number.
func (f jsonFloat) MarshalJSON() ([]byte, error) {
	v := float64(f)
	switch {
	case math.IsNaN(v):
		return []byte(`"NaN"`), nil
	case math.IsInf(v, 1):
		return []byte(`"+Inf"`), nil
	case math.IsInf(v, -1):
		return []byte(`"-Inf"`), nil
	}
	return strconv.AppendFloat(nil, v, 'g', -1, 64), nil
}

// IsCopyQuery says whether the body of a POST /query/range or /query/aggregated
// is the internal form.
func IsCopyQuery(body []byte) bool {
	var q struct {
		Start *json.RawMessage `json:"start_time"`
	}
	return json.Unmarshal(body, &q) == nil && q.Start != nil
}

// CopyQueryHandler answers the internal form of POST /query/range and
// /query/aggregated.
func (c *Cluster) CopyQueryHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := readBody(w, r)
		if !ok {
			return
		}
		a := copyAnswer{NodeID: uint64(c.opts.Node)}
		code, err := c.copyQuery(r, body, &a)
		a.Success = err == nil
		if err != nil {
			text := err.Error()
			a.Error, a.Data, a.Aggregated = &text, nil, nil
		}
		writeJSON(w, code, a)
	})
}

func (c *Cluster) copyQuery(r *http.Request, body []byte, a *copyAnswer) (int, error) {
	var q copyQuery
	if err := json.Unmarshal(body, &q); err != nil {
		return http.StatusBadRequest, err
	}
	if q.Start == nil || q.End == nil || *q.Start > *q.End {
		return http.StatusBadRequest, errors.New("start_time and end_time are needed, in this order")
	}
	ls, err := model.ParseSeriesKey(q.Series)
	if err != nil {
		return http.StatusBadRequest, err
	}
	points, err := c.readHere(r, ls, *q.Start, *q.End)
	if err != nil {
		return http.StatusInternalServerError, err
	}
	if q.Aggregation == nil || *q.Aggregation == "" {
		a.Data = &points
		return http.StatusOK, nil
	}
	v, any, err := aggregate(*q.Aggregation, points)
	if err != nil {
		return http.StatusBadRequest, err
	}
	if any {
		a.Aggregated = (*jsonFloat)(&v)
	}
	return http.StatusOK, nil
}

// readHere returns this node's copy of one series, without stale markers.
func (c *Cluster) readHere(r *http.Request, ls labels.Labels, mint, maxt int64) ([]copyPoint, error) {
	var ms []*labels.Matcher
	ls.Range(func(l labels.Label) { ms = append(ms, labels.MustNewMatcher(labels.MatchEqual, l.Name, l.Value)) })
	sel, err := c.local.Select(r.Context(), mint, maxt, ms...)
	if err != nil {
		return nil, err
	}
	defer sel.Close()
	points := []copyPoint{}
	var cols model.Columns
	for i := range sel.Len() {
		if !labels.Equal(sel.Labels(i), ls) {
			continue
		}
		if err := sel.Read(i, mint, maxt, &cols); err != nil {
			return nil, err
		}
		for j, t := range cols.T {
			if !value.IsStaleNaN(cols.V[j]) {
				points = append(points, copyPoint{t, jsonFloat(cols.V[j])})
			}
		}
	}
	return points, nil
}

func aggregate(kind string, points []copyPoint) (v float64, any bool, err error) {
	if len(points) > 0 {
		v = float64(points[0].Value)
	}
	sum := 0.0
	for _, p := range points {
		f := float64(p.Value)
		sum += f
		switch kind {
		case "Min":
			if f < v || math.IsNaN(v) {
				v = f
			}
		case "Max":
			if f > v || math.IsNaN(v) {
				v = f
			}
		}
	}
	n := float64(len(points))
	switch kind {
	case "Sum":
		v = sum
	case "Mean", "Avg":
		v = sum / n
	case "Count":
		return n, true, nil
	case "Min", "Max":
	default:
		return 0, false, fmt.Errorf("unknown aggregation %q: Mean, Sum, Min, Max and Count are known", kind)
	}
	return v, len(points) > 0, nil
}
