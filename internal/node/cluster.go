package node

import (
	"context"
	"errors"

	"github.com/count-db/count/cluster"
	"github.com/count-db/count/engine/registry"
	"github.com/count-db/count/ingest"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/node/storage"
)

// appender is the write path below the pipeline.
func (p *parts) appender() ingest.Appender {
	if !p.clustered {
		return &localAppender{db: p.db}
	}
	return clusterAppender{p.cluster}
}

// clusterAppender writes through the cluster.
type clusterAppender struct{ c *cluster.Cluster }

// Append implements ingest.Appender.
func (a clusterAppender) Append(ctx context.Context, b *model.Batch) error {
	err := a.c.Append(ctx, b)
	if errors.Is(err, cluster.ErrUnknownSeries) {
		return storage.AdmissionError(registry.ErrUnknownRef)
	}
	return err
}
