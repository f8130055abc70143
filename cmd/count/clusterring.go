package main

import (
	"context"
	"fmt"
	"net/url"
	"text/tabwriter"
)

// clusterRing is what GET /cluster/ring answers.
type clusterRing struct {
	Ring              uint64 `json:"ring"`
	ReplicationFactor int    `json:"replication_factor"`
	WriteQuorum       int    `json:"write_quorum"`
	Members           []struct {
		ID      uint64  `json:"id"`
		Address string  `json:"address"`
		Zone    string  `json:"zone"`
		InSight bool    `json:"in_sight"`
		Share   float64 `json:"share"`
	} `json:"members"`
	Series *struct {
		Series   string   `json:"series"`
		Position string   `json:"position"`
		Owners   []uint64 `json:"owners"`
		StandIns []uint64 `json:"stand_ins"`
	} `json:"series"`
}

// showRing prints the ring in force or, where a series is named, who holds it.
func showRing(ctx context.Context, c call, node *client, series string, raw bool) error {
	path := "/cluster/ring"
	if series != "" {
		path += "?series=" + url.QueryEscape(series)
	}
	answer, err := node.do(ctx, "GET", path, "", nil)
	if err != nil {
		return err
	}
	var r clusterRing
	if shown, err := showRaw(c, answer, raw, &r); shown || err != nil {
		return err
	}
	if s := r.Series; s != nil {
		_, err := fmt.Fprintf(c.stdout, "%s at %s: owners %v, stand-ins %v\n", s.Series, s.Position, s.Owners, s.StandIns)
		return err
	}
	fmt.Fprintf(c.stdout, "ring %d, %d copies of which %d acknowledge\n", r.Ring, r.ReplicationFactor, r.WriteQuorum)
	table := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "\nNODE\tADDRESS\tIN SIGHT\tOWNS\tZONE")
	for _, m := range r.Members {
		fmt.Fprintf(table, "%d\t%s\t%v\t%.1f %%\t%s\n", m.ID, m.Address, m.InSight, 100*m.Share, m.Zone)
	}
	return table.Flush()
}
