package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/count-db/count/cluster/rebalance"
	"github.com/count-db/count/cluster/ring"
)

// changeAnswer is what the requests that change the ring answer.
type changeAnswer struct {
	NodeID ring.NodeID `json:"node_id"`
	Ring   uint64      `json:"ring"` // in force now
	Status string      `json:"status"`
}

// LeaveHandler takes POST /cluster/leave: it answers 200 when this node is
// drained and its membership has ended.
func (c *Cluster) LeaveHandler() http.Handler {
	return c.changeHandler("left", func(ctx context.Context, _ *http.Request) error { return c.Leave(ctx) })
}

// RemoveHandler takes POST /cluster/remove?node=ID: it answers 200 when the
// removal of a dead member is agreed on; /cluster/status says how far it is.
func (c *Cluster) RemoveHandler() http.Handler {
	return c.changeHandler("removing", func(ctx context.Context, r *http.Request) error {
		id, err := strconv.ParseUint(r.FormValue("node"), 10, 64)
		if err != nil || id == 0 {
			return fmt.Errorf("%w: the parameter node must be the id of a member", errBadRequest)
		}
		return c.Change(ctx, rebalance.Request{Kind: rebalance.Remove, Node: ring.NodeID(id)})
	})
}

// AbortHandler takes POST /cluster/abort: it answers 200 when the change of the
// ring that was under way is taken back.
func (c *Cluster) AbortHandler() http.Handler {
	return c.changeHandler("taken back", func(ctx context.Context, _ *http.Request) error { return c.AbortChange(ctx) })
}

var errBadRequest = errors.New("bad request")

func (c *Cluster) changeHandler(status string, do func(context.Context, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := do(r.Context(), r); err != nil {
			code := changeCode(err)
			if code == http.StatusServiceUnavailable {
				w.Header().Set("Retry-After", "1")
			}
			writeError(w, code, err)
			return
		}
		a := changeAnswer{NodeID: c.opts.Node, Status: status}
		if t := c.topo.Load(); t != nil {
			a.Ring = t.ring.Number()
		}
		writeJSON(w, http.StatusOK, a)
	})
}

func changeCode(err error) int {
	switch {
	case errors.Is(err, errBadRequest):
		return http.StatusBadRequest
	case errors.Is(err, rebalance.ErrChanging), errors.Is(err, rebalance.ErrDone), errors.Is(err, rebalance.ErrRefused):
		return http.StatusConflict
	}
	return http.StatusServiceUnavailable
}
