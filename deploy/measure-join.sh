#!/usr/bin/env bash
# Measures what a fourth node's join costs three nodes under load, and how fast a
# wiped node is back: on this machine, at ports BASE to BASE+3.
#
#   SAMPLES=50000000 RATE=20000 deploy/measure-join.sh
#
# COPY_RATE and COPY_CPU_PERCENT are handed to the nodes. Prints the latency of
# single inserts (200 a second beside the load; one that is late counts from when it
# was due) in quiet times, in the first 20 s of the join, in all of it, until what
# has moved is dropped, and while a wiped node refills; writes and reads that failed;
# how fast the copying and the refill were beside the budget and the first load.
#
# Compare the phases of one run: what else the machine does counts in all of them.
# On a busy machine DIR on a tmpfs leaves the disk out of it.
set -euo pipefail
cd "$(dirname "$0")/.."
COUNT=${COUNT:-./bin/count} SAMPLES=${SAMPLES:-10000000} RATE=${RATE:-20000} BASE=${BASE:-18400} COPY_RATE=${COPY_RATE:-64MiB} COPY_CPU_PERCENT=${COPY_CPU_PERCENT:-25}
dir=$(mktemp -d "${DIR:-${TMPDIR:-/tmp}}/measure-join.XXXX")
declare -A pids
loads=()
finish() {
	kill "${loads[@]}" "${pids[@]}" 2>/dev/null || true
	wait 2>/dev/null || true
	rm -rf "$dir"
}
trap finish EXIT
at() { echo "127.0.0.1:$((BASE + $1))"; }
nodes=$(at 1),$(at 2),$(at 3)
start() { # id
	env NODE_ID="$1" BIND_ADDRESS="$(at "$1")" CLUSTER_NODES="$nodes" DATA_DIR="$dir/$1" ADMIN_API=true COPY_RATE="$COPY_RATE" COPY_CPU_PERCENT="$COPY_CPU_PERCENT" \
		"$COUNT" serve >>"$dir/log$1" 2>&1 &
	pids[$1]=$!
}
ready() { until curl -sf "http://$(at "$1")/-/ready" >/dev/null; do sleep 0.2; done; }
metric() { curl -sf "http://$(at "$1")/metrics" | awk -v m="$2" '$1 == m {printf "%.0f", $2}'; }
change() { curl -sf "http://$(at "$1")/cluster/status" | grep -q '"change"'; }
cpu() { # seconds of CPU of the nodes so far
	for p in "${pids[@]}"; do cut -d' ' -f14,15 "/proc/$p/stat"; done | awk '{s += $1 + $2} END {printf "%.1f", s / 100}'
}
inserts() { # phase, seconds: more of its inserts
	"$COUNT" bench insert --clients 8 --rate 200 --duration "${2:-5}s" --each "$dir/inserts.$1" --target "name=$1,url=http://$(at 1)" | grep -v ' 0 times not available' || true
}
latency() { # phase, name, seconds of it: its latencies
	sort -n "$dir/inserts.$1" | awk -v most="${3:-0}" 'NR == 1 {from = $1} !most || $1 < from + most {print $2}' | sort -n |
		awk -v what="$2" '{v[NR] = $1} END {printf "%-32s %5d inserts, p50 %.1f ms, p99 %.1f ms, longest %.1f ms\n", what ":", NR, v[int(NR * .5) + 1], v[int(NR * .99) + 1], v[NR]}'
}
seconds() { awk -v a="$1" -v b="$(date +%s.%N)" 'BEGIN {printf "%.1f", b - a}'; }
watch_reads() { # counts reads that are refused or marked
	local asked=0 failed=0
	while [ ! -e "$dir/stop" ]; do
		asked=$((asked + 1))
		if ! curl -s -D "$dir/head" -o /dev/null "http://$(at $((asked % 2 + 1)))/query/range/bench.insert.client0?start=0&end=9999999999999" ||
			! head -1 "$dir/head" | grep -q 200 || grep -qi X-Count-Warning "$dir/head"; then failed=$((failed + 1)); fi
		sleep 0.1
	done
	echo "reads: $asked asked, $failed refused or marked"
}
write() { # name, hours, end, more...
	"$COUNT" bench write --set A --scale 1 --hours "$2" --end "$3" "${@:4}" --settle 1s --target "name=$1,url=http://$(at 1)"
}

for id in 1 2 3; do start $id; done
for id in 1 2 3; do ready $id; done
now=$(date +%s)
live=4 # hours of scrapes that are left for the load
fill=$(awk -v n="$SAMPLES" 'BEGIN {printf "%.3f", n / 10000 / 240}') # 10,000 series, a scrape each 15 s
began=$(date +%s.%N) used=$(cpu)
write fill "$fill" $((now - live * 3600))
curl -sf -X POST "http://$(at 3)/api/v1/admin/tsdb/flush"
filled=$(awk -v a="$began" -v b="$(date +%s.%N)" 'BEGIN {printf "%.1f", b - a}')
echo "first load: $SAMPLES samples in $filled s, $(awk -v a="$used" -v b="$(cpu)" 'BEGIN {printf "%.1f", b - a}') s of CPU of all nodes, $(metric 3 count_engine_file_bytes) bytes on node 3"

write load "$live" "$now" --rate "$RATE" >"$dir/load" 2>&1 &
loads+=($!)
watch_reads &
loads+=($!)
sleep 5
uptime
inserts quiet 30
latency quiet "quiet, beside $RATE samples/s"

start 4
while ! change 1; do sleep 0.1; done
began=$(date +%s.%N)
while change 1; do inserts join; done
ready 4
latency join "first 20 s of the join" 20
latency join "the whole join"
took=$(grep -ho '"all ranges of the next ring are copied".*' "$dir/log4" | grep -o '"seconds":[0-9.]*' | cut -d: -f2)
copied=$(metric 4 count_cluster_copied_samples_total)
echo "copied to node 4: $copied samples in $took s, $(awk -v n="$copied" -v s="$took" 'BEGIN {printf "%.1f", n * 16 / s / 1e6}') MB/s (16 bytes a sample) of at most $COPY_RATE, at $COPY_CPU_PERCENT % of the processors"
inserts after 20
for _ in $(seq 60); do
	left=0
	for id in 1 2 3; do left=$((left + $(metric $id count_cluster_shedding) + $(metric $id count_engine_shed_files))); done
	[ $left = 0 ] && break
	inserts after
done
latency after "until what has moved is dropped"
for id in 1 2 3 4; do echo "node $id: $(metric $id count_engine_file_bytes) bytes of data files, $(metric $id count_cluster_shed_samples_total) samples dropped"; done

kill -9 "${pids[3]}" && wait "${pids[3]}" 2>/dev/null || true
rm -rf "$dir/3"
began=$(date +%s.%N)
start 3
ready 3
until [ "$(metric 3 count_cluster_refilling)" = 0 ] && grep -q 'refilled: this node counts' "$dir/log3"; do inserts refill; done
latency refill "a wiped node refills"
echo "back after $(seconds "$began") s (the first load took $filled s): $(grep -ho 'refilled: this node counts again.*' "$dir/log3" | grep -o '"s[ae][a-z]*":[0-9.]*' | tr '\n' ' ')"
uptime
touch "$dir/stop"
sleep 0.5
kill "${loads[0]}" 2>/dev/null || true
refused=0
for id in 1 2 3 4; do refused=$((refused + $(metric $id count_cluster_refused_writes_total))); done
echo "refused writes: $refused"
