package promql

import (
	"fmt"

	"github.com/prometheus/prometheus/promql"
)

const (
	// answerShare of the memory is the most that a result and its text may take.
	answerShare = 0.4
	// answerPoint and answerSeries are about what a point and a series of a result
	// take, and their text, bytes.
	answerPoint  = 16 + 36
	answerSeries = 400
)

// answerable refuses a result that cannot be written as an answer within the
// memory, 0 = unknown: encoding takes it at once, before anything can end it.
func answerable(res *promql.Result, memory int64) error {
	if memory <= 0 || res.Err != nil {
		return res.Err
	}
	need := int64(0)
	switch v := res.Value.(type) {
	case promql.Matrix:
		for i := range v {
			need += answerSeries + answerPoint*int64(len(v[i].Floats))
		}
	case promql.Vector:
		need = int64(len(v)) * (answerSeries + answerPoint)
	}
	if float64(need) > answerShare*float64(memory) {
		return fmt.Errorf("the answer needs about %d MiB of memory, of %d MiB that there are: ask for fewer series, or for longer steps", need>>20, memory>>20)
	}
	return nil
}
