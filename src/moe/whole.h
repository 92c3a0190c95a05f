/* SPDX-License-Identifier: Apache-2.0
 * whole.h - a layer as one call of the backend, where one rank has all experts and their kernels need no look from the host
 *
 * It gives the bits that the layer's parts give (kernels.h, moe_run).
 */
#ifndef SY_MOE_WHOLE_H
#define SY_MOE_WHOLE_H

#include "moe/moe.h"

/* Whether this rank's layers can run so: the backend can, there are no other ranks, and experts are all of one type. */
bool sy_whole_fits(const struct sy_moe_config *config, int n_ranks);

/* Whether this rank has experts, and all are of one type; which. */
bool sy_whole_one_type(const struct sy_moe_config *config);
enum sy_dtype sy_whole_type(const struct sy_moe_config *config);

/* Bytes on the device. */
size_t sy_whole_bytes(const struct sy_moe_config *config);

/* Note where all experts' weights are, which are on the device by now. Takes sy_whole_bytes() of moe's arena. */
enum sy_status sy_whole_init(struct sy_moe *moe, struct sy_error *err);

/* sy_moe_layer(); nothing of it need be done when this returns. */
void sy_whole_run(struct sy_moe *moe, int layer, const struct sy_layer_weights *weights, const float *h, int T,
                  float *x);

/* The same in FP32 for row t of h alone, with the experts and weights that the last run chose: y[D] of the host, without
 * shared experts. For measurements of its error. Errors: SY_ERR_SYSTEM. */
enum sy_status sy_whole_truth(struct sy_moe *moe, int layer, const float *h, int t, float *y, struct sy_error *err);

#endif
