# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# prompt.sh - one prompt on several nodes, and what the job says of its transports; for sourcing after job.sh

run_prompt() { # N OPTION...
    ranks=$1
    shift
    # shellcheck disable=SC2154 # demo is of job.sh
    switchyard_ranks "$ranks" run -m "$demo" --prompt "In the beginning God" -n 32 --temperature 0 --compute f32 \
        --ignore-eos "$@"
}

transports() { # SED_SCRIPT: what else depends on this machine's libraries
    sed -n 's/^switchyard: transports of rank 0: //p' "$SY_TMP/err" | sed "s/ ([^()]*, point to point)//; $1"
}
