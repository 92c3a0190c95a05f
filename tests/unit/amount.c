/* SPDX-License-Identifier: Apache-2.0
 * amount.c - tests of counts and bytes as people read and write them
 */
#include "base/amount.h"

#include "tap.h"

int main(void)
{
    char out[32];
    int n = 0;

    is_str(sy_amount_bytes(0, out, sizeof out), "0 B", "no bytes");
    is_str(sy_amount_bytes(999, out, sizeof out), "999 B", "few bytes");
    is_str(sy_amount_bytes(1000, out, sizeof out), "1.00 kB", "a thousand");
    is_str(sy_amount_bytes(61.0642e9, out, sizeof out), "61.06 GB", "a checkpoint");
    is_str(sy_amount_bytes(1.8e19, out, sizeof out), "18000.00 PB", "far too many");
    is_str(sy_amount_count(320, out, sizeof out), "320", "a small count");
    is_str(sy_amount_count(291800, out, sizeof out), "291.80 K", "thousands");
    is_str(sy_amount_count(30532122624., out, sizeof out), "30.53 B", "billions");
    is_str(sy_amount_count(1.04e12, out, sizeof out), "1040.00 B", "parameters are not counted in trillions");

    static const char list[] = "12,3";
    ok(sy_amount_read(list, 100, &n) == list + 2 && n == 12, "a number and where it ends");
    ok(sy_amount_read("100", 100, &n) && n == 100, "the largest");
    ok(!sy_amount_read("101", 100, &n) && !sy_amount_read("99999999999999999999", 100, &n), "not over it");
    ok(!sy_amount_read("0", 100, &n) && !sy_amount_read("-1", 100, &n), "not under one");
    ok(!sy_amount_read("", 100, &n) && !sy_amount_read(" 1", 100, &n) && !sy_amount_read("+1", 100, &n) &&
           !sy_amount_read("x", 100, &n),
       "not what begins with something else");
    done();
    return tap_exit();
}
