//go:build invariants || race

package invariants

import "fmt"

// Enabled says whether this build checks invariants: guard checks that cost
// something to compute with it.
const Enabled = true

// Check panics with the message when the condition does not hold.
func Check(cond bool, format string, args ...any) {
	if !cond {
		panic("invariant violated: " + fmt.Sprintf(format, args...))
	}
}

// Mangle overwrites a buffer whose content must not be used any longer, so that
// whoever kept it fails loudly.
func Mangle(buf []byte) {
	for i := range buf {
		buf[i] = 0xcc
	}
}
