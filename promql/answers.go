package promql

import (
	"fmt"

	"github.com/prometheus/prometheus/promql"
	"golang.org/x/sync/semaphore"

	"github.com/count-db/count/internal/admission"
)

const (
	// answerShare of the memory is the most that results and their text may take.
	answerShare = 0.4
	// answerPoint and answerSeries are about what a point and a series of a result
	// take, and their text, bytes.
	answerPoint  = 16 + 36
	answerSeries = 400
	// answerHistogram is the same of a histogram.
	answerHistogram = 2000
)

// answers is the memory for results from their end until they are written:
// encoding takes it at once, before anything can end it.
type answers struct {
	total int64 // bytes; 0: not bounded
	free  *semaphore.Weighted
}

func newAnswers(memory int64) *answers {
	total := int64(answerShare * float64(memory))
	return &answers{total: total, free: semaphore.NewWeighted(total)}
}

// take takes the memory of a result, which the caller gives back, or says why it
// must be refused: alone, or for now.
func (a *answers) take(res *promql.Result) (taken int64, err error) {
	need := answerBytes(res)
	switch {
	case a.total == 0 || need == 0:
		return 0, nil
	case need > a.total:
		return 0, fmt.Errorf("the answer needs about %d MiB of memory, of %d MiB that there are for answers: ask for fewer series, or for longer steps", need>>20, a.total>>20)
	case !a.free.TryAcquire(need):
		return 0, &admission.UnavailableError{Reason: fmt.Sprintf("the answer needs about %d MiB of memory, and other answers take that now", need>>20)}
	}
	return need, nil
}

func (a *answers) give(taken int64) {
	if taken > 0 {
		a.free.Release(taken)
	}
}

// answerBytes is about what a result and its text take.
func answerBytes(res *promql.Result) (need int64) {
	if res.Err != nil {
		return 0
	}
	switch v := res.Value.(type) {
	case promql.Matrix:
		for i := range v {
			need += answerSeries + answerPoint*int64(len(v[i].Floats)) + answerHistogram*int64(len(v[i].Histograms))
		}
	case promql.Vector:
		need = int64(len(v)) * (answerSeries + answerPoint)
	}
	return need
}
