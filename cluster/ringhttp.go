package cluster

import (
	"fmt"
	"net/http"

	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/internal/model"
)

// ringView is what GET /cluster/ring answers.
type ringView struct {
	Ring              uint64       `json:"ring"`
	ClusterID         string       `json:"cluster_id"`
	ReplicationFactor int          `json:"replication_factor"`
	WriteQuorum       int          `json:"write_quorum"`
	Members           []ringMember `json:"members"`
	// Series is set where one was asked for.
	Series *seriesPlace `json:"series,omitempty"`
	// Plan is set where a change was asked about.
	Plan *ringPlan `json:"plan,omitempty"`
}

// ringMember is a member and how much it owns.
type ringMember struct {
	ID      ring.NodeID `json:"id"`
	Address string      `json:"address"`
	Zone    string      `json:"zone,omitempty"`
	InSight bool        `json:"in_sight"`
	Share   float64     `json:"share"` // part of all series that it owns, 0 to 1
}

// seriesPlace says who holds a series.
type seriesPlace struct {
	Series   string        `json:"series"`   // its key
	ID       string        `json:"id"`       // its SeriesID
	Position string        `json:"position"` // on the ring, hexadecimal
	Owners   []ring.NodeID `json:"owners"`   // clockwise
	StandIns []ring.NodeID `json:"stand_ins"`
}

// RingHandler answers GET /cluster/ring: the ring in force and, with
// ?series=KEY, who holds that series; with ?join=ID or ?leave=ID, what that would move.
func (c *Cluster) RingHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := c.topo.Load()
		if t == nil {
			w.Header().Set("Retry-After", "1")
			writeError(w, http.StatusServiceUnavailable, c.notFounded())
			return
		}
		v := c.describeRing(t)
		if key := r.URL.Query().Get("series"); key != "" {
			ls, err := model.ParseSeriesKey(key)
			if err != nil {
				writeError(w, http.StatusBadRequest, fmt.Errorf("series: %w", err))
				return
			}
			id := model.SeriesIDOf(ls)
			owners := t.ring.Owners(nil, id.Token())
			v.Series = &seriesPlace{
				Series: model.SeriesKey(ls), ID: id.String(), Position: fmt.Sprintf("%016x", id.Token()),
				Owners: owners, StandIns: t.ring.Candidates([]ring.NodeID{}, id.Token())[len(owners):],
			}
		}
		wish, err := plannedChange(r)
		if err == nil && wish != nil {
			v.Plan, err = c.planChange(t, *wish)
		}
		if err != nil {
			writeError(w, changeCode(err), err)
			return
		}
		writeJSON(w, http.StatusOK, v)
	})
}

func (c *Cluster) describeRing(t *topology) ringView {
	v := ringView{Ring: t.ring.Number(), ClusterID: t.record.ClusterID, ReplicationFactor: t.record.RF}
	v.WriteQuorum, _ = ring.Quorum(t.record.RF, len(t.record.Members))
	shares := t.ring.Shares()
	for _, n := range c.Nodes() {
		if n.InRing {
			v.Members = append(v.Members, ringMember{ID: n.ID, Address: n.Address, Zone: n.Zone, InSight: n.Up, Share: shares[n.ID]})
		}
	}
	return v
}
