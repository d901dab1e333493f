#!/usr/bin/env bash
# smoke.sh: proves that a cluster that is up runs pods, Services, DNS, Jobs, a registry, a bucket, limits, devices, admission and eviction.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$HERE"
export KUBECONFIG=$DATA/kubeconfig
k() { "$BIN/kubectl" "$@"; }
n=0
ok() { # WHAT EXPECTED-PATTERN CMD...
	local what=$1 want=$2 got i; shift 2
	for i in $(seq 100); do
		got=$("$@" 2>&1) || true
		if grep -qE -- "$want" <<<"$got"; then n=$((n + 1)); echo "ok   $what"; return; fi
		sleep 0.2
	done
	echo "FAIL $what: want /$want/, got: $got"; echo "$n passed, 1 failed"; exit 1
}
trap 'k delete ns t r --wait=false >/dev/null 2>&1; k delete -f smoke/crd.yaml --wait=false >/dev/null 2>&1' EXIT
render smoke/a.yaml 1 | k apply --server-side -f - >/dev/null
X="k -n t exec shared -c a --"
ok "Indexed Job" "condition met" k -n t wait --for=condition=Complete job/idx --timeout=60s
ok "termination message" "done-1" k -n t get pod -l batch.kubernetes.io/job-completion-index=1 -o jsonpath='{.items[0].status.containerStatuses[0].state.terminated.message}'
ok "message from logs" "^7 last words" k -n t get pod term -o jsonpath='{.status.containerStatuses[0].state.terminated.exitCode} {.status.containerStatuses[0].state.terminated.message}'
ok "Deployment" "successfully" k -n t rollout status deploy/web --timeout=60s
ok "native sidecar, emptyDir, logs" "from-sidecar" k -n t logs shared -c a
IP=$(k -n t get svc web -o jsonpath='{.spec.clusterIP}')
ok "ClusterIP" "^web-" $X fetch "http://$IP"
ok "DNS, short name" "^web-" $X fetch http://web
ok "headless DNS" "Address: " $X nslookup web-headless.t.svc.cluster.local
ok "no way out" "unreachable" $X fetch http://192.0.2.1
ok "host's registry, from a pod" "busybox" $X fetch "http://$REGISTRY/v2/_catalog"
ok "host's S3 server, from a pod" "403" $X fetch "$S3/varve"
ok "image pulled from the registry" "@sha256" k -n t get pod pulled -o jsonpath='{.status.containerStatuses[0].imageID}'
ok "API to pod proxy" "^web-" k get --raw /api/v1/namespaces/t/services/web:80/proxy/
"$BIN/kubectl" -n t port-forward svc/web 18080:80 >/dev/null & pf=$!
ok "port-forward" "^web-" curl -s -m 2 http://127.0.0.1:18080
kill $pf; wait $pf 2>/dev/null || true
ok "memory limit" "^OOMKilled 137" k -n t get pod oom -o jsonpath='{.status.containerStatuses[0].state.terminated.reason} {.status.containerStatuses[0].state.terminated.exitCode}'
ok "image volume" "coredns" k -n t logs imgvol
ok "restricted pod: seccomp" "Seccomp:.*2" k -n r logs restricted
ok "PodSecurity" "violates PodSecurity" k -n r run bad --image=e2e.local/busybox:1 -- sleep 1
echo '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"restricted","namespace":"r"}}' | k create --raw /api/v1/namespaces/r/pods/restricted/eviction -f - >/dev/null
ok "Eviction API" "NotFound|EvictionByEvictionAPI" k -n r get pod restricted -o yaml
k apply --server-side -f smoke/crd.yaml >/dev/null; k wait --for=condition=Established crd/widgets.e2e.example.com --timeout=10s >/dev/null
widget() { printf 'apiVersion: e2e.example.com/v1\nkind: Widget\nmetadata: {name: w, namespace: t}\nspec: {num: %s, max: %s}\n' "$1" "$2" | k apply --server-side -f -; }
ok "CRD" "applied" widget 3 9
ok "CEL" "must not exceed" widget 10 9
ok "CEL transition rule" "immutable" widget 3 8
ok "ValidatingAdmissionPolicy" "not seven" widget 7 9
status() { printf 'apiVersion: e2e.example.com/v1\nkind: Widget\nmetadata: {name: w, namespace: t}\nstatus: {num: 3, conditions: [{type: Ready, status: "True"}]}\n' | k apply --server-side --subresource=status --field-manager=ctl -f -; }
ok "status apply" "applied" status
ok "wait on a condition" "met" k -n t wait --for=condition=Ready widget/w --timeout=5s
G=0; for g in $(k get nodes -o jsonpath='{.items[*].status.allocatable.nvidia\.com/gpu}'); do G=$((G + g)); done; C=$((G + 1))
if [ "$G" -gt 0 ]; then
	sed "s/: 5$/: $C/" smoke/gpu.yaml | k apply -f - >/dev/null
	running() { k -n t get pods -l job-name=gpu --field-selector=status.phase=Running --no-headers | wc -l; }
	ok "device plugin: $G of $C pods run" "^$G$" running
	ok "device plugin: env" "NVIDIA_VISIBLE_DEVICES=gpu-" k -n t logs -l job-name=gpu
	ok "one too many stays Pending" "Insufficient nvidia.com/gpu" k -n t get pods -l job-name=gpu -o jsonpath='{.items[*].status.conditions[*].message}'
fi
echo "$n passed, 0 failed"
