/* SPDX-License-Identifier: Apache-2.0
 * load.c - tests that weights are packed as a plain loop over the file's bytes packs them, for any number of threads and
 * parts; that the files are read in order and in little memory; and that faults in the middle of loading are found
 */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "folder.h"
#include "model/shard.h"
#include "tap.h"
#include "testrand.h"

#define N_SHARDS 2
#define SPLIT    "model-00002-of-00002.safetensors"

/* A checkpoint to make: layer 0 is dense, layer 1 has experts. */
struct shape {
    const char *name, *dtype, *router, *norm;
    bool fused;
    int D, HQ, HKV, DH, E, F, dense, V;
};

static const struct shape shapes[] = {
    /* No dimension is a multiple of a panel, panels span q, k and v; vectors wait in another type. */
    {"odd", "BF16", "BF16", "F32", false, 44, 2, 1, 12, 5, 20, 21, 37},
    /* Matrices of several items, a router of many elements to widen. */
    {"large", "F16", "F16", "BF16", true, 1024, 8, 4, 32, 40, 17, 40, 300},
    {"wide", "F32", "BF16", "F16", false, 68, 2, 2, 16, 3, 10, 9, 41},
};

struct subject {
    const char *dir;
    struct sy_checkpoint *ckpt;
    struct sy_model *model;
    struct sy_buf files[N_SHARDS]; /* whole */
};

static struct testrand rand_state;

/* ---- making checkpoints ---- */

static void add_layer(struct tensor_list *t, const struct shape *s, int i, bool dense)
{
    const char *type = s->dtype, *p = "model.layers";

    list_add(t, s->norm, s->D, 0, 0, "%s.%d.input_layernorm.weight", p, i);
    list_add(t, s->norm, s->HQ * s->DH, 0, 0, "%s.%d.self_attn.q_proj.bias", p, i);
    list_add(t, type, s->HQ * s->DH, s->D, 0, "%s.%d.self_attn.q_proj.weight", p, i);
    list_add(t, type, s->HKV * s->DH, s->D, 0, "%s.%d.self_attn.k_proj.weight", p, i);
    list_add(t, s->norm, s->HKV * s->DH, 0, 0, "%s.%d.self_attn.v_proj.bias", p, i);
    list_add(t, type, s->HKV * s->DH, s->D, 0, "%s.%d.self_attn.v_proj.weight", p, i);
    list_add(t, s->norm, s->D, 0, 0, "%s.%d.post_attention_layernorm.weight", p, i);
    list_add(t, type, s->D, s->HQ * s->DH, 0, "%s.%d.self_attn.o_proj.weight", p, i);
    if (dense) {
        list_add(t, type, s->D, s->dense, 0, "%s.%d.mlp.down_proj.weight", p, i);
        list_add(t, type, s->dense, s->D, 0, "%s.%d.mlp.gate_proj.weight", p, i);
        list_add(t, type, s->dense, s->D, 0, "%s.%d.mlp.up_proj.weight", p, i);
        return;
    }
    if (s->fused) {
        list_add(t, type, s->E, s->D, s->F, "%s.%d.mlp.experts.down_proj", p, i);
        list_add(t, type, s->E, 2 * s->F, s->D, "%s.%d.mlp.experts.gate_up_proj", p, i);
    }
    /* Not in the order in which the engine lists them. */
    for (int e = s->E - 1; e >= 0 && !s->fused; e--) {
        list_add(t, type, s->D, s->F, 0, "%s.%d.mlp.experts.%d.down_proj.weight", p, i, e);
        list_add(t, type, s->F, s->D, 0, "%s.%d.mlp.experts.%d.gate_proj.weight", p, i, e);
        list_add(t, type, s->F, s->D, 0, "%s.%d.mlp.experts.%d.up_proj.weight", p, i, e);
    }
    list_add(t, s->router, s->E, s->D, 0, "%s.%d.mlp.gate.weight", p, i);
}

