#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# array.sh - Slurm: the same requests once for each line of options, as a job array
#
# usage: sbatch --array=1-N [OPTION-OF-SBATCH]... array.sh MODEL-FOLDER REQUESTS.jsonl OPTIONS.txt RESULTS-FOLDER
#
# Task I takes line I of OPTIONS.txt, for example "--temperature 0.2 --seed 1", and writes RESULTS-FOLDER/I.jsonl. A
# task that ran before goes on where it ended. LAUNCH is as in single.sh.
#SBATCH --job-name=switchyard-array
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --time=04:00:00
#SBATCH --output=switchyard-%A_%a.log

if [ $# -ne 4 ] || [ -z "${SLURM_ARRAY_TASK_ID:-}" ]; then
    sed -n 's/^# usage: /usage: /p' "$0" >&2
    exit 64
fi
options=$(sed -n "${SLURM_ARRAY_TASK_ID}p" "$3")
if [ -z "$options" ]; then
    echo "array.sh: $3 has no line $SLURM_ARRAY_TASK_ID" >&2
    exit 64
fi
mkdir -p "$4" || exit 74
# shellcheck disable=SC2086 # commands and options are words
exec ${LAUNCH:-switchyard-run} run --model "$1" --in "$2" --out "$4/$SLURM_ARRAY_TASK_ID.jsonl" --resume $options \
    </dev/null
