/* SPDX-License-Identifier: Apache-2.0
 * settings.h - the one table of options and the struct that it fills
 *
 * On several nodes the environment and config files may differ, so rank 0's settings count for all ranks (setup.h).
 */
#ifndef SY_CLI_SETTINGS_H
#define SY_CLI_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/options.h"

enum sy_command {
    SY_COMMAND_RUN,
    SY_COMMAND_SCORE,
    SY_COMMAND_DOCTOR,
    SY_COMMAND_TOPO,
    SY_COMMAND_BENCH,
    SY_N_COMMANDS
};

struct sy_settings {
    /* job */
    const char *model, *prompt, *in, *out, *logits, *summary, *ranks;
    bool resume, chat;
    int64_t truncate;
    /* topology */
    const char *cluster, *import_hwloc, *import_nccl, *hwloc_xml, *nccl_xml, *svg, *yaml, *check;
    bool places;
    /* measurements */
    const char *measure, *shape, *prefill, *decode, *tokens, *json, *routing;
    int64_t layers, vocab, generate, context, reps, hidden, experts, active;
    uint64_t probe_bytes;
    /* sampling */
    int64_t max_tokens, top_k, seed;
    double temperature, top_p;
    const char *stop;
    bool ignore_eos;
    /* batching */
    uint64_t kv_bytes;
    int64_t prefill_chunk, max_tokens_per_step, max_sequences, chunk_rows, slots;
    bool overlap;
    /* machine */
    const char *compute, *device, *isa, *bind, *transport;
    int64_t threads;
    double timeout_s;
    /* general */
    const char *config, *log_level, *progress;
    bool help, print_config;
};

extern const struct sy_option sy_settings_table[];

/* Name of the option that holds the config file. */
extern const char sy_settings_config[];

/* Rank 0's settings as text, and that text over another rank's: values and *options are replaced.
 * Errors: SY_ERR_SYSTEM, SY_ERR_USAGE. */
enum sy_status sy_settings_write(const struct sy_options *options, struct sy_buf *text, struct sy_error *err);
enum sy_status sy_settings_read(enum sy_command command, const struct sy_buf *text, struct sy_settings *settings,
                                struct sy_options **options, struct sy_error *err);

enum sy_log_level sy_settings_log_level(const struct sy_settings *settings);
int64_t sy_settings_timeout_ms(const struct sy_settings *settings);

#endif
