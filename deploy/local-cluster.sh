#!/usr/bin/env bash
# Three nodes on this machine, at ports 8081 to 8083, until Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")/.."
nodes=127.0.0.1:8081,127.0.0.1:8082,127.0.0.1:8083
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; wait' EXIT
for id in 1 2 3; do
	NODE_ID=$id BIND_ADDRESS=127.0.0.1:808$id CLUSTER_NODES=$nodes DATA_DIR=${DATA_ROOT:-./count_data}/node-$id ./bin/count serve &
	pids+=($!)
done
wait -n
