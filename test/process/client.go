package process

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Client talks to a node as a user's program would.
type Client struct {
	URL string
	// HTTP sends the requests; nil = one that knows no certificates of its own.
	HTTP *http.Client
	// Authorization is the header of that name in all requests, "" = none.
	Authorization string
}

var httpClient = &http.Client{Timeout: 30 * time.Second}

// Do sends a request and returns status, header and body.
func (c Client) Do(method, path string, header http.Header, body []byte) (int, http.Header, string, error) {
	req, err := http.NewRequest(method, c.URL+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	if c.Authorization != "" {
		req.Header.Set("Authorization", c.Authorization)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	by := c.HTTP
	if by == nil {
		by = httpClient
	}
	resp, err := by.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(text), err
}

// Get sends a GET.
func (c Client) Get(path string) (int, string, error) {
	code, _, body, err := c.Do(http.MethodGet, path, nil, nil)
	return code, body, err
}

// Post sends a POST with a JSON body.
func (c Client) Post(path, body string) (int, string, error) {
	code, _, text, err := c.Do(http.MethodPost, path, http.Header{"Content-Type": {"application/json"}}, []byte(body))
	return code, text, err
}

// PostForm sends a POST with a form.
func (c Client) PostForm(path string, form url.Values) (int, string, error) {
	code, _, text, err := c.Do(http.MethodPost, path, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, []byte(form.Encode()))
	return code, text, err
}

// Insert writes one sample by POST /insert.
func (c Client) Insert(series string, timestamp int64, value float64) error {
	body, err := json.Marshal(map[string]any{"series": series, "timestamp": timestamp, "value": value})
	if err != nil {
		return err
	}
	code, text, err := c.Post("/insert", string(body))
	if err == nil && code != http.StatusCreated {
		err = fmt.Errorf("insert: %d %s", code, text)
	}
	return err
}

// Point is a sample as REST answers it.
type Point struct {
	Timestamp int64   `json:"timestamp"`
	Value     float64 `json:"value"`
}

// Range reads a series by GET /query/range.
func (c Client) Range(series string, start, end int64) ([]Point, error) {
	path := "/query/range/" + url.PathEscape(series) + "?start=" + strconv.FormatInt(start, 10) + "&end=" + strconv.FormatInt(end, 10)
	code, text, err := c.Get(path)
	if err != nil {
		return nil, err
	}
	if code != http.StatusOK {
		return nil, fmt.Errorf("range query: %d %s", code, text)
	}
	var out []Point
	return out, json.Unmarshal([]byte(text), &out)
}

// Query evaluates PromQL at a time and returns the values by the text of
// their labels, without braces for an empty set.
func (c Client) Query(query string, at time.Time) (map[string]float64, error) {
	form := url.Values{"query": {query}, "time": {strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64)}}
	code, text, err := c.PostForm("/api/v1/query", form)
	if err != nil {
		return nil, err
	}
	if code != http.StatusOK {
		return nil, fmt.Errorf("query %s: %d %s", query, code, text)
	}
	var answer struct {
		Data struct {
			ResultType string
			Result     json.RawMessage
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return nil, err
	}
	if answer.Data.ResultType == "scalar" {
		v, err := pairValue(answer.Data.Result)
		return map[string]float64{"": v}, err
	}
	var vector []struct {
		Metric map[string]string
		Value  json.RawMessage
	}
	if err := json.Unmarshal(answer.Data.Result, &vector); err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for _, s := range vector {
		if s.Value == nil {
			continue // a native histogram
		}
		v, err := pairValue(s.Value)
		if err != nil {
			return nil, err
		}
		labels, err := json.Marshal(s.Metric)
		if err != nil {
			return nil, err
		}
		out[strings.Trim(string(labels), "{}")] = v
	}
	return out, nil
}

func pairValue(raw json.RawMessage) (float64, error) {
	var pair [2]any
	if err := json.Unmarshal(raw, &pair); err != nil {
		return 0, err
	}
	return strconv.ParseFloat(fmt.Sprint(pair[1]), 64)
}
