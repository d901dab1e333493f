#!/usr/bin/env bash
# node.sh NAME NODE-NUMBER: a node, as the first process of its own mount, pid and network namespaces.
# node-1 also runs the control plane. Everything here dies with this process.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
export PATH=$BIN:/usr/sbin:/usr/bin:/sbin:/bin
k=$2 d=$DATA/node-$2 ip=$(node_ip "$2")

folders() {
	local s f
	mount --make-rshared /
	mount -t tmpfs tmpfs /run; mkdir -p /run/lock
	mount -t tmpfs tmpfs /var/lib/cni # libcni writes here, whatever it is told
	mount --bind "$d/kubelet" /var/lib/kubelet # the device plugins' folder is fixed below it
	mount --bind "$d/pods" /var/log/pods
	mount --bind "$d/containers" /var/log/containers
	# The kubelet would write these machine-wide settings: show it the values that it wants instead.
	for s in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
		f=/run/sysctl-${s//\//-}; echo "${s#*=}" >"$f"; mount --bind "$f" "/proc/sys/${s%=*}"
	done
}

network() {
	local j
	ip link set lo up
	echo 1 >/proc/sys/net/ipv4/ip_forward
	if [ "$k" = 1 ]; then # the nodes' switch, which the host and the other nodes plug into
		ip link add eth0 type bridge
		[ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables
		plug_in &
	else
		until [ -e /proc/sys/net/ipv4/conf/eth0 ]; do sleep 0.02; done
	fi
	ip addr add "$ip/24" dev eth0; ip link set eth0 up
	ip route add "$SVC_NET" dev eth0
	for j in $(seq "$NODES"); do [ "$j" = "$k" ] || ip route add "$(pod_cidr "$j")" via "$(node_ip "$j")"; done
}

plug_in() { # every link that cluster.sh puts into this namespace, as it comes
	local j seen=' '
	until [ "$(wc -w <<<"$seen")" -ge "$NODES" ]; do
		for j in $(ls -d /proc/sys/net/ipv4/conf/up* 2>/dev/null | sed 's|.*/||'); do
			case $seen in *" $j "*) ;; *) ip link set "$j" master eth0 up; seen="$seen$j " ;; esac
		done
		sleep 0.02
	done
}

control_plane() {
	run etcd hk etcd --data-dir "$DATA/etcd" --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
		--listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster default=http://127.0.0.1:2380 \
		--unsafe-no-fsync --log-level=warn
	until curl -sf --max-time 1 http://127.0.0.1:2379/health >/dev/null; do sleep 0.05; done
	run kube-apiserver hk kube-apiserver --advertise-address="$CP_IP" --secure-port=6443 --etcd-servers=http://127.0.0.1:2379 \
		--tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" --client-ca-file="$PKI/ca.crt" \
		--kubelet-certificate-authority="$PKI/ca.crt" --kubelet-client-certificate="$PKI/apiserver-kubelet.crt" --kubelet-client-key="$PKI/apiserver-kubelet.key" \
		--kubelet-preferred-address-types=InternalIP --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
		--service-account-issuer=https://kubernetes.default.svc.cluster.local --service-account-key-file="$PKI/sa.key" --service-account-signing-key-file="$PKI/sa.key" \
		--requestheader-client-ca-file="$PKI/ca.crt" --requestheader-allowed-names=front-proxy-client --requestheader-username-headers=X-Remote-User \
		--requestheader-group-headers=X-Remote-Group --requestheader-extra-headers-prefix=X-Remote-Extra- \
		--proxy-client-cert-file="$PKI/front-proxy.crt" --proxy-client-key-file="$PKI/front-proxy.key" \
		--service-cluster-ip-range="$SVC_NET" --allow-privileged=true --profiling=false \
		--audit-policy-file="$HERE/conf/audit.yaml" --audit-log-path="$LOG/audit.log" --audit-log-mode=blocking ${E2E_APISERVER_FLAGS:-}
	( wait_for_api; controllers; wait ) &
}

controllers() { # the client limits are raised: at the defaults CoreDNS comes 6 s later
	local c
	for c in controller-manager scheduler; do
		set -- --kubeconfig="$PKI/$c.kubeconfig" --authentication-kubeconfig="$PKI/$c.kubeconfig" --authorization-kubeconfig="$PKI/$c.kubeconfig" --leader-elect=false --profiling=false --kube-api-qps=300 --kube-api-burst=600
		[ $c = scheduler ] || set -- "$@" --use-service-account-credentials --service-account-private-key-file="$PKI/sa.key" --root-ca-file="$PKI/ca.crt" \
			--cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key" ${E2E_KCM_FLAGS:-}
		run kube-$c hk kube-$c "$@"
	done
}

wait_for_api() { until curl -sfk --max-time 1 "https://$CP_IP:6443/readyz" >/dev/null; do sleep 0.1; done; }

folders
network
run "node-$k-containerd" containerd -c "$d/conf/containerd.toml"
[ "$k" != 1 ] || control_plane
wait_for_api # a kubelet whose first packets are lost (no API server or link yet) may wait 45 s to register
run "node-$k-kubelet" hk kubelet --config="$d/conf/kubelet.yaml" --kubeconfig="$PKI/node-$k.kubeconfig" --hostname-override="node-$k" --node-ip="$ip"
run "node-$k-kube-proxy" hk kube-proxy --config="$d/conf/kube-proxy.yaml" --hostname-override="node-$k"
[ "$GPUS" = 0 ] || run "node-$k-fakegpu" fakegpu -count "$GPUS"
while :; do wait -n 2>/dev/null || sleep 1; done
