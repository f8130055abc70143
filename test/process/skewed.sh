#!/bin/sh
# skewed.sh OUT: builds count with a time package whose clock is COUNT_TEST_CLOCK_SKEW seconds
# off, for tests of nodes whose clocks differ. Nothing of Count's own code is changed: Go's compiler
# reads time.Now from an overlay. All packages are compiled anew the first time. Exit code 77 says
# that the overlay does not fit this version of Go.
set -eu
out=$1
root=$(go env GOROOT)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
sed 's/^\tsec, nsec, mono := runtimeNow()$/&\n\tsec += testSkew/' "$root/src/time/time.go" >"$dir/time.go"
grep -q testSkew "$dir/time.go" || { echo "time.Now of this Go is not as this script knows it" >&2; exit 77; }
cat >"$dir/skew.go" <<'GO'
package time

import "syscall"

// testSkew is how many seconds the wall clock is off.
var testSkew = func() int64 {
	text, _ := syscall.Getenv("COUNT_TEST_CLOCK_SKEW")
	skew, sign := int64(0), int64(1)
	for _, c := range text {
		if c == '-' {
			sign = -1
			continue
		}
		skew = 10*skew + int64(c-'0')
	}
	return sign * skew
}()
GO
printf '{"Replace":{"%s":"%s","%s":"%s"}}' "$root/src/time/time.go" "$dir/time.go" "$root/src/time/testskew.go" "$dir/skew.go" >"$dir/overlay.json"
go build -overlay "$dir/overlay.json" -o "$out" github.com/count-db/count/cmd/count
