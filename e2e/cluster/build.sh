#!/usr/bin/env bash
# build.sh: builds every program of the test cluster (Go modules only, no cgo) into the user's cache, once
# for each state of the sources, and prints the folder.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
[ ! -d "$BIN" ] || { echo "$BIN"; exit 0; }
command -v go >/dev/null || { echo "the test cluster needs Go 1.26.6 or newer (https://go.dev/dl) to build Kubernetes" >&2; exit 1; }
mkdir -p "$(dirname "$BIN")"
exec 9>"$BIN.lock"
flock 9 # a second build waits for the first
[ ! -d "$BIN" ] || { echo "$BIN"; exit 0; }

cd "$HERE"
new=$BIN.new X=k8s.io/component-base/version
rm -rf "$new"
V=$(go list -m -f '{{.Version}}' k8s.io/kubernetes) C=$(go list -m -f '{{.Version}}' github.com/containerd/containerd/v2)
IFS=. read -r major minor _ <<<"${V#v}"
export CGO_ENABLED=0
# Debug information that `-s -w` would throw away is not made: a fifth of the compiler's time. Collecting its garbage
# half as often is another twentieth.
export GOGC=200
flags=(-trimpath -gcflags=all=-dwarf=false)
{
	echo "building Kubernetes $V, containerd, CoreDNS, a registry and an S3 server: once, about seven minutes on two cores"
	go build "${flags[@]}" -o "$new/" -ldflags "-s -w -X $X.gitVersion=$V -X $X.gitMajor=$major -X $X.gitMinor=$minor -X $X.gitTreeState=clean -X $X.gitCommit=module -X k8s.io/client-go/pkg/version.gitVersion=$V -X github.com/containerd/containerd/v2/version.Version=$C" \
		./cmd/hk ./cmd/coredns ./cmd/pause ./cmd/fakegpu ./cmd/fetch \
		github.com/containerd/containerd/v2/cmd/{containerd,containerd-shim-runc-v2,ctr}
	cd tools # a module of its own: the S3 server wants newer versions of what Kubernetes pins
	go build "${flags[@]}" -o "$new/" -ldflags "-s -w" ./cmd/registry tool
} >&2
ln -s hk "$new/kubectl"
mv "$new" "$BIN"
rm -f "$BIN.lock"
echo "$BIN"
