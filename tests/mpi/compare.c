/* SPDX-License-Identifier: Apache-2.0
 * compare.c - how far values are from those of a reference
 */
#include "compare.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

double compare_difference(const float *found, const float *expected, size_t n, double largest)
{
    double difference = 0;

    for (size_t i = 0; i < n; i++) {
        double off = fabs((double)found[i] - expected[i]);
        difference = off > difference || isnan(off) ? off : difference;
    }
    return difference / largest;
}

double compare_largest(const float *values, size_t n)
{
    double largest = 0;

    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(values[i]));
    return largest;
}

void compare_keep_worst(double *worst, double off)
{
    if (!(off <= *worst) && !isnan(*worst))
        *worst = off;
}

double compare_relative_l2(const float *found, const float *expected, size_t n)
{
    double difference = 0, all = 0;

    for (size_t i = 0; i < n; i++) {
        difference += ((double)found[i] - expected[i]) * ((double)found[i] - expected[i]);
        all += (double)expected[i] * expected[i];
    }
    return sqrt(difference / all);
}

int compare_leader(const float *values, int n, double *lead)
{
    int first = 0;
    float second = -INFINITY;

    for (int i = 1; i < n; i++) {
        if (values[i] > values[first]) {
            second = values[first];
            first = i;
        } else if (values[i] > second) {
            second = values[i];
        }
    }
    *lead = (double)values[first] - second;
    return first;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    /* NaN last */
    return isnan(x) || isnan(y) ? !!isnan(x) - !!isnan(y) : (x > y) - (x < y);
}

double compare_median(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, by_value);
    return n ? (values[n / 2] + values[(n - 1) / 2]) / 2 : NAN;
}
