package apiv1

import (
	"fmt"
	"net/http"
	"strconv"
)

// Bounds of /status/churn.
const (
	defaultChurnWindows = 12
	defaultChurnMetrics = 10
	maxChurn            = 1000
)

// churnWindow is a window as it is shown.
type churnWindow struct {
	Start  int64        `json:"start"` // ms
	End    int64        `json:"end"`   // ms
	Series int          `json:"series"`
	New    int          `json:"new_series"`
	Names  []churnCount `json:"newSeriesCountByMetricName"`
}

// churnCount has the form of the lists of /status/tsdb.
type churnCount struct {
	Name  string `json:"name"`
	Value uint64 `json:"value"`
}

// churnHandler answers /status/churn: where new series come from.
func churnHandler(s StatusReader) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		windows, err := countParameter(r, "windows", defaultChurnWindows)
		if err != nil {
			failure(w, http.StatusBadRequest, "bad_data", err.Error())
			return
		}
		limit, err := countParameter(r, "limit", defaultChurnMetrics)
		if err != nil {
			failure(w, http.StatusBadRequest, "bad_data", err.Error())
			return
		}
		out := []churnWindow{}
		for _, c := range s.Churn(windows, limit) {
			shown := churnWindow{Start: c.Start, End: c.End, Series: c.Series, New: c.New, Names: []churnCount{}}
			for _, n := range c.NewByMetric {
				shown.Names = append(shown.Names, churnCount{n.Name, n.Count})
			}
			out = append(out, shown)
		}
		success(w, out)
	})
}

// countParameter reads a small positive number.
func countParameter(r *http.Request, name string, otherwise int) (int, error) {
	text := r.FormValue(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxChurn {
		return 0, fmt.Errorf("invalid parameter %q: %q is no number from 1 to %d", name, text, maxChurn)
	}
	return n, nil
}
