/* SPDX-License-Identifier: Apache-2.0
 * small.h - one small checkpoint, made again and again with a key or a tensor changed
 */
#ifndef SY_TESTS_MODEL_SMALL_H
#define SY_TESTS_MODEL_SMALL_H

#include "folder.h"
#include "model/model.h"

enum { L = 2, D = 12, HQ = 4, HKV = 2, DH = 4, E = 5, F = 7, DENSE = 9, V = 20 };

/* The parts that differ between the publishers' layouts. */
enum layout { SPLIT_QWEN, SPLIT_MIXTRAL, FUSED };

/* Append a layer's tensors. */
void small_layer(struct tensor_list *t, int i, enum layout layout, bool dense);

/* All tensors, one of the layers dense (-1: none). free() it. */
struct tensor_list *small_list(enum layout layout, int dense_layer);

struct small {
    const char *dir;
    struct sy_checkpoint *ckpt;
    struct sy_model *model;
    struct sy_error err;
    enum sy_status st;
};

/* A model made from a list, the base config with an object of changes laid over (null there removes a key) and a generation
 * config (NULL: none). st and err say whether the model was made. */
struct small small_make(struct tensor_list *list, const char *architecture, const char *changes,
                        const char *generation);
void small_unmake(struct small *m);

#endif
