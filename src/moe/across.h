/* SPDX-License-Identifier: Apache-2.0
 * across.h - a layer over ranks whose devices write to each other's memory, without a look from the host
 *
 * For steps of few tokens, where the host's looks would take longer than the work: rows, results and the news of them go from
 * device to device (kernels.h, struct sy_moe_across), and a step's calls can be recorded. It gives the bits that the layer's
 * parts give.
 */
#ifndef SY_MOE_ACROSS_H
#define SY_MOE_ACROSS_H

#include "moe/moe.h"

/* Tokens of a rank in such a step at most. */
#define SY_ACROSS_TOKENS 256

/* Bytes of each rank's window for it, behind the rows and results. */
size_t sy_across_window_bytes(const struct sy_moe_config *config, int n_ranks);

/* Bytes on the device, 0 where it can never be. */
size_t sy_across_bytes(const struct sy_moe_config *config, int rank, int n_ranks);

/* Note where experts and windows are. Takes sy_across_bytes() of moe's arena. Errors: as the backend's queue_sync(). */
enum sy_status sy_across_init(struct sy_moe *moe, struct sy_error *err);

/* Before a step of T tokens, collective: whether its layers run so, the same on all ranks, to moe->across.on. */
enum sy_status sy_across_agree(struct sy_moe *moe, int T, struct sy_error *err);

/* sy_moe_layer(); nothing of it need be done when this returns. */
void sy_across_run(struct sy_moe *moe, int layer, const struct sy_layer_weights *weights, const float *h, int T,
                   float *x);

/* Measurements of the exchange alone, of moe->T tokens in moe->layer: give it their ids; rows to experts, and back. Errors: as
 * the backend's queue_sync(); as sy_across_wait(). */
enum sy_status sy_across_ready(struct sy_moe *moe, const int32_t *ids, struct sy_error *err);
enum sy_status sy_across_dispatch(struct sy_moe *moe, struct sy_error *err);
enum sy_status sy_across_combine(struct sy_moe *moe, struct sy_error *err);

/* Wait until the device has done all that was asked of it. Errors: SY_ERR_PEER when it waits for another rank for the group's
 * timeout, which it does no longer then; as sy_fabric_progress(). */
enum sy_status sy_across_wait(struct sy_moe *moe, struct sy_error *err);

/* Bring work up to date. Errors: as the backend's queue_sync(). */
enum sy_status sy_across_count(struct sy_moe *moe, struct sy_error *err);

#endif
