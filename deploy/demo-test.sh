#!/usr/bin/env bash
# Runs docker-compose.yml for real, in a Docker daemon of its own in a network
# namespace of its own, kills a node, cuts another one off, and asks what the
# dashboards ask all the while: nothing may fail.
#
# No registry is asked. Images are made here, under the names that the compose
# file uses, around programs of this machine (demo-images.sh); Count's is made by
# the last stage of deploy/Dockerfile, or by all of it with BUILD_STAGE=1, which
# takes some minutes. Grafana is left out.
#
# Needs root, dockerd, docker, docker-compose, haproxy, prometheus-node-exporter,
# iproute2, nftables (Debian's packages), and PROMETHEUS_BIN. COUNT_BIN may name a
# static binary of Count; otherwise one is built. WORK is a folder for the daemon
# and the images.
#
# Exit code 77 says that the demo could not be tried here, and the last line why.
set -euo pipefail
cd "$(dirname "$0")/.."

cannot() { # why
	echo "skipped: $*"
	exit 77
}

[ "$(id -u)" = 0 ] || cannot "the demo's test needs root, for a Docker daemon and a network namespace of its own"
for tool in ip nsenter dockerd docker docker-compose haproxy prometheus-node-exporter curl python3; do
	command -v "$tool" >/dev/null || cannot "the demo's test needs $tool"
done
[ -n "${PROMETHEUS_BIN:-}" ] || cannot "the demo's test needs PROMETHEUS_BIN: make tools builds one"

work=${WORK:-$(mktemp -d /tmp/count-demo.XXXXXX)}
netns=count-demo-$$
mkdir -p "$work/docker"
# What only this run's commands may see, make's of the demo included.
export DOCKER_HOST=unix://$work/docker.sock DOCKER_BUILDKIT=0 COMPOSE_PROJECT_NAME=countdemo COMPOSE=docker-compose DATA_ROOT=$work/none
daemon=
. deploy/demo-images.sh

# end takes everything down again, whatever happened.
end() {
	local code=$?
	trap - EXIT
	if [ -n "$daemon" ]; then
		case $code in 0 | 77) ;; *) docker-compose ps && docker-compose logs --tail=15 || true ;; esac
		docker-compose down -v --timeout 20 >/dev/null 2>&1 || true
		kill "$daemon" 2>/dev/null || true
		wait "$daemon" 2>/dev/null || true
	fi
	ip netns del "$netns" 2>/dev/null || true
	[ -n "${WORK:-}" ] || rm -rf "$work"
	exit $code
}
trap end EXIT
trap 'exit 130' INT TERM

inside() { nsenter --net="/run/netns/$netns" "$@"; }