static void write_config(const char *dir, const struct shape *s)
{
    struct sy_buf text = SY_BUF_INIT;

    sy_buf_printf(&text,
                  "{\"architectures\":[\"Qwen3MoeForCausalLM\"],\"hidden_size\":%d,\"num_hidden_layers\":2,"
                  "\"num_attention_heads\":%d,\"num_key_value_heads\":%d,\"head_dim\":%d,\"vocab_size\":%d,"
                  "\"num_experts\":%d,\"num_experts_per_tok\":2,\"moe_intermediate_size\":%d,\"intermediate_size\":%d,"
                  "\"mlp_only_layers\":[0],\"tie_word_embeddings\":false}",
                  s->D, s->HQ, s->HKV, s->DH, s->V, s->E, s->F, s->dense);
    folder_text(dir, "config.json", (const char *)text.data);
    sy_buf_fini(&text);
}

/* Write a shard of random bytes; sparse: of zeros that take no room. */
static void write_shard(const char *dir, const char *name, const struct tensor_list *list, bool sparse)
{
    struct sy_buf file = SY_BUF_INIT, header = SY_BUF_INIT;
    size_t n_data = list_header(list, &header);
    uint64_t n = header.len;
    char path[PATH_MAX];

    if (!sy_buf_append(&file, &n, sizeof n) || !sy_buf_append(&file, header.data, header.len) ||
        !sy_buf_reserve(&file, n_data + sizeof n))
        bail("no memory for a shard");
    size_t head = file.len;
    for (size_t i = 0; i < n_data && !sparse; i += sizeof n) {
        n = testrand_next(&rand_state);
        memcpy(file.data + head + i, &n, sizeof n);
    }
    folder_write(dir, name, file.data, head + (sparse ? 0 : n_data));
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (truncate(path, (off_t)(head + n_data)))
        bail("cannot set the size of %s", path);
    sy_buf_fini(&header);
    sy_buf_fini(&file);
}

static void write_index(const char *dir, const struct tensor_list *const *lists)
{
    struct sy_buf text = SY_BUF_INIT;

    sy_buf_printf(&text, "{\"weight_map\":{");
    for (int i = 0; i < N_SHARDS; i++)
        for (int t = 0; t < lists[i]->n; t++)
            sy_buf_printf(&text, "%s\"%s\":\"model-%05d-of-%05d.safetensors\"", i || t ? "," : "",
                          lists[i]->items[t].name, i + 1, N_SHARDS);
    sy_buf_printf(&text, "}}");
    folder_text(dir, "model.safetensors.index.json", (const char *)text.data);
    sy_buf_fini(&text);
}

static void open_subject(struct subject *s, const struct shape *shape, bool sparse)
{
    struct tensor_list *lists[N_SHARDS] = {calloc(1, sizeof **lists), calloc(1, sizeof **lists)};
    struct sy_error err = SY_ERROR_INIT;

    memset(s, 0, sizeof *s);
    s->dir = folder_make();
    /* The experts' layer comes in the first file. */
    list_add(lists[0], shape->norm, shape->D, 0, 0, "model.norm.weight");
    add_layer(lists[0], shape, 1, false);
    /* No module of the decoder's: what test_stacked() makes experts of. */
    list_add(lists[0], shape->dtype, shape->E, 2 * shape->F, shape->D, "stack.gate_up");
    list_add(lists[0], shape->dtype, shape->E, shape->F, shape->D, "stack.down");
    list_add(lists[1], shape->dtype, shape->V, shape->D, 0, "model.embed_tokens.weight");
    add_layer(lists[1], shape, 0, true);
    list_add(lists[1], shape->dtype, shape->V, shape->D, 0, "lm_head.weight");
    write_config(s->dir, shape);
    write_index(s->dir, (const struct tensor_list *const *)lists);
    for (int i = 0; i < N_SHARDS; i++) {
        char name[64];
        snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", i + 1, N_SHARDS);
        write_shard(s->dir, name, lists[i], sparse);
        free(lists[i]);
    }
    if (folder_open(s->dir, &s->ckpt, &err) || sy_model_create(s->ckpt, &s->model, &err))
        bail("%s", err.text);
    for (int i = 0; i < N_SHARDS && !sparse; i++)
        if (sy_file_read(sy_checkpoint_shard_path(s->ckpt, i), 1 << 30, &s->files[i], &err))
            bail("%s", err.text);
}

