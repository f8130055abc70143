package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
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

// ReplicationFactorHandler takes POST /cluster/replication-factor?factor=N: it
// answers 200 when the change is agreed on; /cluster/status says how far it is.
func (c *Cluster) ReplicationFactorHandler() http.Handler {
	return c.changeHandler("changing", func(ctx context.Context, r *http.Request) error {
		rf, err := strconv.Atoi(r.FormValue("factor"))
		if err != nil || rf < 1 || rf > rebalance.MaxCopies {
			return fmt.Errorf("%w: the parameter factor must be the number of copies, 1 to %d", errBadRequest, rebalance.MaxCopies)
		}
		return c.Change(ctx, rebalance.Request{Kind: rebalance.Copies, RF: rf})
	})
}

// AbortHandler takes POST /cluster/abort: it answers 200 when the change of the
// ring that was under way is taken back.
func (c *Cluster) AbortHandler() http.Handler {
	return c.changeHandler("taken back", func(ctx context.Context, _ *http.Request) error { return c.AbortChange(ctx) })
}

// PauseHandler takes POST /cluster/pause and POST /cluster/resume: it answers 200
// when the members in sight know that the copying of the change under way rests,
// or goes on.
func (c *Cluster) PauseHandler(paused bool) http.Handler {
	status := "copying goes on"
	if paused {
		status = "paused"
	}
	return c.changeHandler(status, func(ctx context.Context, _ *http.Request) error { return c.PauseChange(ctx, paused) })
}

// RecoverHandler takes POST /cluster/recover?force=true: it founds the next ring
// from the members that are reached, when a majority is lost for good.
func (c *Cluster) RecoverHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if force, err := strconv.ParseBool(r.FormValue("force")); err != nil || !force {
			writeError(w, http.StatusBadRequest, errors.New("this may lose acknowledged writes: say force=true"))
			return
		}
		out, err := c.Recover(r.Context())
		if err != nil {
			writeError(w, changeCode(err), err)
			return
		}
		writeJSON(w, http.StatusOK, out)
	})
}

// RepairHandler takes /cluster/repair: GET says where the slow cycle of
// comparisons stands; POST compares a range of time (start and end in ms, both
// optional) with all members now and makes them equal, with dry_run=true it only
// says what differs.
func (c *Cluster) RepairHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			writeJSON(w, http.StatusOK, c.RepairStatus())
			return
		}
		mint, errStart := timeParam(r, "start", 0)
		maxt, errEnd := timeParam(r, "end", math.MaxInt64)
		dry, errDry := strconv.ParseBool(cmp.Or(r.FormValue("dry_run"), "false"))
		err := errors.Join(errStart, errEnd, errDry)
		if err == nil && mint > maxt {
			err = fmt.Errorf("start %d is behind end %d", mint, maxt)
		}
		if err != nil {
			writeError(w, http.StatusBadRequest, err)
			return
		}
		out, err := c.Repair(r.Context(), mint, maxt, dry)
		if err != nil {
			writeError(w, changeCode(err), err)
			return
		}
		writeJSON(w, http.StatusOK, map[string]any{"node_id": c.opts.Node, "dry_run": dry, "with": out})
	})
}

func timeParam(r *http.Request, name string, otherwise int64) (int64, error) {
	text := r.FormValue(name)
	if text == "" {
		return otherwise, nil
	}
	t, err := strconv.ParseInt(text, 10, 64)
	if err != nil || t < 0 {
		return 0, fmt.Errorf("parameter %s must be a time in ms", name)
	}
	return t, nil
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
	case errors.Is(err, rebalance.ErrChanging), errors.Is(err, rebalance.ErrDone), errors.Is(err, rebalance.ErrRefused), errors.Is(err, errTakenBack):
		return http.StatusConflict
	}
	return http.StatusServiceUnavailable
}
