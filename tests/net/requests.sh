# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# requests.sh - a batch for jobs that are disturbed; for sourcing

# A few short requests and many long ones, so that a job with some answers is in the middle of its work.
write_requests() { # FILE
    awk 'BEGIN {
        for (i = 1; i <= 150; i++)
            printf "{\"custom_id\":\"r%03d\",\"prompt\":\"The \",\"max_tokens\":%d,\"ignore_eos\":true}\n", i,
                i <= 4 ? i : 200
    }' >"$1"
}
