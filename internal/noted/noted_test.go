package noted

import (
	"context"
	"errors"
	"io"
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
	Fail(context.Background(), io.EOF)
	Fail(ctx, nil)
	if err := w.Err(); err != nil {
		t.Error(err)
	}
	Fail(ctx, io.EOF)
	if err := w.Err(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}
