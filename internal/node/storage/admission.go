package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/engine/registry"
	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/model"
)

// forgottenRetry is when a sender may come back whose series had to be looked
// up anew.
const forgottenRetry = time.Second

// diskFullRetry is when a sender may come back to a node whose disk is nearly
// full: somebody or the retention has to make room first.
const diskFullRetry = 10 * time.Second

// AdmissionError says in the words of the entrances what the storage answered
// to a write.
func AdmissionError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, registry.ErrUnknownRef):
		return &admission.UnavailableError{Reason: "a series was just retired from memory: send the request again", RetryAfter: forgottenRetry}
	case errors.Is(err, engine.ErrOverloaded):
		return fmt.Errorf("%w: %w", admission.ErrOverloaded, err)
	case errors.Is(err, engine.ErrDiskFull):
		return &admission.UnavailableError{Reason: err.Error(), RetryAfter: diskFullRetry}
	case errors.Is(err, engine.ErrTooLarge):
		return fmt.Errorf("%w: %w", admission.ErrTooLarge, err)
	case errors.Is(err, engine.ErrClosed):
		return &admission.UnavailableError{Reason: "the node is stopping"}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return fmt.Errorf("%w: %w", admission.ErrStorage, err)
}

// Interner gives the entrances the references of series.
type Interner struct{ DB *engine.DB }

// Intern implements the resolvers of the entrances.
func (i Interner) Intern(ls labels.Labels) (model.Ref, error) {
	ref, err := i.DB.Intern(ls)
	if errors.Is(err, registry.ErrLimit) || errors.Is(err, engine.ErrSeriesLimit) {
		return 0, &admission.Rejection{Reason: admission.SeriesLimit, Detail: fmt.Sprintf("series %s is new, and the limit of series in memory (MAX_SERIES) is reached", admission.Describe(ls))}
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %w", admission.ErrStorage, err)
	}
	return ref, nil
}
