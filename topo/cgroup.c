/* SPDX-License-Identifier: Apache-2.0
 * cgroup.c - limits of Linux control groups, versions 1 and 2
 *
 * /proc/self/cgroup tells the group of each hierarchy, /proc/self/mountinfo where the hierarchies are mounted
 * (proc(5), cgroups(7); Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst).
 */
#include "cgroup.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE 4096
/* Version 1 writes "no limit" as the largest multiple of the page size. */
#define V1_UNLIMITED ((uint64_t)1 << 60)

struct hierarchy {
    char mount[LINE]; /* where it is mounted; empty: it is not */
    char top[LINE];   /* the group that is seen there: "/" unless a container has bound its own */
    char group[LINE]; /* of this process */
};

enum { V2, V1_CPU, V1_MEMORY, N_HIERARCHIES };

/* The first line of root + dir + "/" + file, without its newline. Returns NULL when there is none. */
static char *first_line(const char *root, const char *dir, const char *file, char *out)
{
    char path[3 * LINE];
    int n = snprintf(path, sizeof path, "%s%s/%s", root, dir, file);

    if (n < 0 || (size_t)n >= sizeof path)
        return NULL;
    FILE *f = fopen(path, "re");
    if (!f)
        return NULL;
    char *line = fgets(out, LINE, f);
    fclose(f);
    if (line)
        line[strcspn(line, "\n")] = 0;
    return line;
}

/* A number from a file of one; UINT64_MAX for "max", for none and for -1. */
static uint64_t number(const char *root, const char *dir, const char *file)
{
    char line[LINE], *end;

    if (!first_line(root, dir, file, line) || line[0] < '0' || line[0] > '9')
        return UINT64_MAX;
    uint64_t value = strtoull(line, &end, 10);
    return *end ? UINT64_MAX : value;
}

/* A row "name value" of memory.stat; 0 when there is none. */
static uint64_t statistic(const char *root, const char *dir, const char *name)
{
    char path[3 * LINE], line[LINE];
    uint64_t value = 0;
    size_t len = strlen(name);
    int n = snprintf(path, sizeof path, "%s%s/memory.stat", root, dir);
    FILE *f = n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;

    if (!f)
        return 0;
    while (fgets(line, sizeof line, f))
        if (strncmp(line, name, len) == 0 && line[len] == ' ')
            value = strtoull(line + len + 1, NULL, 10);
    fclose(f);
    return value;
}

/* Is `name` one of the comma-separated words of list? */
static int has_word(const char *list, const char *name)
{
    size_t len = strlen(name);

    for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (strncmp(at, name, len) == 0 && (at[len] == ',' || at[len] == 0))
            return 1;
    return 0;
}

/* Lines "7:cpu,cpuacct:/docker/1234" and, for version 2, "0::/user.slice". */
static void read_groups(const char *root, struct hierarchy *h)
{
    char path[2 * LINE], line[LINE];
    int n = snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;

    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            continue;
        *group++ = 0;
        controllers++;
        if (!*controllers)
            snprintf(h[V2].group, LINE, "%s", group);
        if (has_word(controllers, "cpu"))
            snprintf(h[V1_CPU].group, LINE, "%s", group);
        if (has_word(controllers, "memory"))
            snprintf(h[V1_MEMORY].group, LINE, "%s", group);
    }
    if (f)
        fclose(f);
}

/* Lines "36 35 0:30 TOP MOUNT options [optional fields] - type source superoptions". */
static void read_mounts(const char *root, struct hierarchy *h)
{
    char path[2 * LINE], line[LINE];
    int n = snprintf(path, sizeof path, "%s/proc/self/mountinfo", root);
    FILE *f = n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;

    while (f && fgets(line, sizeof line, f)) {
        char top[LINE], mount[LINE], type[LINE], options[LINE];
        const char *separator = strstr(line, " - ");
        if (!separator || sscanf(line, "%*s %*s %*s %4095s %4095s", top, mount) != 2 ||
            sscanf(separator, " - %4095s %*s %4095s", type, options) != 2)
            continue;
        int is_v1 = strcmp(type, "cgroup") == 0;
        const int wanted[N_HIERARCHIES] = {strcmp(type, "cgroup2") == 0, is_v1 && has_word(options, "cpu"),
                                           is_v1 && has_word(options, "memory")};
        for (int i = 0; i < N_HIERARCHIES; i++) {
            if (wanted[i] && !h[i].mount[0]) {
                memcpy(h[i].mount, mount, LINE);
                memcpy(h[i].top, top, LINE);
            }
        }
    }
    if (f)
        fclose(f);
}

