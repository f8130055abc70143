package plan

// guard says how far a function looks at the selectors of its arguments instead
// of their values.
type guard uint8

const (
	guardNone     guard = iota
	guardArgument       // at the argument itself: a placeholder may stand only below
	guardTree           // anywhere below
)

func guardOf(function string) guard {
	switch function {
	case "absent", "absent_over_time", "timestamp", "start_timestamp":
		return guardArgument
	case "info":
		// It joins at the times of the selectors.
		return guardTree
	default:
		return guardNone
	}
}
