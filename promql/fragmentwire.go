package promql

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/promql"

	"github.com/count-db/count/internal/wire"
	"github.com/count-db/count/promql/partial"
	"github.com/count-db/count/promql/plan"
)

// fragmentVersion is the version of the form of fragments and their answers; see
// FORMAT.md.
const fragmentVersion = 1

// The flags of a fragment.
const (
	flagStartTimestamps = 1 << iota
	flagDelayedNameRemoval
	flagNoCache
	flagPlain
)

// What an answer holds.
const (
	answerResult    = iota // a partial result
	answerFallback         // why the query must run whole
	answerTooMany          // a limit of samples was passed
	answerCancelled        // somebody ended it on that node
)

// maxQueryText bounds the text of a query in a fragment, bytes: that of the
// request it came with is bounded before.
const maxQueryText = 16 << 20

// ErrFragmentForm says that a fragment or an answer was written by a version of
// Count that this one does not read.
var ErrFragmentForm = errors.New("unknown form of a fragment")

// Append appends the form on the wire.
func (f *Fragment) Append(dst []byte) []byte {
	flags := byte(0)
	if f.UseStartTimestamps {
		flags |= flagStartTimestamps
	}
	if f.DelayedNameRemoval {
		flags |= flagDelayedNameRemoval
	}
	if f.NoCache {
		flags |= flagNoCache
	}
	if f.Plain {
		flags |= flagPlain
	}
	start := len(dst)
	dst = append(wire.BeginFrame(dst), fragmentVersion, flags)
	for _, v := range []int64{f.Start, f.End, f.Step, f.LookbackMs, f.SubqueryStepMs, f.MaxSamples} {
		dst = wire.AppendVarint(dst, v)
	}
	dst = wire.AppendUvarint(dst, uint64(f.Node))
	dst = wire.AppendString(dst, f.Query)
	return wire.EndFrame(dst, start, 0)
}

// DecodeFragment reads a fragment from the wire. Errors wrap wire.ErrCorrupt or
// ErrFragmentForm.
func DecodeFragment(data []byte) (Fragment, error) {
	var f Fragment
	outer := wire.NewDecoder(data)
	d := wire.NewDecoder(outer.Frame(0))
	if err := outer.Err(); err != nil {
		return f, fmt.Errorf("fragment: %w", err)
	}
	if v := d.Byte(); v != fragmentVersion {
		return f, fmt.Errorf("%w: version %d", ErrFragmentForm, v)
	}
	flags := d.Byte()
	if flags > flagStartTimestamps|flagDelayedNameRemoval|flagNoCache|flagPlain {
		return f, fmt.Errorf("%w: flags %d", ErrFragmentForm, flags)
	}
	f.UseStartTimestamps, f.DelayedNameRemoval = flags&flagStartTimestamps != 0, flags&flagDelayedNameRemoval != 0
	f.NoCache, f.Plain = flags&flagNoCache != 0, flags&flagPlain != 0
	for _, v := range []*int64{&f.Start, &f.End, &f.Step, &f.LookbackMs, &f.SubqueryStepMs, &f.MaxSamples} {
		*v = d.Varint()
	}
	f.Node = int(d.Uint32Varint())
	if f.Query = d.String(); len(f.Query) > maxQueryText {
		d.Fail("query of %d bytes", len(f.Query))
	}
	if d.Err() == nil && d.Len()+outer.Len() > 0 {
		d.Fail("%d bytes behind a fragment", d.Len()+outer.Len())
	}
	if err := d.Err(); err != nil {
		return Fragment{}, fmt.Errorf("fragment: %w", err)
	}
	return f, nil
}

// AnswerFragment computes a fragment that came over the wire, as RunFragment
// does, or finds the series of a Listing, and returns the answer for the asking
// node. An error means that another node may do better.
func (e *Engine) AnswerFragment(ctx context.Context, s Store, fragment []byte) ([]byte, error) {
	if isListing(fragment) {
		return answerListing(ctx, s, fragment)
	}
	f, err := DecodeFragment(fragment)
	if err != nil {
		return nil, err
	}
	result, _, err := e.RunFragment(ctx, s, f)
	var tooMany promql.ErrTooManySamples
	switch {
	case err == nil:
		return result.Append([]byte{fragmentVersion, answerResult}, f.Query), nil
	case errors.Is(err, partial.ErrFallback):
		return append([]byte{fragmentVersion, answerFallback}, err.Error()...), nil
	case errors.As(err, &tooMany):
		return append([]byte{fragmentVersion, answerTooMany}, string(tooMany)...), nil
	case errors.Is(err, context.Canceled) && ctx.Err() == nil:
		return []byte{fragmentVersion, answerCancelled}, nil
	}
	return nil, err
}

// GivenUp returns the answer that ends the query of a fragment because this node
// gave it up, as one that would hold too many samples in what text names; false for
// a Listing, which has no such answer.
func GivenUp(fragment []byte, text string) ([]byte, bool) {
	if isListing(fragment) {
		return nil, false
	}
	return append([]byte{fragmentVersion, answerTooMany}, text...), true
}

// DecodeAnswer reads what AnswerFragment returned for a part: its result, or the
// error that ends the query. ErrAnswer is wrapped by errors that say that the
// answer itself is of no use.
func DecodeAnswer(p plan.Part, answer []byte) (*partial.Result, error) {
	if len(answer) < 2 || answer[0] != fragmentVersion {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, ErrFragmentForm)
	}
	body := answer[2:]
	switch answer[1] {
	case answerResult:
		r, err := partial.Decode(p.Program, p.Grid, body)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
		}
		return r, nil
	case answerFallback:
		return nil, fmt.Errorf("%w: on another node: %s", partial.ErrFallback, body)
	case answerTooMany:
		return nil, promql.ErrTooManySamples(body)
	case answerCancelled:
		return nil, promql.ErrQueryCanceled("query execution")
	}
	return nil, fmt.Errorf("%w: kind %d", ErrAnswer, answer[1])
}

// ErrAnswer says that the answer to a fragment cannot be read.
var ErrAnswer = errors.New("answer to a fragment")
