/* SPDX-License-Identifier: Apache-2.0
 * group.c - starting and ending MPI, who is on which node, and the communicators
 */
#include "comm/group.h"

#include <ctype.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/group_mpi.h"

#define HOST_MAX   256
#define LAUNCHER_S 4 /* for the launcher to end after this rank has given up */
#define ABORT_S    2 /* for MPI to end the job before the process ends itself */
#define FINALIZE_S 5 /* at least, for the end of MPI */

enum channel { CHANNEL_WORLD, CHANNEL_NODE, CHANNEL_ROWS, N_CHANNELS };

struct sy_group {
    MPI_Comm comm[N_CHANNELS]; /* control messages of the job, of the node; rows of the transports */
    struct sy_team world, node;
    int64_t timeout_ms;
    uint64_t epoch;
    struct sy_mover *movers;
    bool given_up; /* sy_group_give_up() */
    int n_nodes;
    int *node_of;           /* [size] */
    char (*host)[HOST_MAX]; /* [size] */
};

/* Some calls of MPI wait for other ranks and cannot be polled: its start, its end, making communicators. While one runs, an
 * alarm ends the process when the deadline passes. */
static struct {
    char text[160];
    size_t len;
    int code;
    struct sigaction before;
} watchdog;

static void on_alarm(int signal_number)
{
    (void)signal_number;
    if (watchdog.len && write(STDERR_FILENO, watchdog.text, watchdog.len) < 0)
        _exit(watchdog.code);
    _exit(watchdog.code);
}

static void watchdog_begin(unsigned seconds, int code, const char *text)
{
    struct sigaction action = {.sa_handler = on_alarm};
    sigset_t set;

    snprintf(watchdog.text, sizeof watchdog.text, "%s", text);
    watchdog.len = strlen(watchdog.text);
    watchdog.code = code;
    sigaction(SIGALRM, &action, &watchdog.before);
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    alarm(seconds);
}

static void watchdog_end(void)
{
    alarm(0);
    sigaction(SIGALRM, &watchdog.before, NULL);
}

static unsigned watchdog_seconds(int64_t timeout_ms, unsigned least)
{
    if (timeout_ms <= 0)
        return 0;
    int64_t seconds = (timeout_ms + 999) / 1000;
    if (seconds < least)
        return least;
    return seconds > INT_MAX ? INT_MAX : (unsigned)seconds;
}

enum sy_status sy_mpi_error(struct sy_error *err, int code, const char *what)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int len = 0;

    if (MPI_Error_string(code, text, &len) != MPI_SUCCESS)
        snprintf(text, sizeof text, "MPI error %d", code);
    return sy_error_set(err, SY_ERR_PEER, "%s: %s", what, text);
}

void sy_request_drop(MPI_Request *request)
{
    int complete = 0;

    if (*request == MPI_REQUEST_NULL)
        return;
    MPI_Cancel(request);
    MPI_Test(request, &complete, MPI_STATUS_IGNORE);
    if (!complete)
        MPI_Request_free(request);
}

static void team_fini(struct sy_team *team)
{
    free(team->world);
    free(team->in);
    free(team->requests);
    free(team->statuses);
    free(team->done);
    free(team->received);
    *team = (struct sy_team){0};
}

static enum sy_status team_init(struct sy_group *group, enum channel channel, struct sy_team *team,
                                struct sy_error *err)
{
    MPI_Group job, members;

    team->group = group;
    team->channel = channel;
    MPI_Comm_rank(group->comm[channel], &team->rank);
    MPI_Comm_size(group->comm[channel], &team->size);
    size_t size = (size_t)team->size;
    int *own = malloc(size * sizeof *own);
    team->world = calloc(size, sizeof *team->world);
    team->in = calloc(size, sizeof *team->in);
    team->requests = malloc(size * sizeof(MPI_Request));
    team->statuses = calloc(size, sizeof *team->statuses);
    team->done = calloc(size, sizeof *team->done);
    team->received = calloc(size, sizeof *team->received);
    if (!own || !team->world || !team->in || !team->requests || !team->statuses || !team->done || !team->received) {
        free(own);
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the messages of %d ranks", team->size);
    }
    for (int r = 0; r < team->size; r++) {
        own[r] = r;
        team->requests[r] = MPI_REQUEST_NULL;
    }
    MPI_Comm_group(group->comm[CHANNEL_WORLD], &job);
    MPI_Comm_group(group->comm[channel], &members);
    MPI_Group_translate_ranks(members, team->size, own, job, team->world);
    MPI_Group_free(&job);
    MPI_Group_free(&members);
    free(own);
    return SY_OK;
}

