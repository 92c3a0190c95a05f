/* SPDX-License-Identifier: Apache-2.0
 * lender.h - memory that test processes lend to one another as GPUs do: files that the others open through /proc
 */
#ifndef TESTS_MPI_LENDER_H
#define TESTS_MPI_LENDER_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/lender.h"

#define BORROWED_MAX 64

static int n_lent, n_borrowed; /* that are not yet freed, and given back */
static bool lending_fails, borrowing_fails;
static int64_t lent_device = -1; /* that memory is said to be of */

struct lent_file {
    int pid, fd;
    size_t bytes;
};

static struct {
    void *memory;
    size_t bytes;
} borrowed[BORROWED_MAX];

static enum sy_status lend_file(size_t bytes, void **memory, struct sy_handle *handle, struct sy_error *err)
{
    struct lent_file file = {(int)getpid(), memfd_create("lent", MFD_CLOEXEC), bytes};

    if (lending_fails || file.fd < 0 || ftruncate(file.fd, (off_t)bytes) != 0)
        return sy_error_set(err, SY_ERR_SYSTEM, "this test lends nothing");
    *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd, 0);
    if (*memory == MAP_FAILED)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory to lend");
    memcpy(handle->bytes, &file, sizeof file);
    handle->device = lent_device;
    n_lent++;
    return SY_OK;
}

static void free_file(void *memory, size_t bytes)
{
    munmap(memory, bytes);
    n_lent--;
}

static enum sy_status borrow_file(const struct sy_handle *handle, void **memory, struct sy_error *err)
{
    struct lent_file file;
    char path[64];

    memcpy(&file, handle->bytes, sizeof file);
    snprintf(path, sizeof path, "/proc/%d/fd/%d", file.pid, file.fd);
    int fd = borrowing_fails ? -1 : open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return sy_error_set(err, SY_ERR_SYSTEM, "this test borrows nothing");
    *memory = mmap(NULL, file.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (*memory == MAP_FAILED || n_borrowed == BORROWED_MAX) {
        *memory = NULL;
        return sy_error_set(err, SY_ERR_SYSTEM, "no room for borrowed memory");
    }
    borrowed[n_borrowed].memory = *memory;
    borrowed[n_borrowed++].bytes = file.bytes;
    return SY_OK;
}

static void give_back_file(void *memory)
{
    for (int i = 0; i < n_borrowed; i++) {
        if (borrowed[i].memory != memory)
            continue;
        munmap(memory, borrowed[i].bytes);
        borrowed[i] = borrowed[--n_borrowed];
        return;
    }
}

static const struct sy_lender file_lender = {lend_file, free_file, borrow_file, give_back_file};

#endif
