#!/usr/bin/env bash
# Runs docker-compose.yml for real, in a Docker daemon of its own in a network
# namespace of its own, kills a node, cuts another one off, and asks the
# dashboards' kind of queries all the while: none may fail.
#
# No registry is asked. Images are made here, under the names that the compose
# file uses, around binaries of this machine; Count's is made by the last stage
# of deploy/Dockerfile. Grafana is left out.
#
# Needs root, dockerd, docker, docker-compose, haproxy, prometheus-node-exporter
# (Debian's packages), and PROMETHEUS_BIN. COUNT_BIN may name a static binary of
# Count; otherwise one is built. WORK is a folder for the daemon and the images.
set -euo pipefail
cd "$(dirname "$0")/.."
for tool in ip nsenter dockerd docker docker-compose haproxy prometheus-node-exporter curl; do
	command -v "$tool" >/dev/null || { echo "demo-test needs $tool" >&2; exit 1; }
done
: "${PROMETHEUS_BIN:?demo-test needs PROMETHEUS_BIN: make tools builds one}"
[ "$(id -u)" = 0 ] || { echo "demo-test needs root" >&2; exit 1; }

work=${WORK:-$(mktemp -d /tmp/count-demo.XXXXXX)}
netns=count-demo-$$
mkdir -p "$work/images" "$work/docker"
export DOCKER_HOST=unix://$work/docker.sock DOCKER_BUILDKIT=0 COMPOSE_PROJECT_NAME=countdemo
daemon=

# end takes everything down again, whatever happened.
end() {
	local code=$?
	trap - EXIT
	if [ -n "$daemon" ]; then
		[ $code = 0 ] || docker-compose logs --tail=15 || true
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

inside() { ip netns exec "$netns" "$@"; }

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

# build NAME FOLDER: an image; what the builder says only matters when it fails.
build() {
	docker build -q -t "$1" "$2" >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; return 1; }
}

# around NAME BINARY ARGUMENT...: an image FROM scratch that holds the binary
# and the libraries that it is linked with.
around() {
	local name=$1 binary=$2 dir library arguments
	shift 2
	dir=$work/images/$(basename "$binary")
	mkdir -p "$dir/root/tmp" "$dir/root/etc" "$dir/root/prometheus"
	cp -L "$binary" "$dir/root/program"
	for library in $(ldd "$binary" 2>/dev/null | grep -oE '/[^ ]+' | sort -u) /lib/x86_64-linux-gnu/libnss_dns.so.2 /lib/x86_64-linux-gnu/libnss_files.so.2; do
		[ -f "$library" ] || continue
		mkdir -p "$dir/root$(dirname "$library")"
		cp -L "$library" "$dir/root$library"
	done
	arguments=$(printf ', "%s"' "$@")
	printf 'FROM scratch\nCOPY root/ /\nENTRYPOINT ["/program"%s]\n' "$( [ $# = 0 ] || echo "$arguments")" >"$dir/Dockerfile"
	build "$name" "$dir"
}

image_of() { # service: the image that the compose file names
	sed -n "/^  $1:/,/^  [a-z]/s/^ *image: *//p" docker-compose.yml
}

build_images() {
	local dir=$work/images/count
	mkdir -p "$dir/data"
	if [ -n "${COUNT_BIN:-}" ]; then cp "$COUNT_BIN" "$dir/count"; else CGO_ENABLED=0 go build -trimpath -o "$dir/count" ./cmd/count; fi
	sed -n '/^FROM scratch/,$p' deploy/Dockerfile | sed -e 's/--from=build //' -e 's#COPY /count#COPY count#' -e 's# /data /data# data /data#' >"$dir/Dockerfile"
	build count:local "$dir"
	around "$(image_of lb)" "$(command -v haproxy)" -f /usr/local/etc/haproxy/haproxy.cfg
	around "$(image_of prometheus)" "$PROMETHEUS_BIN"
	around "$(image_of node-exporter)" "$(command -v prometheus-node-exporter)"
}

ask() { # query: the answer of any node, through the load balancer
	inside curl -sS --fail --max-time 20 http://127.0.0.1:8080/api/v1/query --data-urlencode "query=$1"
}

# says QUERY VALUE: whether the query answers with that one value now.
says() { ask "$1" | grep -q "\"value\":\[[0-9.]*,\"$2\"\]"; }

# go_on SECONDS WHAT: the queries of the demo all answer with data, and what
# they answer is fresh at the end.
go_on() {
	local deadline=$((SECONDS + $1)) asked=0 query answer
	while [ $SECONDS -lt $deadline ]; do
		for query in 'sum(rate(count_http_requests_total[1m]))' 'count(up)' 'histogram_quantile(0.99, sum by (le) (rate(count_http_request_duration_seconds_bucket[1m])))' 'sum(node_cpu_seconds_total)'; do
			if ! answer=$(ask "$query") || ! grep -q '"value":' <<<"$answer"; then
				echo "FAILED: $2: $query: $answer" >&2
				return 1
			fi
			asked=$((asked + 1))
		done
		sleep 0.2
	done
	until_true 30 "$2: the newest sample is less than 15 s old" says 'count(time() - timestamp(up{job="prometheus"}) < 15)' 1
	echo "ok: $2: $asked queries, all answered"
}

ip netns add "$netns"
ip -n "$netns" link set lo up
nsenter --net="/run/netns/$netns" dockerd --host "$DOCKER_HOST" --data-root "$work/docker" --exec-root "$work/exec" \
	--pidfile "$work/dockerd.pid" >"$work/dockerd.log" 2>&1 &
daemon=$!
until_true 60 "the Docker daemon answers" docker info
build_images
docker-compose config -q
docker-compose up -d --no-build
until_true 120 "a node is ready behind the load balancer" inside curl -sf --max-time 3 http://127.0.0.1:8080/-/ready
until_true 120 "Prometheus's samples arrive: five targets are up" says 'count(up == 1)' 5
until_true 60 "every rate has data" says 'count(rate(count_http_requests_total[1m])) > bool 0' 1

docker-compose kill count-2
go_on 20 "count-2 is killed"
docker-compose start count-2
until_true 90 "count-2 is scraped again" says 'sum(up{job="count"})' 3

container=$(docker-compose ps -q count-3)
docker network disconnect countdemo_default "$container"
go_on 20 "count-3 is cut off"
docker network connect --alias count-3 countdemo_default "$container"
until_true 90 "count-3 is scraped again" says 'sum(up{job="count"})' 3
echo "the demo goes on whatever node is missing"