/* Errors come back as codes from here on. These calls are collective and cannot be polled. */
static enum sy_status make_communicators(struct sy_group *group, struct sy_error *err)
{
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    int rc = MPI_Comm_dup(MPI_COMM_WORLD, &group->comm[CHANNEL_WORLD]);
    if (rc == MPI_SUCCESS)
        rc = MPI_Comm_dup(MPI_COMM_WORLD, &group->comm[CHANNEL_ROWS]);
    if (rc == MPI_SUCCESS)
        rc = MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &group->comm[CHANNEL_NODE]);
    if (rc != MPI_SUCCESS)
        return sy_mpi_error(err, rc, "making communicators");
    for (int c = 0; c < N_CHANNELS; c++)
        MPI_Comm_set_errhandler(group->comm[c], MPI_ERRORS_RETURN);
    return SY_OK;
}

static enum sy_status learn_hosts(struct sy_group *group, struct sy_error *err)
{
    int size = group->world.size;
    char mine[HOST_MAX] = "";

    group->node_of = calloc((size_t)size, sizeof *group->node_of);
    group->host = calloc((size_t)size, sizeof *group->host);
    if (!group->node_of || !group->host)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the names of %d ranks", size);
    if (gethostname(mine, sizeof mine - 1) != 0)
        snprintf(mine, sizeof mine, "unknown");
    snprintf(group->host[group->world.rank], HOST_MAX, "%s", mine);
    enum sy_status status = sy_group_allgather(group, mine, sizeof mine, group->host, err);
    for (int r = 0; r < size; r++)
        group->host[r][HOST_MAX - 1] = 0;
    return status;
}

/* Nodes are numbered by their lowest rank. */
static enum sy_status number_nodes(struct sy_group *group, struct sy_error *err)
{
    int first = group->node.world[0];
    enum sy_status status = sy_group_allgather(group, &first, sizeof first, group->node_of, err);

    group->n_nodes = 0;
    for (int r = 0; status == SY_OK && r < group->world.size; r++)
        group->node_of[r] = group->node_of[r] == r ? group->n_nodes++ : group->node_of[group->node_of[r]];
    return status;
}

static void group_free(struct sy_group *group)
{
    team_fini(&group->world);
    team_fini(&group->node);
    free(group->node_of);
    free(group->host);
    free(group);
}

/* What Open MPI should be told before it starts, where nobody has said otherwise. Other libraries do not look at these names.
 * - A rank that waits inside MPI gives its core away: with more ranks than cores, an exchange takes a thousand times as
 *   long without.
 * - A large message goes in fragments of 32 KiB, of which 3 may be on the way; the next ones need both ranks to look. With
 *   32, ranks that have begun to sleep between looks still move 1 MiB in one go (on a busy machine 2 ms, not 100). */
static void advise_mpi(void)
{
    setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0);
    setenv("OMPI_MCA_pml_ob1_send_pipeline_depth", "32", 0);
}

enum sy_status sy_group_init(int *argc, char ***argv, int64_t timeout_ms, struct sy_group **out, struct sy_error *err)
{
    struct sy_group *group = calloc(1, sizeof *group);
    char late[160];
    int provided = 0;

