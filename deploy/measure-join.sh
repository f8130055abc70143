#!/usr/bin/env bash
# Measures what a fourth node's join costs three nodes under load, and how fast a
# wiped node is back: on this machine, at ports BASE to BASE+3.
#
#   SAMPLES=50000000 RATE=20000 deploy/measure-join.sh
#
# COPY_RATE and COPY_CPU_PERCENT are handed to the nodes. Prints the p99 of single inserts in quiet times and during the join (each line is
# ten seconds), writes and reads that failed, bytes and seconds of the copying, and
# bytes and seconds of the refill beside those of the first load.
set -euo pipefail
cd "$(dirname "$0")/.."
COUNT=${COUNT:-./bin/count} SAMPLES=${SAMPLES:-10000000} RATE=${RATE:-20000} BASE=${BASE:-18400} COPY_RATE=${COPY_RATE:-64MiB} COPY_CPU_PERCENT=${COPY_CPU_PERCENT:-25}
dir=$(mktemp -d "${TMPDIR:-/tmp}/measure-join.XXXX")
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
inserts() { "$COUNT" bench insert --clients 8 --rate 200 --duration 10s --target "name=$1,url=http://$(at 1)"; }
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
echo "quiet, $RATE samples/s beside:"
for _ in 1 2 3; do inserts quiet; done

echo "node 4 joins:"
began=$(date +%s.%N)
start 4
while ! change 1; do sleep 0.1; done
while change 1; do inserts join; done
ready 4
grep -h 'all ranges of the next ring are copied\|change of the ring is complete' "$dir"/log? | cut -c1-200
for id in 1 2 3 4; do curl -sf -X POST "http://$(at $id)/api/v1/admin/tsdb/flush"; done
echo "copied to node 4: $(metric 4 count_cluster_copied_samples_total) samples, $(metric 4 count_engine_file_bytes) bytes on its disk"
echo "after it, until what has moved is dropped:"
for _ in 1 2 3; do inserts after; done
for _ in $(seq 60); do
	left=0
	for id in 1 2 3; do left=$((left + $(metric $id count_cluster_shedding) + $(metric $id count_engine_shed_files))); done
	[ $left = 0 ] && break
	sleep 2
done
for id in 1 2 3 4; do echo "node $id: $(metric $id count_engine_file_bytes) bytes of data files, $(metric $id count_cluster_shed_samples_total) samples dropped"; done

echo "node 3 is wiped:"
kill -9 "${pids[3]}" && wait "${pids[3]}" 2>/dev/null || true
rm -rf "$dir/3"
began=$(date +%s.%N)
start 3
ready 3
until [ "$(metric 3 count_cluster_refilling)" = 0 ] && grep -q 'refilled: this node counts' "$dir/log3"; do inserts refill; done
echo "back after $(awk -v a="$began" -v b="$(date +%s.%N)" 'BEGIN {printf "%.1f", b - a}') s (the first load took $filled s)"
grep -h 'refilled: this node' "$dir/log3" | cut -c1-200
touch "$dir/stop"
sleep 0.5
kill "${loads[0]}" 2>/dev/null || true
echo "refused writes: $(for id in 1 2 3 4; do metric $id count_cluster_refused_writes_total; echo; done | awk '{s += $1} END {print s + 0}')"
