package promql

import (
	"errors"
	"testing"

	"github.com/prometheus/prometheus/promql"

	"github.com/count-db/count/internal/admission"
)

func TestAnswersFitIntoMemory(t *testing.T) {
	result := func(points int) *promql.Result {
		return &promql.Result{Value: promql.Matrix{{Floats: make([]promql.FPoint, points)}}}
	}
	a := newAnswers(10 << 20)
	small, err := a.take(result(50_000))
	if err != nil || small == 0 {
		t.Fatal(small, err)
	}
	var later *admission.UnavailableError
	if _, err := a.take(result(1_000_000)); err == nil || errors.As(err, &later) {
		t.Errorf("a result that never fits: %v", err)
	}
	if _, err := a.take(result(50_000)); !errors.As(err, &later) {
		t.Errorf("beside another: %v", err)
	}
	a.give(small)
	if _, err := a.take(result(50_000)); err != nil {
		t.Error(err)
	}
	if _, err := newAnswers(0).take(result(1_000_000)); err != nil {
		t.Errorf("with memory that is not known: %v", err)
	}
}