    if (!group)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the group of ranks");
    group->timeout_ms = timeout_ms;
    for (int c = 0; c < N_CHANNELS; c++)
        group->comm[c] = MPI_COMM_NULL;
    snprintf(late, sizeof late, "switchyard: start of MPI: not every rank of the job was there within %lld ms\n",
             (long long)timeout_ms);
    watchdog_begin(watchdog_seconds(timeout_ms, 1), sy_status_exit_code(SY_ERR_PEER), late);
    advise_mpi();
    int rc = MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided);
    enum sy_status status = SY_OK;
    if (rc != MPI_SUCCESS)
        status = sy_mpi_error(err, rc, "start of MPI");
    else if (provided < MPI_THREAD_FUNNELED)
        status = sy_error_set(err, SY_ERR_SYSTEM,
                              "%s does not allow threads beside the one that communicates "
                              "(MPI_THREAD_FUNNELED); use a build of it with threads",
                              sy_group_mpi_version());
    if (status == SY_OK)
        status = make_communicators(group, err);
    watchdog_end();
    if (status == SY_OK)
        status = team_init(group, CHANNEL_WORLD, &group->world, err);
    if (status == SY_OK)
        status = team_init(group, CHANNEL_NODE, &group->node, err);
    if (status == SY_OK)
        status = learn_hosts(group, err);
    if (status == SY_OK)
        status = number_nodes(group, err);
    if (status != SY_OK) {
        group_free(group);
        return status;
    }
    *out = group;
    return SY_OK;
}

enum sy_status sy_group_part(struct sy_group *group, int part, struct sy_error *err)
{
    MPI_Comm *node = &group->comm[CHANNEL_NODE], parted = MPI_COMM_NULL;

    sy_group_guard(group, "parting nodes as the cluster file has them");
    int rc = MPI_Comm_split(*node, part, group->node.rank, &parted);
    if (rc == MPI_SUCCESS)
        rc = MPI_Comm_free(node);
    sy_group_unguard();
    if (rc != MPI_SUCCESS)
        return sy_mpi_error(err, rc, "making communicators");
    *node = parted;
    MPI_Comm_set_errhandler(*node, MPI_ERRORS_RETURN);
    team_fini(&group->node);
    enum sy_status status = team_init(group, CHANNEL_NODE, &group->node, err);
    status = sy_group_agree(group, status, err);
    return status ? status : number_nodes(group, err);
}

void sy_group_fini(struct sy_group *group)
{
    if (!group)
        return;
    /* A rank that fails here fails alone and late; its work is done, and the alarm keeps it from waiting for ever. */
    sy_group_barrier(group, NULL);
    watchdog_begin(watchdog_seconds(group->timeout_ms, FINALIZE_S), sy_status_exit_code(SY_ERR_PEER),
                   "switchyard: end of MPI: some ranks of the job did not come\n");
    for (int c = 0; c < N_CHANNELS; c++)
        MPI_Comm_free(&group->comm[c]);
    MPI_Finalize();
    watchdog_end();
    group_free(group);
}

void sy_group_give_up(struct sy_group *group)
{
    if (!group || group->given_up)
        return;
    group->given_up = true;
    if (group->n_nodes > 1)
        sy_launcher_outlive(LAUNCHER_S);
}

void sy_group_abort(struct sy_group *group, int exit_code)
{
    fflush(NULL);
    sy_group_give_up(group);
    watchdog_begin(ABORT_S, exit_code, "");
    for (struct sy_mover *mover = group ? group->movers : NULL; mover; mover = mover->next)
        if (mover->end)
            mover->end(mover);
    if (group)
        MPI_Abort(MPI_COMM_WORLD, exit_code);
    _exit(exit_code);
}

struct sy_team *sy_group_world(struct sy_group *group)
{
    return &group->world;
}

struct sy_team *sy_group_node(struct sy_group *group)
{
    return &group->node;
}

int sy_team_isend(const struct sy_team *team, const void *data, size_t bytes, int to, int tag, MPI_Request *request)
{
    return MPI_Isend(data, (int)bytes, MPI_BYTE, to, tag, team->group->comm[team->channel], request);
}

int sy_team_irecv(const struct sy_team *team, void *data, size_t bytes, int from, int tag, MPI_Request *request)
{
    return MPI_Irecv(data, (int)bytes, MPI_BYTE, from, tag, team->group->comm[team->channel], request);
}

