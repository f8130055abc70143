#!/usr/bin/env bash
# Measures what a backup and a restore of three nodes cost: time, CPU and memory of
# the command, CPU of the nodes, and the p99 of single inserts beside them. On this
# machine, at ports BASE to BASE+3.
#
#   SAMPLES=50000000 deploy/measure-backup.sh
#
# BACKUP_RATE is handed to the nodes, BACKUP_FLAGS and RESTORE_FLAGS to the commands; PLACE
# is where the backups go, a new directory if it is not set.
set -euo pipefail
cd "$(dirname "$0")/.."
COUNT=${COUNT:-./bin/count} SAMPLES=${SAMPLES:-10000000} BASE=${BASE:-18500} BACKUP_RATE=${BACKUP_RATE:-64MiB}
dir=$(mktemp -d "${TMPDIR:-/tmp}/measure-backup.XXXX")
PLACE=${PLACE:-$dir/backups}
declare -A pids
finish() {
	kill "${pids[@]}" 2>/dev/null || true
	wait 2>/dev/null || true
	rm -rf "$dir"
}
trap finish EXIT
at() { echo "127.0.0.1:$((BASE + $1))"; }
nodes=$(at 1),$(at 2),$(at 3)
start() { # id, directory
	env NODE_ID="$1" BIND_ADDRESS="$(at "$1")" CLUSTER_NODES="$nodes" DATA_DIR="$dir/$2" ADMIN_API=true BACKUP_RATE="$BACKUP_RATE" "$COUNT" serve >>"$dir/log$1" 2>&1 &
	pids[$1]=$!
}
ready() { until curl -sf "http://$(at "$1")/-/ready" >/dev/null; do sleep 0.2; done; }
flush() { for id in 1 2 3; do curl -sf -X POST "http://$(at $id)/api/v1/admin/tsdb/flush"; done; }
cpu() { # seconds of CPU of the nodes so far
	for p in "${pids[@]}"; do cut -d' ' -f14,15 "/proc/$p/stat"; done | awk '{s += $1 + $2} END {printf "%.1f", s / 100}'
}
inserts() { "$COUNT" bench insert --clients 8 --rate 200 --duration "${2:-10s}" --target "name=$1,url=http://$(at 1)"; }
measured() { # name, command...: beside inserts, and what it took
	local name=$1 used began peak=0 now ticks=0
	shift
	used=$(cpu) began=$(date +%s.%N)
	"$@" >"$dir/said" 2>&1 &
	local p=$!
	inserts "$name" 5s >"$dir/beside" &
	local load=$!
	while now=$(awk '/VmHWM/ {print $2}' "/proc/$p/status" 2>/dev/null) && [ -n "$now" ]; do
		peak=$now ticks=$(cut -d' ' -f14,15 "/proc/$p/stat" 2>/dev/null | awk '{print $1 + $2}')
		sleep 0.05
		if ! kill -0 $load 2>/dev/null; then
			cat "$dir/beside"
			inserts "$name" 5s >"$dir/beside" &
			load=$!
		fi
	done
	wait $p || echo "FAILED"
	echo "$name: $(awk -v a="$began" -v b="$(date +%s.%N)" 'BEGIN {printf "%.1f", b - a}') s, the command took $(awk -v t="${ticks:-0}" 'BEGIN {printf "%.1f", t / 100}') s of CPU and $((peak / 1024)) MiB at most, the nodes $(awk -v a="$used" -v b="$(cpu)" 'BEGIN {printf "%.1f", b - a}') s of CPU"
	cat "$dir/said"
	wait $load
	cat "$dir/beside"
}

for id in 1 2 3; do start $id "$id"; done
for id in 1 2 3; do ready $id; done
hours=$(awk -v n="$SAMPLES" 'BEGIN {printf "%.3f", n / 10000 / 240}') # 10,000 series, a scrape each 15 s
"$COUNT" bench write --set A --scale 1 --hours "$hours" --end "$(($(date +%s) - 3600))" --settle 1s --target "name=fill,url=http://$(at 1)"
flush
echo "quiet:"
inserts quiet
# shellcheck disable=SC2086 # flags are words
measured "first backup" "$COUNT" backup "$PLACE" --server "$(at 1)" ${BACKUP_FLAGS:-}
flush
# shellcheck disable=SC2086
measured "second backup" "$COUNT" backup "$PLACE" --server "$(at 1)" ${BACKUP_FLAGS:-}
measured "check" "$COUNT" check backup "$PLACE"
kill "${pids[@]}" && wait || true
for id in 1 2 3; do start $id "new-$id"; done
for id in 1 2 3; do ready $id; done
echo "quiet, empty:"
inserts quiet
# shellcheck disable=SC2086
measured "restore" "$COUNT" restore "$PLACE" --server "$(at 1)" --scratch "$dir/scratch" ${RESTORE_FLAGS:-}
for id in 1 2 3; do awk '/VmHWM/ {print "node: " $2 / 1024 " MiB at most"}' "/proc/${pids[$id]}/status"; done
