/* SPDX-License-Identifier: Apache-2.0
 * bound.h - what must hold of a model that has been accepted, for fuzz harnesses
 */
#ifndef SY_TESTS_FUZZ_BOUND_H
#define SY_TESTS_FUZZ_BOUND_H

#include "model/model.h"

/* Every source lies inside its tensor and has the model's shapes; counts and tables are in range. */
void bound_check(const struct sy_model *model);

/* Lay out and load all experts of a model whose weights take at most BOUND_LOAD_MAX bytes, from made-up data that depends on
 * seed (odd: with scales that are not numbers here and there). It loads or says why not, and in three parts it gives the
 * same bytes as whole. */
#define BOUND_LOAD_MAX ((size_t)2 << 20)
void bound_load(struct sy_checkpoint *ckpt, const struct sy_model *model, uint64_t seed);

#endif
