#!/bin/sh
# simulate.sh FIRST COUNT: lives COUNT lives of simulated clusters from seed FIRST, as
# many at a time as there are processors, each in a process of its own, in which it is
# the same every time it is lived (build.sh). A life that fails is told, with the
# command that lives it again; of one single life everything is told. Ends with the
# totals. ENGINE=1 lives them on the storage that nodes have, in place of the one that
# was written for the tests (TestSimulationOnEngine). VERBOSE=1 prints a line for every life, with its hash: lives with the same
# hash were the same. BUDGET=seconds begins no life later than so many seconds after
# the first. Exit code 77: they cannot be the same with this Go.
set -eu
test=TestSimulation engine=
if [ -n "${ENGINE:-}" ]; then
	test=TestSimulationOnEngine engine='ENGINE=1 '
	export ENGINE
fi
if [ "$1" = life ]; then # dir seed all: one life
	dir=$2 seed=$3 all=$4 code=0
	[ -z "${DEADLINE:-}" ] || [ "$(date +%s)" -lt "$DEADLINE" ] || exit 0
	# It has nothing of this environment: where the heap begins depends on that.
	(cd "$dir" && env -i GOMAXPROCS=1 GOGC=off COUNT_SEED="$seed" COUNT_SEED_LOG="$all" timeout 300 \
		./lives -test.run="^$test\$" -test.timeout=0 -test.v) >"$dir/out.$seed" 2>&1 || code=$?
	if [ $code != 0 ]; then
		echo "$seed" >>"$dir/failed"
		printf '=== the life of seed %s ended with code %s\n' "$seed" "$code" >>"$dir/out.$seed"
		printf 'again: make simulate %sFROM=%s SEEDS=1\n\n' "$engine" "$seed" >>"$dir/out.$seed"
	fi
	grep -E '1 lives in ' "$dir/out.$seed" >>"$dir/totals" || true
	if [ $code != 0 ] || [ -n "$all" ]; then
		cat "$dir/out.$seed"
	elif [ -n "${VERBOSE:-}" ]; then
		grep -E 'seed [0-9]+: hash' "$dir/out.$seed"
	fi
	rm "$dir/out.$seed"
	exit 0
fi

first=$1 count=$2 all=
[ "$count" != 1 ] || all=1
dir=$(mktemp -d /tmp/lives.XXXXXX)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM
"$(dirname "$0")/build.sh" "$dir/lives"
touch "$dir/failed" "$dir/totals"
began=$(date +%s)
[ -z "${BUDGET:-}" ] || export DEADLINE=$((began + BUDGET))
seq "$first" $((first + count - 1)) | xargs -P "$(nproc)" -I '{}' "$0" life "$dir" '{}' "$all"
awk -v seconds=$(($(date +%s) - began)) -v failed="$(sort -n "$dir/failed" | tr '\n' ' ')" '
	{ lives++; sub(/.*1 lives in [^:]*: /, ""); acked += $1; for (i = 2; i <= NF; i++) { if ($i ~ /^refused/) refused += $(i-1); if ($i == "complete") reads += $(i-1); if ($i ~ /^marked/) marked += $(i-1) } }
	END {
		printf "%d lives in %d s: %d writes and deletes acknowledged, %d refused, %d complete reads, %d marked\n", lives, seconds, acked, refused, reads, marked
		if (failed != "") { print "FAILED seeds: " failed; exit 1 }
		if (lives == 0) { print "FAILED: no life was lived"; exit 1 }
	}' "$dir/totals"
