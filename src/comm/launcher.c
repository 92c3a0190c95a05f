/* SPDX-License-Identifier: Apache-2.0
 * launcher.c - the end of a launcher that waits for a node it cannot reach
 *
 * When ranks fail, Open MPI's mpirun tells its daemons on all nodes to end, and waits for them: for ever when a link is cut,
 * since keep-alive of its connections does not count while something sent is unacknowledged. The daemon on the node that is cut
 * off waits in the same way. So a rank that ends a job leaves a small process behind. If the rank's parent is
 * still there a few seconds later, that process says so on the parent's standard error and kills it.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "comm/group_mpi.h"

/* $1 seconds, $2 process, $3 the time of its start, so that it is the same process still, $4 its name. */
static const char script[] = "seconds=$1 parent=$2 begun=$3 name=$4 i=0\n"
                             "while [ $i -lt $seconds ]; do\n"
                             "    sleep 1\n"
                             "    read -r line </proc/$parent/stat || exit 0\n"
                             "    set -- ${line##*) }\n"
                             "    [ \"${20}\" = \"$begun\" ] || exit 0\n"
                             "    i=$((i + 1))\n"
                             "done\n"
                             "echo \"switchyard: $name (process $parent on $(uname -n)) has not ended $seconds s after "
                             "its ranks gave up: it waits"
                             " for a node that does not answer, and is killed\" >>/proc/$parent/fd/2\n"
                             "kill -9 $parent\n";

/* A launcher that serves this job alone, as far as its name tells: the daemons of a standing DVM (orte-dvm) have the same
 * name, and the README says not to use one. */
static bool is_launcher(const char *name)
{
    static const char *const names[] = {"mpirun", "mpiexec", "orterun", "prterun", "orted"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i]))
            return true;
    return false;
}

/* "12 (mpirun) S 1 ...": the name, and the 20th word after it. */
static bool split_status(char *line, char **name, char **begun)
{
    char *end = strrchr(line, ')'), *save = NULL;

    *name = strchr(line, '(');
    if (!*name || !end || end <= *name)
        return false;
    *end = 0;
    ++*name;
    *begun = strtok_r(end + 1, " ", &save);
    for (int i = 1; i < 20 && *begun; i++)
        *begun = strtok_r(NULL, " ", &save);
    return *begun != NULL;
}

static bool read_status(pid_t process, char *line, size_t room)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)process);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    bool got = fgets(line, (int)room, file) != NULL;
    fclose(file);
    return got;
}

/* Started anew, not forked: this process may be large. It must hold none of the pipes whose end the launcher waits for. */
static void leave_behind(char *const *argv)
{
    char *const environment[] = {"PATH=/usr/bin:/bin", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    pid_t process;

    if (posix_spawn_file_actions_init(&actions))
        return;
    if (posix_spawnattr_init(&attributes)) {
        posix_spawn_file_actions_destroy(&actions);
        return;
    }
    bool set = !posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
    for (int fd = 0; fd < 3 && set; fd++)
        set = !posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
    /* Without it the job ends as Open MPI ends it: nothing else depends on this. */
    if (set)
        (void)posix_spawn(&process, "/bin/sh", &actions, &attributes, argv, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
}

void sy_launcher_outlive(int seconds)
{
    char line[1024], wait[16], parent[32], *name, *begun;
    pid_t process = getppid();

    if (!read_status(process, line, sizeof line) || !split_status(line, &name, &begun) || !is_launcher(name))
        return;
    snprintf(wait, sizeof wait, "%d", seconds);
    snprintf(parent, sizeof parent, "%lld", (long long)process);
    leave_behind((char *const[]){"sh", "-c", (char *)script, "sh", wait, parent, begun, name, NULL});
}