# until_true SECONDS WHAT COMMAND...: asks until the command is content.
until_true() {
	local deadline=$((SECONDS + $1)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		if [ $SECONDS -ge $deadline ]; then
			echo "FAILED: $what did not come about" >&2
			return 1
		fi
		sleep 0.3
	done
	echo "ok: $what"
}

ask() { # query: what any node says of now, through the load balancer
	inside curl -sS --fail-with-body --max-time 60 http://127.0.0.1:8080/api/v1/query --data-urlencode "query=$1"
}

graph() { # query: what any node says of the last five minutes
	local now
	now=$(date +%s)
	inside curl -sS --fail-with-body --max-time 60 http://127.0.0.1:8080/api/v1/query_range -d start=$((now - 300)) -d end="$now" -d step=15 --data-urlencode "query=$1"
}

# says QUERY VALUE: whether the query answers with that one value now.
says() { ask "$1" | grep -q "\"value\":\[[0-9.]*,\"$2\"\]"; }

# complete ANSWER: whether it has data and no warning that some may be missing.
complete() { grep -q '"status":"success"' <<<"$1" && ! grep -qE '"result":\[\]|"warnings":' <<<"$1"; }

dashboards() { # every query of the dashboards, one a line
	python3 - dashboards/grafana/*.json <<-'END'
		import json, sys
		queries = set()
		for name in sys.argv[1:]:
		    board = json.load(open(name))
		    for panel in board["panels"]:
		        for target in panel.get("targets", []):
		            query = " ".join(target["expr"].split())
		            for variable, value in (("$__rate_interval", "1m"), ("$__interval", "1m"), ("$__range", "5m")):
		                query = query.replace(variable, value)
		            for variable in board["templating"]["list"]:
		                query = query.replace("$" + variable["name"], ".*")
		            queries.add(query)
		print("\n".join(sorted(queries)))
	END
}

# go_on SECONDS WHAT: everything that had data before the failures has it now,
# each question of the dashboards is asked at least once, and what the cluster
# answers is fresh at the end.
go_on() {
	local deadline=$((SECONDS + $1)) asked=0 query answer
	while [ $SECONDS -lt $deadline ] || [ $asked -lt $((2 * ${#drawn[@]})) ]; do
		for query in 'sum(rate(count_http_requests_total[1m]))' 'count(up)' 'sum(node_cpu_seconds_total)'; do
			if ! answer=$(ask "$query") || ! complete "$answer"; then
				echo "FAILED: $2: now: $query: $answer" >&2
				return 1
			fi
		done
		query=${drawn[$((asked % ${#drawn[@]}))]}
		if ! answer=$(graph "$query") || ! complete "$answer"; then
			echo "FAILED: $2: $query: ${answer:0:2000}" >&2
			return 1
		fi
		asked=$((asked + 1))
	done
	until_true 90 "$2: the newest sample is less than 15 s old" says 'count(time() - timestamp(up{job="prometheus"}) < 15)' 1
	echo "ok: $2: $asked questions of dashboards and $((3 * asked)) others, all answered"
}

ip netns add "$netns" 2>"$work/netns.log" || cannot "no network namespace may be made here: $(cat "$work/netns.log")"
ip -n "$netns" link set lo up
nsenter --net="/run/netns/$netns" dockerd --host "$DOCKER_HOST" --data-root "$work/docker" --exec-root "$work/exec" \
	--pidfile "$work/dockerd.pid" >"$work/dockerd.log" 2>&1 &
daemon=$!
until_true 120 "the Docker daemon answers" docker info || cannot "dockerd does not start here: $(tail -n 3 "$work/dockerd.log")"
build_images
docker run --rm --network none count:local version >"$work/run.log" 2>&1 || cannot "dockerd cannot run a container here: $(tail -n 3 "$work/run.log")"
docker-compose config -q
docker-compose up -d --no-build
until_true 300 "a node is ready behind the load balancer" inside curl -sf --max-time 10 http://127.0.0.1:8080/-/ready
until_true 300 "Prometheus's samples arrive: five targets are up" says 'count(up == 1)' 5
until_true 180 "every rate has data" says 'count(rate(count_http_requests_total[1m])) > bool 0' 1

mapfile -t questions < <(dashboards)
drawn=()
for query in "${questions[@]}"; do
	answer=$(graph "$query") || { echo "FAILED: $query: $answer" >&2; exit 1; }
	if complete "$answer"; then drawn+=("$query"); fi
done
echo "ok: all ${#questions[@]} queries of the dashboards are answered, ${#drawn[@]} of them with data already"
[ ${#drawn[@]} -ge $((${#questions[@]} / 2)) ] || { echo "FAILED: too few" >&2; exit 1; }

make -s demo-kill NODE=2
go_on 20 "count-2 is killed"
make -s demo-heal NODE=2
until_true 180 "count-2 is scraped again" says 'sum(up{job="count"})' 3

container=$(docker-compose ps -q count-3)
docker network disconnect countdemo_default "$container"
go_on 20 "count-3 is cut off"
docker network connect --alias count-3 countdemo_default "$container"
until_true 180 "count-3 is scraped again" says 'sum(up{job="count"})' 3
until_true 180 "nothing is owed to a node any more" says 'sum(count_cluster_hint_bytes)' 0
echo "the demo goes on whatever node is missing"
