package promql

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/promql"

	"github.com/count-db/count/internal/admission"
)

// queue has n queries wait, one after the other, and returns where they say who was
// served and who was not.
func queue(t *testing.T, s *slots, n int) (served chan int, refused chan error) {
	t.Helper()
	served, refused = make(chan int, n), make(chan error, n)
	for i := range n {
		go func() {
			if err := s.take(t.Context()); err != nil {
				refused <- err
				return
			}
			served <- i
		}()
		synctest.Wait()
	}
	return served, refused
}

func TestSlotsServeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1)
		if err := s.take(t.Context()); err != nil {
			t.Fatal(err)
		}
		served, _ := queue(t, s, 3)
		for want := range 3 {
			if s.give(); <-served != want {
				t.Fatal("not the oldest")
			}
		}
		s.give()
		if s.free != 1 || len(s.waiting) != 0 {
			t.Errorf("%d are free, %d wait", s.free, len(s.waiting))
		}
	})
}

// TestNewestFirstWhereAllWait: once queries wait for long, those that have just come
// are served first, and who has waited too long is told to come again.
func TestNewestFirstWhereAllWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1)
		if err := s.take(t.Context()); err != nil {
			t.Fatal(err)
		}
		served, refused := queue(t, s, 3)
		time.Sleep(2 * crowdedAfter)
		if s.give(); <-served != 2 {
			t.Error("not the newest")
		}
		time.Sleep(longestWait)
		for range 2 {
			var unavailable *admission.UnavailableError
			if err := <-refused; !errors.As(err, &unavailable) {
				t.Errorf("error %v", err)
			}
		}
		if s.give(); s.free != 1 {
			t.Error("a slot is lost")
		}
	})
}

func TestTooManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1)
		if err := s.take(t.Context()); err != nil {
			t.Fatal(err)
		}
		served, refused := queue(t, s, waitingPerSlot+5)
		if len(refused) != 5 || len(s.waiting) != waitingPerSlot {
			t.Errorf("%d are refused, %d wait", len(refused), len(s.waiting))
		}
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() { gone <- s.take(ctx) }()
		synctest.Wait()
		cancel()
		var canceled promql.ErrQueryCanceled
		if err := <-gone; !errors.As(err, &canceled) {
			t.Errorf("error %v", err)
		}
		for range waitingPerSlot - 1 {
			s.give()
			<-served
		}
		if s.give(); s.free != 1 {
			t.Error("a slot is lost")
		}
	})
}
