/* SPDX-License-Identifier: Apache-2.0
 * fault_job.c - a job in which one rank comes to grief; fault.t looks at how it ends
 *
 * usage: fault_job HOW RANK, HOW being abort, kill, stop, ended or none
 *
 * ended: once there is a line on standard input the rank gives up, and is ended as another's abort ends it before its own. The
 * others only wait.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/group.h"

#define TIMEOUT_MS 1000

int main(int argc, char **argv)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_group *group = NULL;

    if (argc != 3 || sy_group_init(&argc, &argv, TIMEOUT_MS, &group, &err) != SY_OK) {
        fprintf(stderr, "usage: fault_job abort|kill|stop|ended|none RANK\n%s\n", err.text);
        return 1;
    }
    if (sy_group_rank(group) == atoi(argv[2])) {
        if (strcmp(argv[1], "abort") == 0)
            sy_group_abort(group, sy_status_exit_code(SY_ERR_INTERNAL));
        if (strcmp(argv[1], "kill") == 0)
            raise(SIGKILL);
        if (strcmp(argv[1], "stop") == 0)
            raise(SIGSTOP);
        if (strcmp(argv[1], "ended") == 0) {
            getchar();
            sy_group_give_up(group);
            raise(SIGKILL);
        }
    }
    while (strcmp(argv[1], "ended") == 0)
        pause();
    enum sy_status status = sy_group_barrier(group, &err);
    if (status != SY_OK) {
        fprintf(stderr, "rank %d: %s\n", sy_group_rank(group), err.text);
        sy_group_abort(group, sy_status_exit_code(status));
    }
    sy_group_fini(group);
    return 0;
}
