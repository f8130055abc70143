#!/usr/bin/env bash
# The demo without containers: three nodes at ports 8081 to 8083 and, where
# PROMETHEUS_BIN names one, a Prometheus at port 9090 that scrapes all of them
# and writes to the cluster.
#
#   deploy/demo-local.sh run         until Ctrl-C
#   deploy/demo-local.sh kill NODE   kill -9 of a node of the demo that runs
#   deploy/demo-local.sh heal NODE   starts it again
#   deploy/demo-local.sh running     exit code 0 while the demo runs
#
# DATA_ROOT is where everything is kept, by default ./count_data/demo; COUNT_BIN
# the binary, by default ./bin/count.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${COUNT_BIN:-./bin/count}
root=${DATA_ROOT:-./count_data/demo}
nodes=127.0.0.1:8081,127.0.0.1:8082,127.0.0.1:8083

alive() { # name: whether the process of that name runs
	[ -f "$root/$1.pid" ] && kill -0 "$(cat "$root/$1.pid")" 2>/dev/null
}

start() { # name command...
	local name=$1
	shift
	# A session of its own: Ctrl-C reaches only this script, which ends all in order.
	setsid "$@" >>"$root/$name.log" 2>&1 </dev/null &
	echo $! >"$root/$name.pid"
	disown # or bash would tell of every kill
}

start_node() { # id
	start "node-$1" env NODE_ID="$1" BIND_ADDRESS="127.0.0.1:808$1" CLUSTER_NODES="$nodes" CLUSTER_NAME=demo \
		CLUSTER_SECRET="${CLUSTER_SECRET:-demo}" FAILURE_TIMEOUT=10s ADMIN_API=true LOG_FORMAT=logfmt DATA_DIR="$root/node-$1" "$bin" serve
}

wait_ready() { # id
	for _ in $(seq 300); do
		"$bin" health --ready --server "http://127.0.0.1:808$1" >/dev/null 2>&1 && return
		alive "node-$1" || { tail -n 5 "$root/node-$1.log" >&2; return 1; }
		sleep 0.1
	done
	echo "node $1 is not ready after 30 s: see $root/node-$1.log" >&2
	return 1
}

start_prometheus() {
	# The compose file's configuration with the addresses of this machine; rules
	# are read where they lie.
	sed -e 's/"count-\([123]\):8080"/"127.0.0.1:808\1"/g' -e 's/lb:8080/127.0.0.1:8081/' -e '/job_name: node/,/node-exporter/d' \
		-e "s#/etc/prometheus/rules#$PWD/dashboards/rules#" deploy/prometheus.yml >"$root/prometheus.yml"
	start prometheus "$PROMETHEUS_BIN" --config.file="$root/prometheus.yml" --storage.tsdb.path="$root/prometheus" \
		--storage.tsdb.retention.time=6h --enable-feature=exemplar-storage --web.listen-address=127.0.0.1:9090
}

end() { # names: ends these processes in order and waits for them
	local name
	for name in "$@"; do
		if alive "$name"; then kill "$(cat "$root/$name.pid")" || true; fi
	done
	for name in "$@"; do
		while alive "$name"; do sleep 0.1; done
		rm -f "$root/$name.pid"
	done
}

stop_all() {
	trap - EXIT INT TERM
	echo
	echo "stopping"
	end prometheus load # first, so that what it still has to send is taken
	end node-1 node-2 node-3
	rm -f "$root/demo.pid"
}

run() {
	if alive demo; then
		echo "the demo runs already" >&2
		exit 1
	fi
	for id in 1 2 3; do
		if "$bin" health --server "http://127.0.0.1:808$id" >/dev/null 2>&1; then
			echo "a node at http://127.0.0.1:808$id runs already: stop it first" >&2
			exit 1
		fi
	done
	mkdir -p "$root"
	rm -f "$root"/*.pid
	echo $$ >"$root/demo.pid"
	trap stop_all EXIT
	trap 'exit 0' INT TERM
	for id in 1 2 3; do start_node $id; done
	for id in 1 2 3; do wait_ready $id; done
	start load "$bin" demo --server http://127.0.0.1:8081
	if [ -n "${PROMETHEUS_BIN:-}" ]; then
		start_prometheus
		echo "Prometheus   http://127.0.0.1:9090 writes to http://127.0.0.1:8081/api/v1/write"
	else
		echo "Prometheus   none: PROMETHEUS_BIN is not set (make tools builds one and prints what to set)"
	fi
	echo "nodes        http://127.0.0.1:8081 http://127.0.0.1:8082 http://127.0.0.1:8083"
	echo "page         http://127.0.0.1:8081/ui/"
	echo "data, logs   $root"
	echo "make demo-kill NODE=3 kills a node, make demo-heal NODE=3 brings it back, Ctrl-C ends the demo"
	while :; do
		sleep 5 &
		wait $! || true
	done
}

node_running() { # id
	case "$1" in
	1 | 2 | 3) ;;
	*) echo "a node is 1, 2 or 3, not \"$1\"" >&2; exit 2 ;;
	esac
	alive demo || { echo "the demo does not run: make demo-local" >&2; exit 1; }
	alive "node-$1"
}

case "${1:-}" in
run) run ;;
running) alive demo ;;
kill)
	if node_running "${2:-}"; then
		kill -9 "$(cat "$root/node-$2.pid")"
		echo "node $2 is killed"
	else
		echo "node $2 is down already"
	fi
	;;
heal)
	if node_running "${2:-}"; then
		echo "node $2 runs already"
	else
		start_node "$2"
		wait_ready "$2"
		echo "node $2 is back: http://127.0.0.1:808$2"
	fi
	;;
*)
	sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
	exit 2
	;;
esac
