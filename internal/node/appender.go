package node

import (
	"context"
	"errors"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/caller"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/node/storage"
)

// localAppender is the write path of a node without others: straight into its
// own storage, which stamps the batch.
type localAppender struct{ db *engine.DB }

// errGivenUp answers, if anybody, the client that did not wait: it may have
// written something newer since.
var errGivenUp = &admission.UnavailableError{Reason: "the client has given the request up"}

// Append implements ingest.Appender.
func (a *localAppender) Append(ctx context.Context, b *model.Batch) error {
	if a.db.Versioned() {
		// The data of a node that was one of a cluster. Its own clock is above all
		// versions there are, so that nothing is stale.
		b.Version = a.db.Clock().Now()
	}
	if caller.GaveUp(ctx) {
		return errGivenUp
	}
	_, err := a.db.Append(ctx, b, engine.AppendOptions{})
	return storage.AdmissionError(err)
}

// unavailable reports whether an error of a read says that it may work another
// time or at another node.
func unavailable(err error) bool {
	var notNow *admission.UnavailableError
	return errors.Is(err, engine.ErrClosed) || errors.As(err, &notNow)
}
