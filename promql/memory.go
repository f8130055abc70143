package promql

import (
	"fmt"
	"runtime/metrics"
	"time"

	"github.com/prometheus/prometheus/promql"

	"github.com/count-db/count/internal/admission"
)

const (
	// crowdedShare of the memory in use, and queries are taken no more; of those that
	// run the newest is ended until there is room again.
	crowdedShare = 0.7
	// answerShare of the memory is the most that an answer may take.
	answerShare = 0.4
	// relieveEvery is how often the memory is looked at while queries run.
	relieveEvery = 50 * time.Millisecond
	// newQuery is the age below which a query is not ended: most are over before.
	newQuery = 100 * time.Millisecond
	// answerPoint and answerSeries are about what a point and a series of a result
	// take, and their text.
	answerPoint  = 16 + 36
	answerSeries = 400
)

// memoryWatch keeps queries from using all memory. A nil one watches nothing.
type memoryWatch struct {
	limit int64
	inUse func() int64 // bytes
}

// newMemoryWatch watches a process that may use limit bytes; nil for 0.
func newMemoryWatch(limit int64) *memoryWatch {
	if limit <= 0 {
		return nil
	}
	return &memoryWatch{limit: limit, inUse: heapInUse}
}

// heapInUse is what was in use at the last collection. What was allocated since may
// be garbage.
func heapInUse() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return int64(sample[0].Value.Uint64())
}

func (m *memoryWatch) crowded() bool {
	return m != nil && float64(m.inUse()) > crowdedShare*float64(m.limit)
}

// errMemory is the answer to a query for which there is no room at present.
func errMemory() error {
	return &admission.UnavailableError{Reason: "too many queries: together they need more memory than there is"}
}

// answerable says whether a result can be written as an answer.
func (m *memoryWatch) answerable(res *promql.Result) error {
	if m == nil || res.Err != nil {
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
	if float64(need) > answerShare*float64(m.limit) {
		return fmt.Errorf("the answer needs about %d MiB of memory, of %d MiB that there are: ask for fewer series, or for longer steps", need>>20, m.limit>>20)
	}
	if need > 1<<20 && m.crowded() {
		return errMemory()
	}
	return nil
}