static void close_subject(struct subject *s)
{
    for (int i = 0; i < N_SHARDS; i++)
        sy_buf_fini(&s->files[i]);
    sy_model_destroy(s->model);
    sy_checkpoint_close(s->ckpt);
    folder_remove(s->dir);
}

/* ---- loading, with a look at each panel ---- */

static struct {
    const struct sy_kernels *kernels;
    void (*first)(const struct subject *s); /* at the first panel; the others wait for it */
    const struct subject *subject;
    pthread_mutex_t lock;
    int n_panels, shard;
    size_t at;     /* where in the files the last panel came from */
    bool disorder; /* a panel came from before it; FP32 panels may have been widened and are not looked for */
} watch = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void look(enum sy_dtype dtype, const void *rows)
{
    const struct subject *s = watch.subject;

    for (; dtype != SY_F32 && watch.shard < N_SHARDS; watch.shard++, watch.at = 0) {
        const struct sy_buf *file = &s->files[watch.shard];
        const uint8_t *found = memmem(file->data + watch.at, file->len - watch.at, rows, 16);
        if (found) {
            watch.at = (size_t)(found - file->data);
            return;
        }
    }
    watch.disorder |= dtype != SY_F32;
}

static void pack_panel(enum sy_dtype dtype, int k, int k_begin, int k_end, int n_rows, const void *rows,
                       size_t row_stride, size_t k_stride, void *dst)
{
    pthread_mutex_lock(&watch.lock);
    if (!watch.n_panels++ && watch.first)
        watch.first(watch.subject);
    if (!watch.first && watch.subject->files[0].data && k_stride == sy_dtype_bytes(dtype))
        look(dtype, rows);
    pthread_mutex_unlock(&watch.lock);
    watch.kernels->pack_panel(dtype, k, k_begin, k_end, n_rows, rows, row_stride, k_stride, dst);
}

/* Experts of every layer: those of rank `rank` of `n_ranks`, dealt out in turn. */
struct deal {
    int rank, n_ranks, n_experts;
};

static int deal_slots(const void *ctx, int layer)
{
    const struct deal *deal = ctx;

    return layer == 0 ? 0 : (deal->n_experts - deal->rank + deal->n_ranks - 1) / deal->n_ranks;
}

static int deal_expert(const void *ctx, int layer, int slot)
{
    const struct deal *deal = ctx;

    (void)layer;
    return slot * deal->n_ranks + deal->rank;
}

struct loaded {
    struct sy_kernels kernels;
    struct sy_shard *shard;
    void *dense, *experts; /* dense of the first part's only */
    struct deal deal;
};

static enum sy_status load_part(struct subject *s, int part, int n_parts, int n_threads, void *dense, struct loaded *to,
                                struct sy_error *err)
{
    struct sy_pool *pool;

    *to = (struct loaded){.kernels = *watch.kernels, .deal = {part, n_parts, s->model->n_experts}};
    to->kernels.pack_panel = pack_panel;
    watch.subject = s;
    watch.n_panels = watch.shard = 0;
    watch.at = 0;
    watch.disorder = false;
    struct sy_shard_experts experts = {deal_slots, deal_expert, &to->deal, (s->model->n_experts - 1) / n_parts + 1};
    if (sy_shard_create(s->model, &to->kernels, &experts, &to->shard, err) ||
        sy_pool_create(n_threads, NULL, 0, &pool, err))
        bail("%s", err->text);
    to->experts = to->kernels.alloc(to->shard->expert_bytes);
    if (!dense)
        dense = to->dense = to->kernels.alloc(to->shard->dense_bytes);
    if (!to->experts || !dense)
        bail("no memory");
    sy_shard_place(to->shard, dense, to->experts);
    enum sy_status st = sy_shard_load(to->shard, s->ckpt, part, n_parts, pool, NULL, NULL, err);
    sy_pool_destroy(pool);
    return st;
}

