/* SPDX-License-Identifier: Apache-2.0
 * across.h - a layer over ranks whose devices write to each other's memory, without a look from the host
 *
 * Rows, results and the news of them go from device to device (kernels.h, struct sy_moe_across), and a step's calls can be
 * recorded. It gives the bits that the layer's parts give. A step of many tokens goes in pieces, which bounds the workspace.
 */
#ifndef SY_MOE_ACROSS_H
#define SY_MOE_ACROSS_H

#include "moe/moe.h"

/* Up to so many tokens of a rank its experts have few rows each. */
#define SY_ACROSS_FEW 256

/* How a step's layers run: not so; all of it at once, for few tokens; or in pieces (across.n_pieces, across.piece). */
enum { SY_ACROSS_OFF, SY_ACROSS_AT_ONCE, SY_ACROSS_MANY };

/* Bytes of each rank's window for it, behind the rows and results. */
size_t sy_across_window_bytes(const struct sy_moe_config *config, int n_ranks);

/* Bytes on the device, 0 where it can never be. */
size_t sy_across_bytes(const struct sy_moe_config *config, int rank, int n_ranks);

/* Note where experts and windows are. Takes sy_across_bytes() of moe's arena. Errors: as the backend's queue_sync(). */
enum sy_status sy_across_init(struct sy_moe *moe, struct sy_error *err);

/* Before a step of T tokens, collective: how its layers run, the same on all ranks, to moe->across. */
enum sy_status sy_across_agree(struct sy_moe *moe, int T, struct sy_error *err);

/* As sy_moe_records(). */
int sy_across_records(const struct sy_moe *moe);

/* sy_moe_layer(); nothing of it need be done when this returns. Errors: only where somebody looks on between its parts
 * (moe->between), as sy_across_wait(). */
enum sy_status sy_across_run(struct sy_moe *moe, int layer, const struct sy_layer_weights *weights, const float *h,
                             int T, float *x, struct sy_error *err);

/* Measurements of the exchange alone, of moe->T tokens in moe->layer, as agreed: give it their ids; rows to experts, and back.
 * Errors: as the backend's queue_sync(); as sy_across_wait(). */
enum sy_status sy_across_ready(struct sy_moe *moe, const int32_t *ids, struct sy_error *err);
enum sy_status sy_across_dispatch(struct sy_moe *moe, struct sy_error *err);
enum sy_status sy_across_combine(struct sy_moe *moe, struct sy_error *err);

/* Wait until the device has done all that was asked of it. Errors: SY_ERR_PEER when it waits for another rank for the group's
 * timeout, which it does no longer then; as sy_fabric_progress(). */
enum sy_status sy_across_wait(struct sy_moe *moe, struct sy_error *err);

/* Bring work up to date. Errors: as the backend's queue_sync(). */
enum sy_status sy_across_count(struct sy_moe *moe, struct sy_error *err);

#endif
