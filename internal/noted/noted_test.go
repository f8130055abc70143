package noted

import (
	"context"
	"slices"
	"testing"
)

func TestNoted(t *testing.T) {
	Add(context.Background(), []string{"nobody wants it"})
	ctx, w := With(context.Background())
	Add(ctx, []string{"a", "b"})
	Add(ctx, nil)
	Add(ctx, []string{"b"})
	if got := w.Texts(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%q", got)
	}
}