static void drop(struct loaded *loaded)
{
    loaded->kernels.free(loaded->experts, loaded->shard->expert_bytes);
    loaded->kernels.free(loaded->dense, loaded->shard->dense_bytes);
    sy_shard_destroy(loaded->shard);
}

/* ---- the plain loop ---- */

/* Row `row` of a source, its elements one by one, as dtype. */
static void gather_row(const struct subject *s, const struct sy_matrix *source, int row, enum sy_dtype dtype,
                       uint8_t *out)
{
    const struct sy_tensor *t = source->tensor;
    size_t element = sy_dtype_bytes(t->dtype), wide = sy_dtype_bytes(dtype);

    for (int i = 0; i < source->k; i++) {
        int64_t at = source->offset + row * source->row_stride + i * source->k_stride;
        watch.kernels->convert(NULL, out + (size_t)i * wide, dtype,
                               s->files[t->shard].data + t->offset + (size_t)at * element, t->dtype, 1);
    }
}

/* One matrix against its rows, gathered one by one: n_segments of each of n_streams. */
static bool same_matrix(const struct subject *s, const struct sy_weight *w, int n_streams, int n_segments,
                        const struct sy_matrix *const *segments)
{
    size_t row_bytes = (size_t)w->k * sy_dtype_bytes(w->dtype), bytes = watch.kernels->panel_bytes(w->dtype, w->k);
    uint8_t *rows = malloc(SY_PANEL * row_bytes), *panel = malloc(bytes);
    bool same = rows && panel;

    for (int i = 0; i < (w->n + SY_PANEL - 1) / SY_PANEL * n_streams && same; i++) {
        const struct sy_matrix *const *stream = segments + i % n_streams * n_segments;
        int first = i / n_streams * SY_PANEL, n = w->n - first < SY_PANEL ? w->n - first : SY_PANEL;
        for (int r = 0; r < n; r++) {
            int at = first + r, segment = 0;
            while (at >= stream[segment]->n)
                at -= stream[segment++]->n;
            gather_row(s, stream[segment], at, w->dtype, rows + (size_t)r * row_bytes);
        }
        watch.kernels->pack_panel(w->dtype, w->k, 0, w->k, n, rows, row_bytes, sy_dtype_bytes(w->dtype), panel);
        same = !memcmp(panel, (const uint8_t *)w->data + (size_t)i * bytes, bytes);
    }
    free(rows);
    free(panel);
    return same;
}

/* Stacked vectors; a NULL tensor is `length` zeros. */
static bool same_vector(const struct subject *s, const float *v, const struct sy_tensor *t, int length)
{
    float *wide = calloc((size_t)length, sizeof *wide);
    bool same;

    if (!wide)
        bail("no memory");
    if (t)
        watch.kernels->convert(NULL, wide, SY_F32, s->files[t->shard].data + t->offset, t->dtype, (size_t)length);
    same = !memcmp(v, wide, (size_t)length * sizeof *wide);
    free(wide);
    return same;
}