int sy_group_row_isend(const struct sy_group *group, const void *data, size_t bytes, int to, int tag,
                       MPI_Request *request)
{
    return MPI_Isend(data, (int)bytes, MPI_BYTE, to, tag, group->comm[CHANNEL_ROWS], request);
}

int sy_group_row_irecv(const struct sy_group *group, void *data, size_t bytes, int from, int tag, MPI_Request *request)
{
    return MPI_Irecv(data, (int)bytes, MPI_BYTE, from, tag, group->comm[CHANNEL_ROWS], request);
}

uint64_t sy_group_next_epoch(struct sy_group *group)
{
    return ++group->epoch;
}

void sy_group_add_mover(struct sy_group *group, struct sy_mover *mover)
{
    mover->next = group->movers;
    group->movers = mover;
}

void sy_group_remove_mover(struct sy_group *group, struct sy_mover *mover)
{
    struct sy_mover **at = &group->movers;

    while (*at && *at != mover)
        at = &(*at)->next;
    if (*at)
        *at = mover->next;
}

enum sy_status sy_group_move(struct sy_group *group, struct sy_error *err)
{
    enum sy_status status = SY_OK;

    for (struct sy_mover *mover = group->movers; mover && status == SY_OK; mover = mover->next)
        status = mover->move(mover, err);
    return status;
}

void sy_group_set_timeout(struct sy_group *group, int64_t timeout_ms)
{
    group->timeout_ms = timeout_ms;
}

void sy_group_guard(struct sy_group *group, const char *what)
{
    char late[160];

    snprintf(late, sizeof late, "switchyard: %s: some ranks of the job did not come\n", what);
    watchdog_begin(watchdog_seconds(group->timeout_ms, 1), sy_status_exit_code(SY_ERR_PEER), late);
}

void sy_group_unguard(void)
{
    watchdog_end();
}

enum sy_status sy_group_alltoallv(struct sy_group *group, const void *send, const int *send_bytes, const int *send_at,
                                  void *recv, const int *recv_bytes, const int *recv_at, struct sy_error *err)
{
    int rc = MPI_Alltoallv(send, send_bytes, send_at, MPI_BYTE, recv, recv_bytes, recv_at, MPI_BYTE,
                           group->comm[CHANNEL_WORLD]);

    return rc == MPI_SUCCESS ? SY_OK : sy_mpi_error(err, rc, "MPI_Alltoallv");
}

int64_t sy_group_timeout_ms(const struct sy_group *group)
{
    return group->timeout_ms;
}

int sy_group_rank(const struct sy_group *group)
{
    return group->world.rank;
}

int sy_group_size(const struct sy_group *group)
{
    return group->world.size;
}

int sy_group_n_nodes(const struct sy_group *group)
{
    return group->n_nodes;
}

int sy_group_node_rank(const struct sy_group *group)
{
    return group->node.rank;
}

int sy_group_node_size(const struct sy_group *group)
{
    return group->node.size;
}

int sy_group_node_of(const struct sy_group *group, int rank)
{
    return group->node_of[rank];
}

const char *sy_group_host(const struct sy_group *group, int rank)
{
    return group->host && group->host[rank][0] ? group->host[rank] : "host not known yet";
}

/* "Open MPI v4.1.4, package: ..." and "MPICH Version:      4.0.2\nMPICH Release ..." both become a name and a number. */
const char *sy_group_mpi_version(void)
{
    static char version[128];
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int len = 0;

    if (version[0])
        return version;
    MPI_Get_library_version(text, &len);
    text[strcspn(text, ",\n")] = 0;
    for (char *save = NULL, *word = strtok_r(text, " \t", &save); word; word = strtok_r(NULL, " \t", &save)) {
        if (strcmp(word, "Version:") == 0)
            continue;
        if (word[0] == 'v' && isdigit((unsigned char)word[1]))
            word++;
        size_t at = strlen(version);
        snprintf(version + at, sizeof version - at, "%s%s", at ? " " : "", word);
    }
    if (!version[0])
        snprintf(version, sizeof version, "an MPI library without a name");
    return version;
}
