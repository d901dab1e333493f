#!/usr/bin/env bash
# host.sh NAME: what every cluster has next to it, on the host's address: a registry and an S3 server
# over a folder. Runs in pid and mount namespaces of its own, so that both die with it.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
export PATH=$BIN:$PATH
until ip -o addr show dev "$NAME-0" 2>/dev/null | grep -q "$HOST_IP/"; do sleep 0.02; done
. "$DATA/s3.env" # ROOT_ACCESS_KEY, ROOT_SECRET_KEY
export ROOT_ACCESS_KEY ROOT_SECRET_KEY
OTEL_TRACES_EXPORTER=none run registry registry serve "$DATA/registry.yaml"
run s3 versitygw --port "$HOST_IP:7070" --keep-alive --quiet posix "$BUCKETS"
while :; do wait -n 2>/dev/null || sleep 1; done