static bool same_dense(const struct subject *s, const struct sy_shard *shard)
{
    const struct sy_model *m = s->model;
    int nq = m->n_heads * m->head_dim, nkv = m->n_kv_heads * m->head_dim;
    bool same = same_matrix(s, &shard->embed, 1, 1, (const struct sy_matrix *[]){&m->embed}) &&
                same_matrix(s, &shard->lm_head, 1, 1, (const struct sy_matrix *[]){&m->lm_head}) &&
                same_vector(s, shard->final_norm, m->final_norm, m->hidden);

    for (int l = 0; l < m->n_layers && same; l++) {
        const struct sy_layer_weights *w = &shard->layers[l];
        const struct sy_layer_sources *from = &m->layers[l];
        same = same_matrix(s, &w->qkv, 1, 3, (const struct sy_matrix *[]){&from->q, &from->k, &from->v}) &&
               same_matrix(s, &w->o, 1, 1, (const struct sy_matrix *[]){&from->o}) &&
               same_vector(s, w->attention_norm, from->attention_norm, m->hidden) &&
               same_vector(s, w->mlp_norm, from->mlp_norm, m->hidden) &&
               same_vector(s, w->qkv.bias, from->q_bias, nq) && same_vector(s, w->qkv.bias + nq, from->k_bias, nkv) &&
               same_vector(s, w->qkv.bias + nq + nkv, from->v_bias, nkv);
        if (same && from->moe)
            same = w->router.dtype == SY_F32 &&
                   same_matrix(s, &w->router, 1, 1, (const struct sy_matrix *[]){&from->router});
        else if (same)
            same = same_matrix(s, &w->dense_gate_up, 2, 1,
                               (const struct sy_matrix *[]){&from->dense.gate, &from->dense.up}) &&
                   same_matrix(s, &w->dense_down, 1, 1, (const struct sy_matrix *[]){&from->dense.down});
    }
    return same;
}

static bool same_experts(const struct subject *s, const struct loaded *loaded)
{
    const struct sy_shard *shard = loaded->shard;
    bool same = true;

    for (int slot = 0; slot < deal_slots(&loaded->deal, 1) && same; slot++) {
        const struct sy_expert_sources *from = &s->model->layers[1].experts[deal_expert(&loaded->deal, 1, slot)];
        const struct sy_expert_weights *w = &shard->experts[shard->max_slots + slot];
        same = same_matrix(s, &w->gate_up, 2, 1, (const struct sy_matrix *[]){&from->gate, &from->up}) &&
               same_matrix(s, &w->down, 1, 1, (const struct sy_matrix *[]){&from->down});
    }
    return same;
}

/* ---- tests ---- */

static void test_same(const struct shape *shape)
{
    struct subject s;
    struct sy_error err = SY_ERROR_INIT;
    struct loaded parts[3];

    open_subject(&s, shape, false);
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        uint64_t before = sy_checkpoint_bytes_read(s.ckpt);
        enum sy_status st = load_part(&s, 0, 1, n_threads, NULL, &parts[0], &err);
        const struct sy_shard *shard = parts[0].shard;
        ok(!st && same_dense(&s, shard) && same_experts(&s, &parts[0]), "%s: the same weights, %d threads", shape->name,
           n_threads);
        ok(sy_checkpoint_bytes_read(s.ckpt) - before == shard->dense_read_bytes + shard->expert_read_bytes,
           "%s: each byte is read once, %d threads", shape->name, n_threads);
        if (n_threads == 1 && s.model->dtype != SY_F32)
            ok(watch.n_panels > 20 && !watch.disorder, "%s: the files are read in order", shape->name);
        drop(&parts[0]);
    }
    for (int n_parts = 2; n_parts <= 3; n_parts++) {
        uint64_t before = sy_checkpoint_bytes_read(s.ckpt), all = 0;
        bool same = true;
        for (int p = 0; p < n_parts; p++) {
            same &= !load_part(&s, p, n_parts, 2, p ? parts[0].dense : NULL, &parts[p], &err);
            all += parts[p].shard->expert_read_bytes + (p ? 0 : parts[p].shard->dense_read_bytes);
        }
        for (int p = n_parts - 1; p >= 0; p--) {
            same &= same_dense(&s, parts[p].shard) && same_experts(&s, &parts[p]);
            drop(&parts[p]);
        }
        ok(same, "%s: the same weights in %d parts", shape->name, n_parts);
        ok(sy_checkpoint_bytes_read(s.ckpt) - before == all, "%s: %d parts read each byte once", shape->name, n_parts);
    }
    close_subject(&s);
}

/* Ways in which checkpoints stack experts of layer 1: dims of the tensors behind [E], and where an expert's gate, up and down
 * are in its slice. */