static void limit_cpu(struct sy_cgroup *out, double quota, double period)
{
    if (quota > 0 && period > 0 && (out->cpu_quota <= 0 || quota / period < out->cpu_quota))
        out->cpu_quota = quota / period;
}

static void limit_memory(struct sy_cgroup *out, uint64_t limit, uint64_t used, uint64_t cache)
{
    if (limit == UINT64_MAX)
        return;
    if (limit < out->memory_bytes)
        out->memory_bytes = limit;
    if (used == UINT64_MAX)
        return;
    used -= cache < used ? cache : used;
    uint64_t left = used < limit ? limit - used : 0;
    if (left < out->memory_free_bytes)
        out->memory_free_bytes = left;
}

static void read_level(const char *root, const char *dir, int kind, struct sy_cgroup *out)
{
    char line[LINE];
    double quota = 0, period = 0;

    if (kind == V2) {
        /* "max 100000" has no number in front, so sscanf() takes nothing. */
        if (first_line(root, dir, "cpu.max", line) && sscanf(line, "%lf %lf", &quota, &period) == 2)
            limit_cpu(out, quota, period);
        limit_memory(out, number(root, dir, "memory.max"), number(root, dir, "memory.current"),
                     statistic(root, dir, "inactive_file"));
    } else if (kind == V1_CPU) {
        uint64_t q = number(root, dir, "cpu.cfs_quota_us"), p = number(root, dir, "cpu.cfs_period_us");
        if (q != UINT64_MAX && p != UINT64_MAX)
            limit_cpu(out, (double)q, (double)p);
    } else {
        uint64_t limit = number(root, dir, "memory.limit_in_bytes");
        limit_memory(out, limit >= V1_UNLIMITED ? UINT64_MAX : limit, number(root, dir, "memory.usage_in_bytes"),
                     statistic(root, dir, "total_inactive_file"));
    }
}

/* From the group of this process, as far as it can be seen below the mount, up to the mount. */
static void read_hierarchy(const char *root, const struct hierarchy *h, int kind, struct sy_cgroup *out)
{
    char dir[2 * LINE];
    const char *group = h->group;
    size_t top_len = strcmp(h->top, "/") == 0 ? 0 : strlen(h->top), mount_len = strlen(h->mount);

    if (!h->mount[0])
        return;
    if (strncmp(group, h->top, top_len) == 0 && (group[top_len] == '/' || !group[top_len]))
        group += top_len;
    else
        group = "";
    if (strstr(group, "/..")) /* outside of the process's cgroup namespace */
        group = "";
    snprintf(dir, sizeof dir, "%s%s", h->mount, group);
    for (;;) {
        read_level(root, dir, kind, out);
        char *slash = strrchr(dir, '/');
        if (!slash || (size_t)(slash - dir) < mount_len)
            break;
        *slash = 0;
    }
}

void sy_cgroup_read(const char *root, struct sy_cgroup *out)
{
    struct hierarchy *h = calloc(N_HIERARCHIES, sizeof *h);

    *out = (struct sy_cgroup){.memory_bytes = UINT64_MAX, .memory_free_bytes = UINT64_MAX};
    if (!h)
        return;
    read_groups(root, h);
    read_mounts(root, h);
    for (int i = 0; i < N_HIERARCHIES; i++)
        read_hierarchy(root, &h[i], i, out);
    free(h);
}
