# Settings and helpers that build.sh, cluster.sh, node.sh and host.sh share; sourced by them.
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
NAME=${E2E_NAME:-e2e}          # also the cgroup and the host's veth
NET=${E2E_NET:-10.90}          # the cluster's /16
NODES=${E2E_NODES:-1}
GPUS=${E2E_GPUS:-4}            # fake nvidia.com/gpu devices on each node
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/varve
DATA=${E2E_DATA:-$CACHE/$NAME-cluster}
BUCKETS=${E2E_BUCKETS:-$DATA/buckets} # what the bucket server serves; outside DATA it outlives the cluster

PKI=$DATA/pki
LOG=$DATA/log
SVC_NET=$NET.16.0/20 API_IP=$NET.16.1 DNS_IP=$NET.16.10 POD_NET=$NET.128.0/17
HOST_IP=$NET.0.1 CP_IP=$NET.0.2
REGISTRY=$HOST_IP:5000
S3=http://$HOST_IP:7070
CGROUPS=(cpu cpuacct cpuset memory devices freezer blkio pids systemd unified)
export E2E_NAME=$NAME E2E_NET=$NET E2E_NODES=$NODES E2E_GPUS=$GPUS E2E_DATA=$DATA E2E_BUCKETS=$BUCKETS

# The programs are built once for each state of their sources, by any clone of the repository.
sources() { (cd "$HERE" && find go.mod go.sum cmd tools build.sh -type f | LC_ALL=C sort); }
BIN=$CACHE/cluster-bin/$(cd "$HERE" && sources | xargs sha256sum | sha256sum | cut -c1-16)

node_ip() { echo "$NET.0.$((1 + $1))"; }
pod_cidr() { echo "$NET.$((127 + $1)).0/24"; }

render() { # FILE NODE-NUMBER
	sed -e "s|@DATA@|$DATA|g; s|@NODE_DATA@|$DATA/node-$2|g; s|@PKI@|$PKI|g; s|@NAME@|$NAME|g; s|@NODE@|node-$2|g" \
		-e "s|@DNS_IP@|$DNS_IP|g; s|@POD_CIDR@|$(pod_cidr "$2")|g; s|@POD_NET@|$POD_NET|g; s|@REGISTRY@|$REGISTRY|g" "$1"
}

run() { # NAME CMD...: keeps CMD running, its output in the log folder
	local n=$1 rc; shift
	( while :; do rc=0; "$@" >>"$LOG/$n.log" 2>&1 || rc=$?; echo "--- exit $rc at $(date -Is)" >>"$LOG/$n.log"; sleep 1; done ) &
}
