#!/usr/bin/env bash
# Ray on one node of a job, until the job ends: HOST PORT of its head, which is the job's first node.
set -euo pipefail
host=$1 port=$2
options=(
    --block --disable-usage-stats --num-cpus="$SLURM_CPUS_ON_NODE" --num-gpus="${SLURM_GPUS_ON_NODE:-0}"
    --min-worker-port=0 --max-worker-port=0 # any free ones: other jobs may run on this node
)
if [ "$SLURM_NODEID" = 0 ]; then
    exec ray start --head --node-ip-address="$host" --port="$port" --include-dashboard=false "${options[@]}"
fi
until (exec 3<>"/dev/tcp/$host/$port") 2>/dev/null; do sleep 1; done
exec ray start --address="$host:$port" "${options[@]}"
