package bench

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// Target is a server, or a cluster of them, that is measured.
type Target struct {
	Name string
	// Writes and Queries are the addresses (scheme://host:port and perhaps a
	// prefix) that requests go to, in turn.
	Writes, Queries []string
	PIDs            []int    // processes whose CPU time and memory count
	Data            []string // folders whose size counts
	// Flush is a path that makes the server write to disk what it has in memory;
	// "" = it has none. It is called as often as a live server would have
	// flushed, see FlushRounds, and at the end.
	Flush string
	// FlushRounds is after how many rounds of scrapes Flush is called; 0 = only
	// at the end.
	FlushRounds int
	// Params are added to each query (nocache=1).
	Params url.Values
	// Trust are the CAs that its certificates must come from; nil: the system's.
	Trust *x509.CertPool
}

// ParseTarget reads a target as the command line gives it:
//
//	name=count,url=http://127.0.0.1:8080,pid=123,data=./count_data,flush=/api/v1/admin/tsdb/flush,flush-rounds=20
//
// url, pid and data may be repeated; write-url and query-url tell them apart;
// param=nocache=1 adds a query parameter.
func ParseTarget(text string) (Target, error) {
	t := Target{Params: url.Values{}}
	for field := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(field, "=")
		if !ok || value == "" {
			return t, fmt.Errorf("target %q: %q is not key=value", text, field)
		}
		if err := t.set(key, value); err != nil {
			return t, fmt.Errorf("target %q: %w", text, err)
		}
	}
	if t.Name == "" || len(t.Writes)+len(t.Queries) == 0 {
		return t, fmt.Errorf("target %q: name and url are needed", text)
	}
	return t, nil
}

func (t *Target) set(key, value string) error {
	switch key {
	case "name":
		t.Name = value
	case "url", "write-url", "query-url":
		u, err := url.Parse(value)
		if err != nil || u.Host == "" {
			return fmt.Errorf("%s %q is not a URL", key, value)
		}
		value = strings.TrimSuffix(value, "/")
		if key != "query-url" {
			t.Writes = append(t.Writes, value)
		}
		if key != "write-url" {
			t.Queries = append(t.Queries, value)
		}
	case "pid":
		pid, err := strconv.Atoi(value)
		if err != nil || pid <= 0 {
			return fmt.Errorf("pid %q is not a process id", value)
		}
		t.PIDs = append(t.PIDs, pid)
	case "data":
		t.Data = append(t.Data, value)
	case "ca-file":
		text, err := os.ReadFile(value)
		if err != nil {
			return fmt.Errorf("ca-file: %w", err)
		}
		if t.Trust = x509.NewCertPool(); !t.Trust.AppendCertsFromPEM(text) {
			return fmt.Errorf("ca-file %s has no certificate in PEM", value)
		}
	case "flush":
		t.Flush = value
	case "flush-rounds":
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return fmt.Errorf("flush-rounds %q is not a number", value)
		}
		t.FlushRounds = n
	case "param":
		name, v, ok := strings.Cut(value, "=")
		if !ok {
			return errors.New("param wants name=value")
		}
		t.Params.Add(name, v)
	default:
		return fmt.Errorf("unknown key %q", key)
	}
	return nil
}
