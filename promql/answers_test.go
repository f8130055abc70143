package promql

import (
	"testing"

	"github.com/prometheus/prometheus/promql"
)

func TestAnswersFitIntoMemory(t *testing.T) {
	result := func(points int) *promql.Result {
		return &promql.Result{Value: promql.Matrix{{Floats: make([]promql.FPoint, points)}}}
	}
	if err := answerable(result(10_000), 10<<20); err != nil {
		t.Error(err)
	}
	if err := answerable(result(1_000_000), 10<<20); err == nil {
		t.Error("a result that never fits is taken")
	}
	if err := answerable(result(1_000_000), 0); err != nil {
		t.Errorf("with memory that is not known: %v", err)
	}
}
