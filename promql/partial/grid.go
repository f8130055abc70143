package partial

// Grid is the steps that a query is evaluated at, ms: Start, Start+Step, ... up
// to End. Step is above 0.
type Grid struct {
	Start, End, Step int64
}

// Len returns the number of steps.
func (g Grid) Len() int { return int((g.End-g.Start)/g.Step) + 1 }

// At returns the time of step k.
func (g Grid) At(k int) int64 { return g.Start + int64(k)*g.Step }