static const struct stacking {
    const char *what;
    bool transposed, interleaved;
} stackings[] = {
    {"gate rows, then up rows, in turn", false, true},
    {"transposed, gate and up in halves", true, false},
    {"transposed, gate and up in turn", true, true},
};

/* Point the experts of layer 1 at tensors stacked in another way. They have other numbers, which the plain loop reads too. */
static void restack(struct subject *s, const struct stacking *how)
{
    struct sy_model *m = s->model;
    int64_t D = m->hidden, F = m->expert_width;

    for (int e = 0; e < m->n_experts; e++) {
        struct sy_expert_sources *x = &m->layers[1].experts[e];
        x->gate = (struct sy_matrix){.tensor = sy_checkpoint_find(s->ckpt, "stack.gate_up"),
                                     .offset = e * 2 * F * D,
                                     .row_stride = how->transposed ? (how->interleaved ? 2 : 1) : 2 * D,
                                     .k_stride = how->transposed ? 2 * F : 1,
                                     .n = (int)F,
                                     .k = (int)D};
        x->up = x->gate;
        x->up.offset += !how->transposed ? D : how->interleaved ? 1 : F;
        x->down = (struct sy_matrix){.tensor = sy_checkpoint_find(s->ckpt, "stack.down"),
                                     .offset = e * D * F,
                                     .row_stride = how->transposed ? 1 : F,
                                     .k_stride = how->transposed ? D : 1,
                                     .n = (int)D,
                                     .k = (int)F};
    }
}

static void test_stacked(const struct shape *shape)
{
    for (size_t i = 0; i < sizeof stackings / sizeof *stackings; i++) {
        struct sy_error err = SY_ERROR_INIT;
        struct loaded parts[2];
        struct subject s;
        bool same = true;
        open_subject(&s, shape, false);
        restack(&s, &stackings[i]);
        uint64_t before = sy_checkpoint_bytes_read(s.ckpt), all = 0;
        for (int p = 0; p < 2; p++) {
            same &= !load_part(&s, p, 2, 2, p ? parts[0].dense : NULL, &parts[p], &err);
            all += parts[p].shard->expert_read_bytes + (p ? 0 : parts[p].shard->dense_read_bytes);
        }
        for (int p = 1; p >= 0; p--) {
            same &= same_dense(&s, parts[p].shard) && same_experts(&s, &parts[p]);
            drop(&parts[p]);
        }
        ok(same, "%s: the same weights from experts stacked: %s", shape->name, stackings[i].what);
        ok(sy_checkpoint_bytes_read(s.ckpt) - before == all, "%s: and each byte is read once", shape->name);
        close_subject(&s);
    }
}

/* A dense matrix that is stored transposed is shared by the ranks of a node along its inputs. */
static void test_transposed_dense(const struct shape *shape)
{
    struct sy_error err = SY_ERROR_INIT;
    struct loaded parts[3];
    struct subject s;
    bool same = true;

    open_subject(&s, shape, false);
    struct sy_matrix *down = &s.model->layers[0].dense.down;
    *down = (struct sy_matrix){.tensor = sy_checkpoint_find(s.ckpt, "stack.down"),
                               .row_stride = 1,
                               .k_stride = down->n,
                               .n = down->n,
                               .k = down->k};
    for (int p = 0; p < 3; p++)
        same &= !load_part(&s, p, 3, 2, p ? parts[0].dense : NULL, &parts[p], &err);
    for (int p = 2; p >= 0; p--) {
        same &= same_dense(&s, parts[p].shard);
        drop(&parts[p]);
    }
    ok(same, "%s: a transposed dense matrix in 3 parts", shape->name);
    close_subject(&s);
}

static const struct sy_tensor *lm_head(const struct subject *s)
{
    return sy_checkpoint_find(s->ckpt, "lm_head.weight");
}

/* The last tensor of the last file loses its end. */
static void cut(const struct subject *s)
{
    const struct sy_tensor *t = lm_head(s);

    if (truncate(sy_checkpoint_shard_path(s->ckpt, t->shard), (off_t)(t->offset + t->bytes / 2)))
        bail("cannot cut a file");
}

