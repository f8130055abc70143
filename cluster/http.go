package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/internal/model"
)

// maxMessage bounds the body of a documented message, in bytes.
const maxMessage = 16 << 20

// maxAddress bounds what others say of a node's address and of its version, in bytes:
// a host name has at most 255.
const maxAddress = 300

// maxReplicated bounds the timestamps that /replicate takes, in ms: the year
// 9999. How far ahead a sample may lie was the sending node's to check.
const maxReplicated = 253402300799999

// Connect is the handler of transport.Path: other nodes connect by it. It needs
// a ResponseWriter that can be hijacked.
func (c *Cluster) Connect() http.Handler { return c.server }

// StatusHandler answers GET /cluster/status.
func (c *Cluster) StatusHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, c.Status()) })
}

// MessageHandler takes the documented messages of POST /cluster/join (answer is
// set: it answers with the ClusterState) and POST /cluster/gossip.
func (c *Cluster) MessageHandler(answer bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := readBody(w, r)
		if !ok {
			return
		}
		m, err := membership.ParseMessage(body)
		if err == nil && answer && m.Type.NodeJoin == nil {
			err = fmt.Errorf("%w: /cluster/join takes a NodeJoin", membership.ErrMessage)
		}
		if err != nil {
			writeError(w, http.StatusBadRequest, err)
			return
		}
		c.hear(m)
		if answer {
			writeJSON(w, http.StatusOK, c.stateMessage())
			return
		}
		w.WriteHeader(http.StatusOK)
	})
}

// hear takes a documented message: a hint about addresses and liveness.
func (c *Cluster) hear(m membership.Message) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range m.Nodes() {
		if n.ID == c.opts.Node {
			continue
		}
		old, known := c.view.Get(n.ID, now)
		if len(n.Address) > maxAddress || len(n.Version) > maxAddress || !c.view.Room(n.ID, now) {
			continue
		}
		if known && (old.Up || n.ID != m.SenderID) {
			continue // what was seen here counts more than hearsay
		}
		info := old.Info
		info.ID, info.Address, info.Version, info.DataSize = n.ID, n.Address, n.Version, n.DataSize
		c.view.Learn(info, now)
		if p := c.peer(n.ID); p != nil {
			p.Kick()
		}
	}
	switch t := m.Type; {
	case t.NodeLeave != nil:
		c.view.Leave(t.NodeLeave.NodeID)
	case t.NodeFailed != nil:
		c.view.Suspect(t.NodeFailed.NodeID, true)
	}
}

func (c *Cluster) stateMessage() membership.Message {
	s := &membership.StateMessage{Nodes: []membership.NodeRecord{}}
	for _, n := range c.Nodes() {
		s.Nodes = append(s.Nodes, n.Record())
	}
	return membership.Message{SenderID: c.opts.Node, Type: membership.MessageType{ClusterState: s}, Timestamp: time.Now().UnixMilli()}
}

// replicateRequest is the documented form of a copy.
type replicateRequest struct {
	Series string `json:"series"`
	Points []struct {
		Timestamp *int64          `json:"timestamp"`
		Value     json.RawMessage `json:"value"`
	} `json:"points"`
	ReplicationID string `json:"replication_id"`
	SourceNode    uint64 `json:"source_node"`
}

// replicateAnswer is the documented answer.
type replicateAnswer struct {
	Success bool    `json:"success"`
	Error   *string `json:"error"`
	NodeID  uint64  `json:"node_id"`
}

// ReplicateHandler takes POST /replicate: a copy, stored on this node only. It
// has no version, so it is stamped here, as a write that is seen now.
func (c *Cluster) ReplicateHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := readBody(w, r)
		if !ok {
			return
		}
		code, err := c.replicate(r, body)
		a := replicateAnswer{Success: err == nil, NodeID: uint64(c.opts.Node)}
		if err != nil {
			text := err.Error()
			a.Error = &text
		}
		writeJSON(w, code, a)
	})
}

func (c *Cluster) replicate(r *http.Request, body []byte) (int, error) {
	var req replicateRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return http.StatusBadRequest, err
	}
	ls, err := model.ParseSeriesKey(req.Series)
	if err != nil {
		return http.StatusBadRequest, err
	}
	if fault := c.opts.Limits.CheckLabels(ls); fault != nil {
		return http.StatusBadRequest, fault
	}
	b := c.getBatch()
	defer c.putBatch(b)
	for _, p := range req.Points {
		v, err := parseValue(p.Value)
		if err != nil || p.Timestamp == nil || *p.Timestamp < 0 || *p.Timestamp > maxReplicated {
			return http.StatusBadRequest, errors.Join(errors.New("a point needs a timestamp in ms, not in a far future, and a value"), err)
		}
		b.Floats = append(b.Floats, model.FloatSample{T: *p.Timestamp, V: v})
	}
	if len(b.Floats) == 0 {
		return http.StatusOK, nil
	}
	return c.storeCopy(r, ls, b)
}

// storeCopy stamps a copy until no newer version is in its way.
func (c *Cluster) storeCopy(r *http.Request, ls labels.Labels, b *model.Batch) (int, error) {
	for {
		ref, err := c.local.Intern(ls)
		if err != nil {
			return http.StatusServiceUnavailable, err
		}
		for i := range b.Floats {
			b.Floats[i].Ref = ref
		}
		b.Version = c.clock.Now()
		reply, err := c.storeFresh(r.Context(), b)
		switch {
		case errors.Is(err, ErrUnknownSeries):
			continue
		case errors.Is(err, ErrRefilling):
			return http.StatusServiceUnavailable, err
		case err != nil:
			return http.StatusInternalServerError, err
		case !reply.Stale:
			return http.StatusOK, nil
		case r.Context().Err() != nil:
			return http.StatusServiceUnavailable, r.Context().Err()
		}
		c.clock.Observe(reply.Highest)
	}
}

// parseValue reads a number, or "NaN", "+Inf" and "-Inf" as strings.
func parseValue(raw json.RawMessage) (float64, error) {
	var v *float64
	if err := json.Unmarshal(raw, &v); err == nil && v != nil {
		return *v, nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return 0, fmt.Errorf("value %s is not a number", raw)
	}
	switch s {
	case "NaN":
		return math.NaN(), nil
	case "+Inf":
		return math.Inf(1), nil
	case "-Inf":
		return math.Inf(-1), nil
	}
	return 0, fmt.Errorf("value %q is not a number", s)
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			writeError(w, http.StatusRequestEntityTooLarge, err)
			return nil, false
		}
		writeError(w, http.StatusBadRequest, err)
		return nil, false
	}
	return body, true
}

func writeError(w http.ResponseWriter, code int, err error) {
	writeJSON(w, code, map[string]string{"error": err.Error()})
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		code, text = http.StatusInternalServerError, []byte(`{"error":"the answer could not be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// The client has gone when this fails: nobody is left to tell.
	_, _ = w.Write(append(text, '\n'))
}
