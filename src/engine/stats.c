/* SPDX-License-Identifier: Apache-2.0
 * stats.c - a session's figures, summed over ranks
 */
#include <stdlib.h>

#include "engine/session_private.h"

const char *sy_phase_name(enum sy_phase phase)
{
    static const char *const names[SY_N_PHASES] = {"attention", "router", "dispatch", "experts",
                                                   "combine",   "logits", "waiting"};

    return names[phase];
}

static void own_phases(const struct sy_session *session, double phase_s[SY_N_PHASES])
{
    const struct sy_moe_times *moe = &session->moe->times;
    const struct sy_forward *forward = &session->forward;

    phase_s[SY_PHASE_ATTENTION] = (double)forward->attention_ns * 1e-9;
    phase_s[SY_PHASE_ROUTER] = (double)moe->router_ns * 1e-9;
    phase_s[SY_PHASE_DISPATCH] = (double)moe->dispatch_ns * 1e-9;
    phase_s[SY_PHASE_EXPERTS] = (double)(moe->experts_ns + forward->dense_ns) * 1e-9;
    phase_s[SY_PHASE_COMBINE] = (double)moe->combine_ns * 1e-9;
    phase_s[SY_PHASE_LOGITS] = (double)forward->logits_ns * 1e-9;
    phase_s[SY_PHASE_WAIT] = (double)(moe->wait_ns + session->control_wait_ns) * 1e-9;
}

void sy_session_own(const struct sy_session *session, struct sy_session_own *own)
{
    const struct sy_forward_work *forward = &session->forward.work;
    const struct sy_moe_work *moe = &session->moe->work;

    /* What went wrong on a device the next step will say. */
    (void)sy_moe_count(session->moe, NULL);
    *own = (struct sy_session_own){.n_rows = forward->n_rows,
                                   .n_keys = forward->n_keys,
                                   .n_cached = forward->n_cached,
                                   .n_logit_rows = forward->n_logit_rows,
                                   .n_expert_rows = moe->n_pairs,
                                   .n_experts = moe->n_experts};
    own_phases(session, own->phase_s);
}

void sy_session_mark(struct sy_session *session)
{
    sy_moe_mark(session->moe);
}

static void own_figures(const struct sy_session *session, struct sy_session_stats *own)
{
    *own = session->stats;
    own->load_bytes_min = own->load_bytes_max;
    own->phases_known = !session->config.kernels->on_device;
    own_phases(session, own->phase_s);
    /* What devices store at other ranks has no headers, and is counted as it is planned. */
    (void)sy_moe_count(session->moe, NULL);
    own->wire_bytes = sy_fabric_wire_bytes(session->fabric) + session->moe->stored_bytes;
    own->wire_bytes_planned = session->moe->wire_bytes_planned + session->moe->stored_bytes;
}

enum sy_status sy_session_stats(struct sy_session *session, struct sy_session_stats *out, struct sy_error *err)
{
    struct sy_session_stats own, *all = malloc((size_t)session->n_ranks * sizeof *all);
    enum sy_status st = SY_OK;

    if (!all)
        st = sy_error_set(err, SY_ERR_SYSTEM, "no memory for the summary");
    st = sy_group_agree(session->group, st, err);
    if (!st) {
        own_figures(session, &own);
        st = sy_group_allgather(session->group, &own, sizeof own, all, err);
    }
    if (!st) {
        /* Rank 0's steps, tokens and times count for the job; the rest is summed. */
        *out = all[0];
        for (int r = 1; r < session->n_ranks; r++) {
            for (int phase = 0; phase < SY_N_PHASES; phase++)
                out->phase_s[phase] += all[r].phase_s[phase];
            out->wire_bytes += all[r].wire_bytes;
            out->wire_bytes_planned += all[r].wire_bytes_planned;
            if (all[r].load_bytes_min < out->load_bytes_min)
                out->load_bytes_min = all[r].load_bytes_min;
            if (all[r].load_bytes_max > out->load_bytes_max)
                out->load_bytes_max = all[r].load_bytes_max;
            if (all[r].load_s > out->load_s)
                out->load_s = all[r].load_s;
        }
    }
    free(all);
    return st;
}
