#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# requeue.sh - Slurm: work for longer than the time limit; the job drains before it, goes back to the queue and goes on
#
# usage: sbatch [OPTION-OF-SBATCH]... requeue.sh MODEL-FOLDER REQUESTS.jsonl RESULTS.jsonl [OPTION-OF-RUN]...
#
# Slurm signals this script 300 s before the time limit, or up to a minute earlier (requests in flight may need more:
# --signal=B:USR1@SECONDS). It passes the signal on, so that those requests end and no others start, and puts the job
# back into the queue; the next run does what is left. LAUNCH is as in single.sh: mpirun and srun pass signals on.
#SBATCH --job-name=switchyard
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=switchyard-%j.log

if [ $# -lt 3 ]; then
    sed -n 's/^# usage: /usage: /p' "$0" >&2
    exit 64
fi
model=$1
requests=$2
results=$3
shift 3

count() { # lines of results so far
    if [ -e "$results" ]; then wc -l <"$results"; else echo 0; fi
}

job=
drained=
on_signal() {
    drained=yes
    again=yes
    [ -z "$job" ] || kill -USR1 "$job"
}
trap on_signal USR1

before=$(count)
# shellcheck disable=SC2086 # a command with arguments
${LAUNCH:-switchyard-run} run --model "$model" --in "$requests" --out "$results" --resume "$@" </dev/null &
job=$!
# A signal ends wait, and not the job.
again=yes
while [ -n "$again" ]; do
    again=
    wait "$job"
    rc=$?
done
[ -n "$drained" ] || exit "$rc"
if [ "$(count)" -eq "$before" ]; then
    echo "requeue.sh: nothing was done within the time limit (exit code $rc); the job ends" >&2
    exit 1
fi
echo "requeue.sh: $(count) lines are done; back to the queue" >&2
exec scontrol requeue "$SLURM_JOB_ID"
