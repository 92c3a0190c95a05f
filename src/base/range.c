/* SPDX-License-Identifier: Apache-2.0
 * range.c - who listens
 */
#include "base/range.h"

const struct sy_range_listener *sy_range_listener;
