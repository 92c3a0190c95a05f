/* SPDX-License-Identifier: Apache-2.0
 * share.c - a block of memory that the ranks of a node have in common
 *
 * An anonymous file of the node's first rank, which the others open through /proc: it needs no room in /dev/shm (64 MB in
 * a container) and leaves no name behind when a rank is killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/group.h"
#include "comm/group_mpi.h"

/* What the first rank tells the others; all zero from them. */
struct offer {
    int64_t pid;
    int64_t fd;
    uint64_t device, inode; /* to be sure of the file: the number pid may mean another process here */
};

static enum sy_status make(size_t bytes, int *fd, struct offer *offer, struct sy_error *err)
{
    struct stat st;

    *fd = memfd_create("switchyard", MFD_CLOEXEC);
    if (*fd < 0)
        return sy_error_errno(err, SY_ERR_SYSTEM, "cannot make an anonymous file");
    if (ftruncate(*fd, (off_t)bytes) != 0 || fstat(*fd, &st) != 0) {
        sy_error_errno(err, SY_ERR_SYSTEM, "cannot give an anonymous file %zu bytes", bytes);
        close(*fd);
        *fd = -1;
        return SY_ERR_SYSTEM;
    }
    *offer = (struct offer){.pid = getpid(), .fd = *fd, .device = st.st_dev, .inode = st.st_ino};
    return SY_OK;
}

static enum sy_status join(const struct offer *offer, int *fd, struct sy_error *err)
{
    char path[64];
    struct stat st;

    snprintf(path, sizeof path, "/proc/%lld/fd/%lld", (long long)offer->pid, (long long)offer->fd);
    *fd = open(path, O_RDWR | O_CLOEXEC);
    if (*fd < 0)
        return sy_error_errno(err, SY_ERR_SYSTEM, "cannot open %s of this node's first rank", path);
    if (fstat(*fd, &st) == 0 && st.st_dev == offer->device && st.st_ino == offer->inode)
        return SY_OK;
    close(*fd);
    *fd = -1;
    return sy_error_set(err, SY_ERR_SYSTEM,
                        "%s is another file here: the ranks of this node do not see each other's "
                        "processes",
                        path);
}

static enum sy_status map(size_t bytes, int fd, void **base, struct sy_error *err)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, fd, 0);

    if (p == MAP_FAILED)
        return sy_error_errno(err, SY_ERR_SYSTEM, "cannot map %zu bytes", bytes);
    /* Weights are read from end to end in every step. For a file this works where the system lets shared memory have huge
     * pages (transparent_hugepage/shmem_enabled). */
    (void)madvise(p, bytes, MADV_HUGEPAGE);
    *base = p;
    return SY_OK;
}

enum sy_status sy_group_share(struct sy_group *group, size_t bytes, void **base, int *shared, struct sy_error *err)
{
    struct sy_team *team = sy_group_node(group);
    struct sy_error why = SY_ERROR_INIT;
    struct offer offer = {0};
    int fd = -1;
    void *block = NULL;

    *base = NULL;
    *shared = 1;
    if (!bytes)
        return SY_OK;
    if (team->size == 1)
        return map(bytes, -1, base, err);
    enum sy_status status = team->rank == 0 ? make(bytes, &fd, &offer, &why) : SY_OK;
    struct offer all[team->size];
    status = sy_team_agree(team, SY_TEAM_SHARE, status, &offer, sizeof offer, all, &why);
    if (status == SY_OK) {
        if (team->rank != 0)
            status = join(&all[0], &fd, &why);
        if (status == SY_OK)
            status = map(bytes, fd, &block, &why);
        status = sy_team_agree(team, SY_TEAM_SHARE, status, NULL, 0, NULL, &why);
    }
    /* Everybody has it open now, or nobody will use it. */
    if (fd >= 0)
        close(fd);
    if (status == SY_OK) {
        *base = block;
        return SY_OK;
    }
    sy_group_unshare(block, bytes);
    if (err)
        *err = why;
    if (status == SY_ERR_PEER || status == SY_ERR_INTERNAL)
        return status;
    *shared = 0;
    return map(bytes, -1, base, err);
}

void sy_group_unshare(void *base, size_t bytes)
{
    if (base)
        munmap(base, bytes);
}
