/* SPDX-License-Identifier: Apache-2.0
 * compare.h - how far values are from those of a reference
 */
#ifndef SY_TESTS_MPI_COMPARE_H
#define SY_TESTS_MPI_COMPARE_H

#include <stddef.h>

double compare_largest(const float *values, size_t n);

/* The largest difference over `largest`; NaN when one is. */
double compare_difference(const float *found, const float *expected, size_t n, double largest);

double compare_relative_l2(const float *found, const float *expected, size_t n);

/* *worst becomes off if that is more. A NaN, once there, stays. */
void compare_keep_worst(double *worst, double off);

/* The largest value's place, the first of several, and how far it is above the second. */
int compare_leader(const float *values, int n, double *lead);

/* Sorts the values, NaN last; NaN without any. */
double compare_median(double *values, int n);

#endif
