/* SPDX-License-Identifier: Apache-2.0
 * site.h - the cluster that a job runs on as a file says, and where in it this rank is
 *
 * Rank 0 reads the file, machines add what it does not say (its policy), and every rank gets the whole.
 */
#ifndef SY_CLI_SITE_H
#define SY_CLI_SITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/group.h"
#include "discover.h"

struct sy_cluster; /* model.h */

struct sy_site {
    struct sy_cluster *cluster; /* NULL: no file was given */
    int vertex;                 /* of this rank's device */
    bool on_gpus;               /* the file's ranks have GPUs, all of them */
};

/* Read a cluster file; what is wrong with it is on standard error then, and one line of it in err. alone: nothing else will
 * complete it, so that what a job lacks is said too. Errors: SY_ERR_DATA; SY_ERR_IO when there is none. */
enum sy_status sy_site_read(const char *path, bool alone, struct sy_cluster **cluster, struct sy_error *err);

/* Hold a cluster file against what was found. Differences are on standard error then, and one line of them in err.
 * Errors: SY_ERR_DATA (they differ, or the file is wrong); SY_ERR_IO; SY_ERR_SYSTEM. */
enum sy_status sy_site_check(const char *path, const struct sy_cluster *found, struct sy_error *err);

/* Collective. path: of rank 0's file, NULL on all ranks: none. Errors, the same on all ranks: SY_ERR_DATA for a file that is
 * wrong or, with discover: verify, differs from the machines; SY_ERR_USAGE where ranks do not run as it says. */
enum sy_status sy_site_open(struct sy_group *group, const char *path, struct sy_site *site, struct sy_error *err);
void sy_site_close(struct sy_site *site);

/* Ranks of one machine that are on several nodes of the file exchange rows as nodes do from here on. Collective; nothing is
 * shared on nodes yet, and what they share of the machine (cores, GPUs) is known. Errors: as sy_group_part(). */
enum sy_status sy_site_part(const struct sy_site *site, struct sy_group *group, struct sy_error *err);

/* Leave the machine only the cores of this rank's device. False where that leaves none: then it is as it was. */
bool sy_site_narrow(const struct sy_site *site, struct sy_machine *machine);

/* Which of the GPUs that this rank sees is its own: pci[n] as in struct sy_gpu_view. -1: it is not among them. */
int sy_site_gpu(const struct sy_site *site, const int64_t *pci, int n);

/* "n0.gpu3 at NUMA node 1", of any rank; in a buffer of the caller, which is returned. */
const char *sy_site_show(const struct sy_site *site, int rank, char *out, size_t out_bytes);

#endif
