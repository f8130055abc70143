package transfer

import (
	"context"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/interchange"
)

// Selection is what to export.
type Selection struct {
	Matchers   []*labels.Matcher // none: everything
	MinT, MaxT int64             // ms, inclusive
}

// selector returns the matchers as PromQL, "" for none.
func (s *Selection) selector() string {
	if len(s.Matchers) == 0 {
		return ""
	}
	texts := make([]string, 0, len(s.Matchers))
	for _, m := range s.Matchers {
		texts = append(texts, m.String())
	}
	return "{" + strings.Join(texts, ",") + "}"
}

// Export writes the selected samples, metric by metric, series by series.
// namesDone is told how many of all metrics are through; may be nil.
func Export(ctx context.Context, n *Node, sel Selection, w interchange.Writer, p *Progress, namesDone func(done, all int)) error {
	names, err := n.Values(ctx, labels.MetricName, sel.MinT, sel.MaxT, sel.selector())
	if err != nil {
		return err
	}
	// Series without a name are no metric; their matcher is the empty name.
	if !slices.Contains(names, "") {
		names = append(names, "")
	}
	for i, name := range names {
		if namesDone != nil {
			namesDone(i, len(names))
		}
		ms := append(slices.Clone(sel.Matchers), &labels.Matcher{Type: labels.MatchEqual, Name: labels.MetricName, Value: name})
		err := n.Read(ctx, sel.MinT, sel.MaxT, ms, func(s *interchange.Series) error {
			p.Samples.Add(uint64(s.Samples()))
			return w.Write(s)
		})
		if err != nil {
			return err
		}
	}
	if namesDone != nil {
		namesDone(len(names), len(names))
	}
	return nil
}
