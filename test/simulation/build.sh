#!/bin/sh
# build.sh OUT: builds the tests of cluster/ so that a simulated life is the same each
# time it is lived. Nothing of Count's own code is changed: Go's compiler reads some
# files of the runtime from an overlay. In it
#
#   - all that the runtime draws by chance inside a bubble of testing/synctest (which
#     case of a select, where the walk of a map begins, the order of timers that are
#     due together) comes from one generator, seeded with COUNT_SEED;
#   - the same generator says which of the goroutines that are ready runs next, more
#     or less at random, as the seed has it;
#   - nothing follows the real clock: there is no sysmon, which preempts goroutines
#     and takes processors back, and no mutex that counts how long it was waited for;
#   - the heap and the hashes of maps begin the same in every process.
#
# A process must live one life only, with GOMAXPROCS=1 and GOGC=off, for pointers are
# hashed too: simulate.sh sees to it. All packages are compiled anew the first time.
# Exit code 77: this Go's runtime is not as this script knows it.
set -eu
out=$1
root=$(go env GOROOT)/src
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
overlay=

replace() { # file, expression of sed, how many lines it must change
	copy=$dir/$(echo "$1" | tr / _)
	[ -e "$copy" ] || { cp "$root/$1" "$copy" && overlay="$overlay\"$root/$1\":\"$copy\","; }
	sed "$2" "$copy" >"$copy.new"
	changed=$(diff "$copy" "$copy.new" | grep -c '^>' || true)
	mv "$copy.new" "$copy"
	[ "$changed" = "$3" ] || { echo "the runtime of $(go env GOVERSION) is not as $0 knows it: $1, $2" >&2; exit 77; }
}

replace runtime/synctest.go 's/^\tbubble\.now = synctestBaseTime$/&\n\tsimBegin()/' 1
replace runtime/synctest.go 's/^\t\tgp\.bubble = nil$/&; simEnd()/' 2
replace runtime/select.go 's/:= cheaprandn(uint32(norder + 1))/:= simRandN(uint32(norder + 1))/' 1
replace runtime/time.go 's/^\t\t\tt\.rand = cheaprand()/\t\t\tt.rand = simRand()/' 1
replace runtime/sema.go '/^func internal_sync_nanotime() int64 {/,/^}/s/nanotime()$/0/' 1
replace runtime/rand.go '/^func randinit() {/,/^}/s/^\tif len(startupRand) >= 16 &&$/\tif simSeed(seed); true {\n\t} else if len(startupRand) >= 16 \&\&/' 2
replace runtime/rand.go '/^func rand() uint64 {/,/^}/s/^\tmp := getg()\.m$/&\n\tif gp := mp.curg; gp != nil \&\& gp.bubble != nil \&\& simOn {\n\t\treturn uint64(simRand())<<32 | uint64(simRand())\n\t}/' 3
replace runtime/proc.go 's/^const haveSysmon = .*/const haveSysmon = false/' 1
replace runtime/proc.go '/^func main() {/,/^}/s/^\(\t*\)\(lockOSThread\|unlockOSThread\)()$/\1_ = 0/' 3
replace runtime/proc.go 's/^\tif !haveSysmon && next {$/\tif next \&\& !simNext() {/' 1
replace runtime/proc.go '/^func runqget(pp \*p)/,/^}/s/^\t\tgp := pp\.runq\[h%uint32(len(pp\.runq))\]\.ptr()$/\t\tsimPick(pp, h, t)\n&/' 1
# For speed only: many goroutines live shortly.
replace runtime/stack.go 's/^var startingStackSize uint32 = fixedStack$/var startingStackSize uint32 = 4 * fixedStack/' 1
cat >"$dir/sim.go" <<'GO'
package runtime

import "internal/runtime/math"

var (
	simOn    bool   // a life is lived
	simState uint64 // of the generator
	// In so many of 256 cases a goroutine that was just made ready runs next, and the
	// one that runs next is any of those that are ready.
	simSoon, simAny uint32
)

// simSeed seeds what is drawn outside of lives.
func simSeed(seed *[32]byte) { seed[0] = 1 }

// simBegin begins a life.
func simBegin() {
	simState = 0
	for _, c := range []byte(gogetenv("COUNT_SEED")) {
		simState = 10*simState + uint64(c-'0')
	}
	simRand()
	simSoon = [4]uint32{255, 240, 128, 16}[simRandN(4)]
	simAny = [4]uint32{0, 0, 8, 128}[simRandN(4)]
	simOn = true
}

func simEnd() { simOn = false }

// simRand returns the next number of the generator (wyrand).
//
//go:nosplit
func simRand() uint32 {
	simState += 0xa0761d6478bd642f
	hi, lo := math.Mul64(simState, simState^0xe7037ed1a0b428db)
	return uint32(hi ^ lo)
}

//go:nosplit
func simRandN(n uint32) uint32 { return uint32((uint64(simRand()) * uint64(n)) >> 32) }

// simNext says whether a goroutine that was made ready runs next. Without sysmon
// two of them could do so for ever, hence never always.
func simNext() bool { return simOn && simRandN(256) < simSoon }

// simPick may have another of the goroutines that are ready run next: of those
// between h and t in the queue.
func simPick(pp *p, h, t uint32) {
	if simOn && simAny > 0 && t-h > 1 && simRandN(256) < simAny {
		i, j := h%uint32(len(pp.runq)), (h+simRandN(t-h))%uint32(len(pp.runq))
		pp.runq[i], pp.runq[j] = pp.runq[j], pp.runq[i]
	}
}
GO
printf '{"Replace":{%s"%s":"%s"}}' "$overlay" "$root/runtime/sim.go" "$dir/sim.go" >"$dir/overlay.json"
# Nothing of where it was built is in it: another checkout makes the same file.
CGO_ENABLED=0 GOFLAGS=-mod=readonly GOEXPERIMENT=norandomizedheapbase64 go test -c -trimpath -buildvcs=false -overlay "$dir/overlay.json" -o "$out" github.com/count-db/count/cluster
