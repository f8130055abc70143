package plan

import (
	"fmt"
	"strings"
)

// String shows the plan to people.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "remainder  %s\n", p.Remainder)
	for i, part := range p.Parts {
		once := ""
		if part.Once {
			once = ", once for all steps"
		}
		fmt.Fprintf(&b, "part %d     node %d%s: %s\n", i, part.Node, once, part.Text)
		for _, leaf := range part.Leaves {
			fmt.Fprintf(&b, "  leaf     node %d: %s\n", leaf.Node, leaf.Text)
		}
	}
	for _, left := range p.Left {
		fmt.Fprintf(&b, "left       %s: %s\n", left.Text, left.Reason)
	}
	return b.String()
}
