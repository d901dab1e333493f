#!/usr/bin/env bash
# cluster.sh up | down | status | env | push TAR-OR-OCI-FOLDER NAME:TAG | import TAR... | tag NAME:TAG NEW-NAME:TAG | nsenter NODE-NUMBER CMD... | kill-node NODE-NUMBER | kubectl ARG... | store-secret NAMESPACE [NAME [PREFIX]] | bucket NAME
# A Kubernetes cluster on this machine, with a registry and an S3 server beside it. Each node has its own
# mount, pid and network namespaces (node.sh); the host gets one veth, its way in, and the cluster has no way out.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
export KUBECONFIG=$DATA/kubeconfig
kubectl() { "$BIN/kubectl" "$@"; }

# A node's outermost process is known by its command line alone: no file can be lost or stale.
outer() { pgrep -f "^unshare .*/$1\$" || true; } # 'node.sh NAME NUMBER' or 'host.sh NAME'
inner() { local p; p=$(outer "$1"); [ -n "$p" ] && p=$(pgrep -P "$p") && echo "$p"; }
ns_init() { inner "node.sh $NAME $1"; } # NODE-NUMBER: the pid of the node's pid 1, if it runs
enter() { # NODE-NUMBER CMD...
	local p; p=$(ns_init "$1") || { echo "node-$1 is not running" >&2; exit 1; }
	shift; nsenter -t "$p" -m -n -p "$@"
}
ctr() { local k=$1; shift; enter "$k" "$BIN/ctr" -a /run/containerd/containerd.sock -n k8s.io "$@"; }
say() { printf '%6.1fs  %s\n' "$(bc <<<"$(date +%s.%N) - $T0")" "$*"; }
wait_for() { # SECONDS WHAT CMD...
	local end=$((SECONDS + $1)) what=$2; shift 2
	until "$@" >/dev/null 2>&1; do
		if [ $SECONDS -ge $end ]; then echo "timed out: $what" >&2; exit 1; fi
		sleep 0.1
	done
	say "$what"
}
api() { curl -sf --max-time 2 --cacert "$PKI/ca.crt" --cert "$PKI/admin.crt" --key "$PKI/admin.key" "https://$CP_IP:6443$1"; }
node_ready() { # NODE-NUMBER
	local j; j=$(api "/api/v1/nodes/node-$1" | tr -d ' \n') || return 1
	grep -q '"type":"Ready","status":"True"' <<<"$j" && { [ "$GPUS" = 0 ] || [ "$(grep -o "\"nvidia.com/gpu\":\"$GPUS\"" <<<"$j" | wc -l)" = 2 ]; }
}
dns_ready() { api "/apis/apps/v1/namespaces/kube-system/deployments/coredns" | grep -q '"readyReplicas": 1'; }
s3() { # CURL-ARG...: one signed request
	( . "$DATA/s3.env"; curl -sf --max-time 5 --aws-sigv4 aws:amz:us-east-1:s3 --user "$ROOT_ACCESS_KEY:$ROOT_SECRET_KEY" -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" "$@" )
}
bucket() { s3 "$S3/$1?list-type=2&max-keys=1" >/dev/null || s3 -X PUT "$S3/$1"; } # NAME: makes it, unless it is there

up() {
	local k a=()
	T0=$(date +%s.%N)
	"$HERE/build.sh" >/dev/null
	if [ -e "$KUBECONFIG" ] && ns_init 1 >/dev/null; then echo "already up"; exit 0; fi
	[ -z "$(outer "node.sh $NAME 1")" ] || { echo "half up: run '$0 down' first" >&2; exit 1; }
	trap '[ $? = 0 ] || echo "up failed; logs in $LOG; E2E_NAME=$NAME $0 down clears everything away" >&2' EXIT
	mkdir -p "$LOG" "$DATA/images" "$BUCKETS"
	for k in /var/lib/cni /var/lib/kubelet /var/log/pods /var/log/containers; do
		[ -d $k ] || { echo $k >>"$DATA/made"; mkdir -p $k; }
	done
	# Nothing for the cluster's addresses may ever leave the machine.
	ip route replace unreachable "$NET.0.0/16" metric 9999
	for k in $(seq "$NODES"); do a+=("node-$k=$(node_ip "$k")"); done
	[ -e "$PKI/ca.crt" ] || "$BIN/hk" certs "$PKI" "https://$CP_IP:6443" 127.0.0.1 "$CP_IP" "$API_IP" "${a[@]}"
	host
	for k in $(seq "$NODES"); do node "$k"; done
	ip route add "$SVC_NET" via "$CP_IP" dev "$NAME-0"
	wait_for 60 "API server ready" api /readyz
	for k in $(seq "$NODES"); do wait_for 30 "node-$k: containerd ready" ctr "$k" version; done
	images
	render "$HERE/manifests/coredns.yaml" 1 | kubectl --kubeconfig "$PKI/admin.kubeconfig" apply --server-side -f - >/dev/null
	wait_for 20 "bucket ready: s3://varve at $S3" bucket varve
	for k in $(seq "$NODES"); do wait_for 60 "node-$k: ready" node_ready "$k"; done
	wait_for 60 "DNS ready" dns_ready
	install -m 600 /dev/null "$KUBECONFIG"
	kubectl --kubeconfig "$PKI/admin.kubeconfig" config view --raw --flatten >"$KUBECONFIG"
	echo "export KUBECONFIG=$KUBECONFIG"
}

host() { # the registry and the S3 server
	[ -e "$DATA/s3.env" ] || ( umask 077; printf 'ROOT_ACCESS_KEY=%s\nROOT_SECRET_KEY=%s\n' "varve$(head -c 8 /dev/urandom | od -An -tx1 | tr -d ' \n')" "$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')" >"$DATA/s3.env" )
	render "$HERE/conf/registry.yaml" 1 >"$DATA/registry.yaml"
	setsid unshare --mount --pid --fork --kill-child --mount-proc "$HERE/host.sh" "$NAME" </dev/null >"$LOG/host.log" 2>&1 &
}

node() { # NODE-NUMBER
	local k=$1 d=$DATA/node-$1 f c
	mkdir -p "$d"/{conf/cni,"conf/certs.d/$REGISTRY",pods,containers,kubelet}
	for f in containerd.toml kubelet.yaml kube-proxy.yaml cni/10-ptp.conflist; do render "$HERE/conf/$f" "$k" >"$d/conf/$f"; done
	render "$HERE/conf/hosts.toml" "$k" >"$d/conf/certs.d/$REGISTRY/hosts.toml"
	for c in "${CGROUPS[@]}"; do
		[ -d "/sys/fs/cgroup/$c" ] || continue
		mkdir -p "/sys/fs/cgroup/$c/$NAME/node-$k"
		[ "$c" = cpuset ] || continue
		for f in cpus mems; do
			cat "/sys/fs/cgroup/$c/cpuset.$f" >"/sys/fs/cgroup/$c/$NAME/cpuset.$f"
			cat "/sys/fs/cgroup/$c/cpuset.$f" >"/sys/fs/cgroup/$c/$NAME/node-$k/cpuset.$f"
		done
	done
	setsid unshare --mount --net --pid --fork --kill-child --mount-proc "$HERE/node.sh" "$NAME" "$k" </dev/null >"$LOG/node-$k.log" 2>&1 &
	wait_for 5 "node-$k: namespaces" ns_init "$k"
	if [ "$k" = 1 ]; then # the host's way in
		ip link add "$NAME-0" type veth peer name up0 netns "$(ns_init 1)"
		ip addr add "$HOST_IP/24" dev "$NAME-0"; ip link set "$NAME-0" up
	else
		ip link add "up$k" netns "$(ns_init 1)" type veth peer name eth0 netns "$(ns_init "$k")"
	fi
	ip route add "$(pod_cidr "$k")" via "$(node_ip "$k")" dev "$NAME-0"
}

images() { # the cluster's own are imported; busybox is in the registry too, to be pulled as in life
	local l=() a i=$DATA/images
	[ -e "$i/pause.tar" ] || "$BIN/hk" mkimage "$i/pause.tar" e2e.local/pause:1 -user 65535:65535 -entry /pause "$BIN/pause=/pause"
	[ -e "$i/coredns.tar" ] || "$BIN/hk" mkimage "$i/coredns.tar" e2e.local/coredns:1 -entry /coredns "$BIN/coredns=/coredns"
	for a in sh ls cat sleep echo nc nslookup httpd env id hostname ps grep mkdir touch date kill true false seq head tail dd ping stat df mount vi top cp mv rm ln wc sort tr sed awk cut find od test expr printf readlink sha256sum md5sum mknod mkfifo chmod sync tee xargs basename dirname; do l+=("/bin/$a->busybox"); done
	[ -e "$i/busybox.tar" ] || "$BIN/hk" mkimage "$i/busybox.tar" e2e.local/busybox:1 /bin/ /tmp/ /etc/ /proc/ "/bin/busybox=/bin/busybox" "$BIN/fetch=/bin/fetch" "${l[@]}"
	import "$i"/{pause,coredns,busybox}.tar; say "images imported"
	wait_for 20 "registry ready: $REGISTRY" curl -sf --max-time 2 "http://$REGISTRY/v2/"
	"$BIN/hk" mkimage "$i/two.tar" busybox:2 /bin/ /tmp/ /etc/ /proc/ "/bin/busybox=/bin/busybox" "$BIN/fetch=/bin/fetch" "${l[@]}" "$HERE/README.md=/etc/two"
	push "$i/busybox.tar" busybox:1 >/dev/null
	push "$i/two.tar" busybox:2 >/dev/null # the same with one file more
}
import() {
	local d t
	for d in "$DATA"/node-*; do for t in "$@"; do ctr "${d##*-}" images import --local "$t" >/dev/null 2>>"$LOG/import.log"; done; done
}
tag() { # NAME:TAG NEW-NAME:TAG: gives an image that all nodes have another name, which may be another's
	local d
	for d in "$DATA"/node-*; do ctr "${d##*-}" images tag --force "$1" "$2" >/dev/null; done
}
push() { "$BIN/crane" push --insecure "$1" "$REGISTRY/$2" 2>>"$LOG/push.log"; } # prints the pushed reference with its digest

store-secret() { # NAMESPACE [NAME [PREFIX]]: the Secret with which a namespace's pods reach its own prefix of the bucket
	( . "$DATA/s3.env"; cat <<-YAML
		apiVersion: v1
		kind: Secret
		metadata:
		  name: ${2:-varve-store}
		  namespace: $1
		  labels: {varve.dev/store: "true"}
		stringData:
		  url: s3://varve/${3:-$1}
		  aws_endpoint: $S3
		  aws_allow_http: "true"
		  aws_region: us-east-1
		  aws_access_key_id: $ROOT_ACCESS_KEY
		  aws_secret_access_key: $ROOT_SECRET_KEY
	YAML
	)
}

kill-node() { # NODE-NUMBER: SIGKILL for all that it runs; it stays dead
	local p; p=$(outer "node.sh $NAME $1"); [ -n "$p" ] || { echo "node-$1 is not running" >&2; exit 1; }
	kill -KILL $(pgrep -P "$p") "$p"
}

down() {
	local p c d l
	rm -f "$KUBECONFIG"
	# What is in a pid namespace dies with its pid 1, and that with its outer process; mounts, links and rules go with them.
	l=$(pgrep -f "^unshare .*/(node\.sh $NAME [0-9]+|host\.sh $NAME)\$" || true)
	for p in $l; do l+=" $(pgrep -P "$p" || true)"; done
	for p in $l; do kill -KILL "$p" 2>/dev/null || true; done
	for p in $l; do for _ in $(seq 100); do [ -e "/proc/$p" ] || break; sleep 0.1; done; done
	ip link del "$NAME-0" 2>/dev/null || true
	ip route del unreachable "$NET.0.0/16" metric 9999 2>/dev/null || true
	for c in "${CGROUPS[@]}"; do
		for _ in $(seq 50); do
			[ -d "/sys/fs/cgroup/$c/$NAME" ] || break
			find "/sys/fs/cgroup/$c/$NAME" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
		done
	done
	# Mount points that `up` made, unless another cluster stands on them: removing one would unmount it there.
	pgrep -f '^unshare .*/node\.sh ' >/dev/null || [ ! -e "$DATA/made" ] || xargs rmdir --ignore-fail-on-non-empty <"$DATA/made" 2>/dev/null || true
	rm -rf "$DATA"
}

env_lines() { # what a program needs to use the cluster, a variable a line
	( . "$DATA/s3.env"; cat <<-END
		E2E_NAME=$NAME
		E2E_NET=$NET
		E2E_DATA=$DATA
		KUBECONFIG=$KUBECONFIG
		VARVE_KUBECTL=$BIN/kubectl
		VARVE_AUDIT_LOG=$LOG/audit.log
		VARVE_CRANE=$BIN/crane
		VARVE_REGISTRY=$REGISTRY
		VARVE_S3_ENDPOINT=$S3
		VARVE_S3_BUCKET=varve
		AWS_ENDPOINT=$S3
		AWS_ALLOW_HTTP=true
		AWS_REGION=us-east-1
		AWS_ACCESS_KEY_ID=$ROOT_ACCESS_KEY
		AWS_SECRET_ACCESS_KEY=$ROOT_SECRET_KEY
	END
	)
}

status() {
	[ -e "$KUBECONFIG" ] && ns_init 1 >/dev/null || { echo "down"; exit 1; }
	env_lines | sed 's/^/export /'
	echo "# logs in $LOG"
	kubectl get nodes -o wide; kubectl get pods -A -o wide
}

case ${1:-} in
up | down | status) "$1" ;;
env) env_lines ;;
import | tag | push | bucket | kill-node | store-secret | kubectl) "$@" ;;
nsenter) shift; enter "$@" ;;
*) sed -n 2,4p "$0"; exit 2 ;;
esac
