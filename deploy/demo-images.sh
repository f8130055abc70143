# The images of docker-compose.yml without a registry, for demo-test.sh, which
# reads this file: each is made around programs of this machine, under the name
# that the files use. It wants $work, a folder, and the functions of demo-test.sh.

# built NAME FOLDER [FLAGS...]: an image; what the builder says only matters when it fails.
built() {
	local name=$1 folder=$2
	shift 2
	docker build -q -t "$name" "$@" "$folder" >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; return 1; }
}

# with_libraries BINARY ROOT: the libraries that a program is linked with, at
# their places below ROOT.
with_libraries() {
	local library
	for library in $(ldd "$1" 2>/dev/null | grep -oE '/[^ ]+' | sort -u) /lib/*-linux-gnu/libnss_dns.so.2 /lib/*-linux-gnu/libnss_files.so.2; do
		[ -f "$library" ] || continue
		mkdir -p "$2$(dirname "$library")"
		cp -L "$library" "$2$library"
	done
}

# around NAME BINARY ARGUMENT...: an image that holds one program.
around() {
	local name=$1 binary=$2 dir arguments
	shift 2
	dir=$work/images/$(basename "$binary")
	mkdir -p "$dir/root/tmp" "$dir/root/etc" "$dir/root/prometheus"
	cp -L "$binary" "$dir/root/program"
	with_libraries "$binary" "$dir/root"
	arguments=$(printf ', "%s"' "$@")
	printf 'FROM scratch\nCOPY root/ /\nENTRYPOINT ["/program"%s]\n' "$([ $# = 0 ] || echo "$arguments")" >"$dir/Dockerfile"
	built "$name" "$dir"
}

image_of() { # service: the image that the compose file names
	sed -n "/^  $1:/,/^  [a-z]/s/^ *image: *//p" docker-compose.yml
}

# golang_image NAME: what the first stage of deploy/Dockerfile begins from: this
# machine's Go, the modules that go.mod names as a proxy made of files, and a
# shell. There is no network in a build here.
golang_image() {
	local dir=$work/images/golang tool
	mkdir -p "$dir/root/usr/local" "$dir/root/bin" "$dir/root/tmp" "$dir/root/etc"
	cp -a "$(go env GOROOT)" "$dir/root/usr/local/go"
	GOMODCACHE=$dir/modules GOFLAGS=-modcacherw GOPROXY="file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)" go mod download
	mv "$dir/modules/cache/download" "$dir/root/proxy"
	rm -rf "$dir/modules"
	for tool in bash mkdir; do
		cp -L "$(command -v $tool)" "$dir/root/bin/$tool"
		with_libraries "$(command -v $tool)" "$dir/root"
	done
	ln -sf bash "$dir/root/bin/sh"
	cat >"$dir/Dockerfile" <<-END
		FROM scratch
		COPY root/ /
		ENV PATH=/usr/local/go/bin:/bin GOPATH=/go GOCACHE=/cache GOTOOLCHAIN=local GOPROXY=file:///proxy GOSUMDB=off
	END
	built "$1" "$dir"
	rm -rf "$dir"
}

# count_image: Count's image, by the whole Dockerfile with BUILD_STAGE=1, else by
# its last stage around COUNT_BIN or a binary that is built here and now.
count_image() {
	local dir=$work/images/count
	if [ -n "${BUILD_STAGE:-}" ]; then
		golang_image "$(sed -n 's/^FROM \(.*\) AS build$/\1/p' deploy/Dockerfile)"
		built count:local . -f deploy/Dockerfile --build-arg REVISION="$(git rev-parse HEAD 2>/dev/null)"
		return
	fi
	mkdir -p "$dir/data"
	if [ -n "${COUNT_BIN:-}" ]; then cp "$COUNT_BIN" "$dir/count"; else CGO_ENABLED=0 go build -o "$dir/count" ./cmd/count; fi
	sed -n '/^FROM scratch/,$p' deploy/Dockerfile | sed -e 's/--from=build //' -e 's#COPY /count#COPY count#' -e 's# /data /data# data /data#' >"$dir/Dockerfile"
	built count:local "$dir"
}

build_images() {
	mkdir -p "$work/images"
	count_image
	around "$(image_of lb)" "$(command -v haproxy)" -f /usr/local/etc/haproxy/haproxy.cfg
	around "$(image_of prometheus)" "$PROMETHEUS_BIN"
	around "$(image_of node-exporter)" "$(command -v prometheus-node-exporter)"
}
