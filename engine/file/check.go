package file

import (
	"fmt"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// Check reads all of the file, decodes it and compares it with what its tail
// says. It costs about what a query of everything does. Not checked: that
// series are in the order of their labels, which only the registry knows.
func (r *Reader) Check() error {
	c := r.Cursor()
	defer c.Release()
	sum := Info{Kind: r.info.Kind, Series: r.Len(), Bytes: r.info.Bytes}
	for i := range r.Len() {
		chunks, err := c.Load(i)
		if err != nil {
			return err
		}
		seen := map[int64]bool{}
		for j := range chunks {
			if err := c.check(&chunks[j]); err != nil {
				return fmt.Errorf("series %d of %s: %w", i, r.Name(), err)
			}
			sum.add(&chunks[j], !seen[chunks[j].Window])
			seen[chunks[j].Window] = true
		}
	}
	if got, want := fmt.Sprint(sum), fmt.Sprint(r.info); got != want {
		return fmt.Errorf("%s: %w", r.Name(), wire.Corruptf("content is %s, the tail says %s", got, want))
	}
	return nil
}

// check decodes a chunk and its columns.
func (c *Cursor) check(chunk *Chunk) error {
	if chunk.Content == Histograms {
		_, err := c.Histograms(nil, chunk)
		return err
	}
	ts, err := c.Times(chunk)
	if err != nil {
		return err
	}
	for i := 1; i < len(ts); i++ {
		if ts[i] <= ts[i-1] {
			return wire.Corruptf("timestamp %d behind %d", ts[i], ts[i-1])
		}
	}
	if _, err := c.STs(chunk); err != nil {
		return err
	}
	if _, err := c.AppendVersions([]model.Version(nil), chunk); err != nil {
		return err
	}
	_, err = c.Floats(nil, chunk)
	return err
}