/* Reads of the last file fail from here on: its descriptor is a folder's. */
static void spoil(const struct subject *s)
{
    char link[64], path[PATH_MAX];
    int folder = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), n_found = 0;

    for (int fd = 0; fd < 256; fd++) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, path, sizeof path - 1);
        path[n > 0 ? n : 0] = 0;
        if (!strstr(path, SPLIT))
            continue;
        if (dup2(folder, fd) < 0)
            bail("cannot replace a file");
        n_found++;
    }
    if (n_found != 1)
        bail("the last file is open %d times", n_found);
    close(folder);
}

static void test_faults(const struct shape *shape)
{
    struct sy_error err;
    struct loaded loaded;
    struct subject s;

    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        open_subject(&s, shape, false);
        err = (struct sy_error)SY_ERROR_INIT;
        watch.first = cut;
        enum sy_status st = load_part(&s, 0, 1, n_threads, NULL, &loaded, &err);
        ok(st == SY_ERR_DATA && err.status == st && strstr(err.text, "lm_head.weight") && strstr(err.text, SPLIT) &&
               strstr(err.text, "the file ends at byte"),
           "%s: a file that is cut while it is loaded, %d threads: %s", shape->name, n_threads, err.text);
        drop(&loaded);
        close_subject(&s);

        open_subject(&s, shape, false);
        err = (struct sy_error)SY_ERROR_INIT;
        watch.first = spoil;
        st = load_part(&s, 0, 1, n_threads, NULL, &loaded, &err);
        ok(st == SY_ERR_IO && strstr(err.text, "model.embed_tokens.weight") && strstr(err.text, SPLIT) &&
               strstr(err.text, "cannot read"),
           "%s: a file that cannot be read any more, %d threads: %s", shape->name, n_threads, err.text);
        drop(&loaded);
        close_subject(&s);
    }
    watch.first = NULL;
}

static void test_missing_file(void)
{
    struct sy_error err = SY_ERROR_INIT;
    struct loaded loaded;
    struct subject s;

    open_subject(&s, &shapes[0], false);
    if (unlink(sy_checkpoint_shard_path(s.ckpt, 1)))
        bail("cannot remove a file");
    enum sy_status st = load_part(&s, 0, 1, 2, NULL, &loaded, &err);
    ok(st == SY_ERR_IO && strstr(err.text, SPLIT), "a file that is gone: %s", err.text);
    drop(&loaded);
    close_subject(&s);
}

static long status_kb(const char *name)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long kb = -1;

    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, name, strlen(name)))
            kb = strtol(line + strlen(name), NULL, 10);
    if (file)
        fclose(file);
    return kb;
}

/* What loading needs beside the weights that it leaves behind. Matrices have 8 MB here. */
static void test_memory(void)
{
    struct shape shape = {"tall", "BF16", "BF16", "BF16", false, 512, 2, 2, 16, 2, 16, 16, 8192};
    struct sy_error err = SY_ERROR_INIT;
    struct loaded loaded;
    struct subject s;
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

    open_subject(&s, &shape, true);
    if (fd < 0 || write(fd, "5", 1) != 1) {
        skip("the peak of memory cannot be reset here");
    } else {
        enum sy_status st = load_part(&s, 0, 1, 3, NULL, &loaded, &err);
        long peak = status_kb("VmHWM:"), now = status_kb("VmRSS:");
        ok(!st && now > 0 && peak - now < 4096, "loading 16 MB with 3 threads needs little beside them: %ld kB",
           peak - now);
        drop(&loaded);
    }
    if (fd >= 0)
        close(fd);
    close_subject(&s);
}

int main(void)
{
    rand_state = testrand_begin();
    watch.kernels = sy_kernels_cpu(sy_isa_best());
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        test_same(&shapes[i]);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        test_stacked(&shapes[i]);
        test_transposed_dense(&shapes[i]);
    }
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        test_faults(&shapes[i]);
    test_missing_file();
    test_memory();
    done();
    return tap_exit();
}
