#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# single.sh - Slurm: one job, a file of requests
#
# usage: sbatch [OPTION-OF-SBATCH]... single.sh MODEL-FOLDER REQUESTS.jsonl RESULTS.jsonl [OPTION-OF-RUN]...
#
# LAUNCH is what starts the ranks: switchyard-run, which calls mpirun; "switchyard-run --srun"; or, where ranks are all
# that is wanted, "mpirun switchyard" or "srun --mpi=pmix switchyard". Options of sbatch go before those written here.
#SBATCH --job-name=switchyard
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --time=04:00:00
#SBATCH --output=switchyard-%j.log
# For speed, all of the nodes:             sbatch --exclusive ...
# With GPUs, a rank for each of them:      sbatch --gpus-per-node=8 --ntasks-per-node=8 ...

if [ $# -lt 3 ]; then
    sed -n 's/^# usage: /usage: /p' "$0" >&2
    exit 64
fi
model=$1
requests=$2
results=$3
shift 3
# shellcheck disable=SC2086 # a command with arguments
exec ${LAUNCH:-switchyard-run} run --model "$model" --in "$requests" --out "$results" "$@" </dev/null
