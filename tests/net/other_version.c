/* SPDX-License-Identifier: Apache-2.0
 * other_version.c - the program as another version of it: linked with this in place of src/cli/release.c
 */
#include "cli/version.h"

const char sy_version[] = "0.0.1-other";
