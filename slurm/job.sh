# What the three jobs of this folder have in common. They source it; CODE is the folder with tune_main.py.
# shellcheck shell=bash disable=SC2153

fail() {  # a line that says what is wrong and what to do
    echo "$1" >&2
    exit 2
}

# Paths are relative to the folder in which sbatch was called, although Slurm runs a copy of the script.
cd "$SLURM_SUBMIT_DIR" || fail "$SLURM_SUBMIT_DIR, where sbatch was called, is not there on $(hostname)"
export PYTHONPATH="$CODE${PYTHONPATH:+:$PYTHONPATH}"
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}  # srun has not taken it from sbatch since Slurm 22.05

# The environment: the one that was active when sbatch was called, or .venv, or a new .venv.
if [ -n "${VIRTUAL_ENV:-}" ]; then
    PATH=$VIRTUAL_ENV/bin:$PATH
elif [ -x "$CODE/.venv/bin/python" ]; then
    PATH=$CODE/.venv/bin:$PATH
elif [ -z "${CONDA_PREFIX:-}" ]; then
    # Tasks of an array wait for the first one.
    flock "$CODE/.venv.lock" make --directory "$CODE" .venv/.ready ||
        fail "$CODE/.venv could not be made on $(hostname); run \`make .venv/.ready\` in $CODE where the network is, then sbatch"
    PATH=$CODE/.venv/bin:$PATH
fi

check() {  # the doctor's lines for every node, with the job's arguments; ends the job at a problem
    srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --overlap \
        python -m codeq.execution.doctor "$@" || fail "nothing was started: see the lines above"
}

run() {  # runs a command that saves and ends at SIGTERM; ends the job with its exit code, or requeues it
    local child code=0 is_limit_near=""
    "$@" &
    child=$!
    trap 'is_limit_near=1; kill -TERM "$child" 2>/dev/null || true' USR1
    trap : TERM  # scancel and preemption send it to the command too, for which this script waits
    while kill -0 "$child" 2>/dev/null; do
        wait "$child" || true  # a trapped signal ends it too
    done
    wait "$child" || code=$?
    trap - TERM USR1
    if [ -n "$is_limit_near" ] && [ "$code" = 143 ]; then
        echo "saved ahead of the time limit; requeued"
        scontrol requeue "$SLURM_JOB_ID" || fail "not requeued: the same sbatch with --resume at its end goes on"
        exec sleep 300  # until Slurm ends this script
    fi
    exit "$code"
}
