package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/count-db/count/internal/backup"
)

// members returns what the backup says of the cluster, and the nodes to take.
func (b *backupCall) members(ctx context.Context) (about backup.Manifest, remotes []*backup.Remote, err error) {
	about, members, err := b.ring(ctx)
	if err != nil {
		return about, nil, err
	}
	scheme, _, _ := strings.Cut(b.node.base, "://") // of all nodes, if it is that of one
	add := func(id uint64, address string) error {
		base, _, err := b.at.base(address, scheme)
		if err == nil {
			remotes = append(remotes, &backup.Remote{URL: base, Node: id, Secret: b.node.secret, Client: b.node.http})
		}
		return err
	}
	if b.nodes != nil {
		for _, address := range b.nodes {
			if err := add(0, address); err != nil {
				return about, nil, err
			}
		}
		return about, remotes, nil
	}
	if len(members) == 1 {
		// It is the node that was asked: it may be known by another address here.
		return about, remotes, add(members[0].ID, b.node.base)
	}
	for _, m := range members {
		if !m.InSight {
			if !b.opts.SkipUnreachable {
				return about, nil, fmt.Errorf("node %d (%s) cannot be reached: without it the backup needs --skip-unreachable", m.ID, m.Address)
			}
			about.Missing = append(about.Missing, m.ID)
			continue
		}
		if err := add(m.ID, m.Address); err != nil {
			return about, nil, err
		}
	}
	return about, remotes, nil
}

// ringMember is a member as GET /cluster/ring tells it.
type ringMember struct {
	ID      uint64 `json:"id"`
	Address string `json:"address"`
	InSight bool   `json:"in_sight"`
}

func (b *backupCall) ring(ctx context.Context) (about backup.Manifest, members []ringMember, err error) {
	var status clusterStatus
	var ring struct {
		Members []ringMember `json:"members"`
	}
	for path, to := range map[string]any{"/cluster/status": &status, "/cluster/ring": &ring} {
		answer, err := b.node.do(ctx, "GET", path, "", nil)
		if err != nil {
			return about, nil, err
		}
		if err := json.Unmarshal(answer, to); err != nil {
			return about, nil, fmt.Errorf("%w: %w", errAnswer, err)
		}
	}
	about = backup.Manifest{Cluster: status.Cluster, Ring: status.Ring, Copies: uint64(max(status.ReplicationFactor, 0)), Quorum: uint64(max(status.WriteQuorum, 0))}
	slices.SortFunc(ring.Members, func(a, b ringMember) int { return int(min(max(int64(a.ID)-int64(b.ID), -1), 1)) })
	return about, ring.Members, nil
}
