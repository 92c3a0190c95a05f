/* SPDX-License-Identifier: Apache-2.0
 * release.c - the version, alone, so that a test can be linked with another one
 */
#include "config.h"

#include "cli/version.h"

const char sy_version[] = PACKAGE_VERSION;
