/* SPDX-License-Identifier: Apache-2.0
 * version.h - what this program is and what it runs with
 */
#ifndef SY_CLI_VERSION_H
#define SY_CLI_VERSION_H

#include <stddef.h>
#include <stdio.h>

extern const char sy_version[];

enum sy_library {
    SY_LIBRARY_MPI,
    SY_LIBRARY_HWLOC,
    SY_LIBRARY_EXPAT,
    SY_LIBRARY_JANSSON,
    SY_LIBRARY_PCRE2,
    SY_LIBRARY_UTF8PROC,
    SY_LIBRARY_YAML,
    SY_LIBRARY_UCX,
    SY_N_LIBRARIES,
};

/* The version of a library as it runs here; "not built in" for one that may be left out. */
void sy_version_library(enum sy_library library, char *out, size_t out_bytes);
const char *sy_version_library_name(enum sy_library library);

/* --version: the version, how it was built and with what it runs. */
void sy_cli_version(FILE *out);

#endif
