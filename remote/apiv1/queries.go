package apiv1

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
)

// Queries tells about queries that run or would run. All methods are safe for
// concurrent use.
type Queries interface {
	// Active lists the queries that run now, oldest first.
	Active() []ActiveQuery
	// Slow lists the slowest queries that ended lately, the slowest first.
	Slow() []SlowQuery
	// Cancel ends a query as if its client had gone; false: there is none of
	// that id.
	Cancel(id uint64) bool
	// Explain tells how a query would be split between the nodes. step 0 is an
	// instant query at start. Its errors are the query's faults.
	Explain(query string, start, end time.Time, step time.Duration) (string, error)
}

// ActiveQuery is a query that runs now, as it is shown.
type ActiveQuery struct {
	ID      uint64  `json:"id"`
	Query   string  `json:"query"`
	Start   float64 `json:"start"` // seconds
	End     float64 `json:"end"`   // seconds
	Step    float64 `json:"step"`  // seconds; 0 for an instant query
	Running float64 `json:"running_seconds"`
}

// SlowQuery is a query that has ended, as it is shown.
type SlowQuery struct {
	ID         uint64  `json:"id"`
	Query      string  `json:"query"`
	Start      float64 `json:"start"` // seconds
	End        float64 `json:"end"`   // seconds
	Step       float64 `json:"step"`  // seconds; 0 for an instant query
	Began      float64 `json:"began"` // seconds
	Took       float64 `json:"took_seconds"`
	Evaluation string  `json:"evaluation"` // reduced, whole or fallback
	Series     int     `json:"series"`     // in the answer
	Error      string  `json:"error,omitempty"`
}

func slowQueriesHandler(q Queries) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		slow := q.Slow()
		if slow == nil {
			slow = []SlowQuery{}
		}
		success(w, slow)
	})
}

func activeQueriesHandler(q Queries) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		active := q.Active()
		if active == nil {
			active = []ActiveQuery{}
		}
		success(w, active)
	})
}

func cancelQueryHandler(q Queries) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.ParseUint(r.FormValue("id"), 10, 64)
		if err != nil {
			failure(w, http.StatusBadRequest, "bad_data", "id must be the id of a query in /api/v1/status/active_queries")
			return
		}
		if !q.Cancel(id) {
			failure(w, http.StatusNotFound, "not_found", fmt.Sprintf("no query %d runs on this node", id))
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

// explaining answers queries that say explain=true with how they would be
// split; they do not run.
func explaining(q Queries, now func() time.Time, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		instant := r.URL.Path == "/api/v1/query"
		if !instant && r.URL.Path != "/api/v1/query_range" || r.Method == http.MethodOptions || r.FormValue("explain") != "true" {
			next.ServeHTTP(w, r)
			return
		}
		start, end, step, err := explained(r, instant, now())
		if err != nil {
			failure(w, http.StatusBadRequest, "bad_data", err.Error())
			return
		}
		text, err := q.Explain(r.FormValue("query"), start, end, step)
		if err != nil {
			failure(w, http.StatusBadRequest, "bad_data", err.Error())
			return
		}
		success(w, map[string]string{"explain": text})
	})
}

// explained reads the times of a query; instant ones may leave theirs out.
func explained(r *http.Request, instant bool, now time.Time) (start, end time.Time, step time.Duration, err error) {
	if instant {
		start = now
		if r.FormValue("time") != "" {
			start, err = timeParameter(r, "time")
		}
		return start, start, 0, err
	}
	if start, err = timeParameter(r, "start"); err != nil {
		return start, end, 0, err
	}
	if end, err = timeParameter(r, "end"); err != nil {
		return start, end, 0, err
	}
	if end.Before(start) {
		return start, end, 0, fmt.Errorf("invalid parameter %q: end timestamp must not be before start time", "end")
	}
	step, err = stepParameter(r)
	return start, end, step, err
}

// timeParameter reads a time: seconds since 1970 with a fraction, or RFC 3339.
func timeParameter(r *http.Request, name string) (time.Time, error) {
	s := r.FormValue(name)
	// Beyond that a float of seconds is no int64 of milliseconds.
	if t, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(t) < math.MaxInt64/1000 {
		return time.UnixMilli(int64(math.Round(t * 1000))).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("invalid parameter %q: cannot parse %q to a valid timestamp", name, s)
	}
	return t, nil
}

// stepParameter reads a step: seconds with a fraction, or a duration.
func stepParameter(r *http.Request) (time.Duration, error) {
	s := r.FormValue("step")
	step := time.Duration(0)
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		if math.Abs(f) < math.MaxInt64/float64(time.Second) {
			step = time.Duration(f * float64(time.Second))
		}
	} else if d, err := model.ParseDuration(s); err == nil {
		step = time.Duration(d)
	}
	if step < time.Millisecond {
		return 0, fmt.Errorf("invalid parameter %q: %q is no step of at least a millisecond", "step", s)
	}
	return step, nil
}
