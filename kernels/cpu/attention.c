/* SPDX-License-Identifier: Apache-2.0
 * attention.c - attention over the paged KV cache
 *
 * Online softmax (Milakov and Gimelshein 2018) over blocks of BLOCK keys that start at multiples of BLOCK; both products are
 * panel products (layout.h says how a page lies), made for several rows of a sequence and all query heads of a KV head
 * together.
 *
 * Exactness: a row's sums run over its own sequence's keys in order, in blocks and pages whose places are fixed. Keys that
 * a row does not see but another row of its group does have weight zero, and adding zero changes no bit; so do the keys
 * behind the last position, whose values kv_write clears. A sink comes before all keys.
 */
#include <math.h>

#include "cpu/cpu.h"
#include "cpu/panel.h"

#define BLOCK_PAGES 8
#define BLOCK       (BLOCK_PAGES * SY_KV_PAGE)

#define ROWS_MAX     64    /* rows times heads of a group */
#define ELEMENTS_MAX 18432 /* the same times the dims of a key or value, which are at most this */

#define HEADS_MIN 4 /* query heads that are not cut further: fewer read as many keys for less work */

_Static_assert(ROWS_MAX <= PANEL_ROWS_MAX, "a group's rows are one panel product's");

/* A group of rows on one thread: consecutive positions of one sequence, and the query heads of one KV head. Row m is row
 * m / n_heads of the group, head m % n_heads. */
struct group {
    const struct sy_attention *a;
    const struct sy_attention_row *rows;
    int first_row, n_rows, kv_head, head_begin, n_heads;
    int n; /* n_rows * n_heads */
    int v_panels;
    size_t element; /* bytes of a weight and of a dim of q */
    bool bf16;      /* of q and of the softmax's weights */
    float largest[ROWS_MAX], sum[ROWS_MAX];
    float out[ELEMENTS_MAX]; /* [n][v_panels * SY_PANEL] */
    float scores[ROWS_MAX * BLOCK];
    uint8_t weights[ROWS_MAX * BLOCK * sizeof(float)];
    uint8_t q[ELEMENTS_MAX * sizeof(float)];
};

/* Keys that row m sees: begin .. end - 1, positions of its sequence. */
static void visible(const struct group *g, int m, int *begin, int *end)
{
    int last = g->rows[m / g->n_heads].position, window = g->a->window;

    *begin = window > 0 && last >= window ? last - window + 1 : 0;
    *end = last + 1;
}

static const uint8_t *head_of(const struct group *g, int page)
{
    const struct sy_kv_layer *kv = &g->a->kv;

    return kv->base + (size_t)g->rows[0].pages[page] * kv->page_stride +
           (size_t)g->kv_head * sy_kv_head_elements(kv) * sy_dtype_bytes(kv->dtype);
}

static void begin_group(struct group *g)
{
    const struct sy_attention *a = g->a;
    size_t dim = (size_t)a->kv.k_dim;

    for (int m = 0; m < g->n; m++) {
        int head = g->head_begin + m % g->n_heads;
        const float *q = a->q + (size_t)(g->first_row + m / g->n_heads) * a->q_stride + (size_t)head * dim;
        for (int i = 0; i < a->kv.k_dim; i += VEC_N) {
            int lanes = vec_lanes(a->kv.k_dim, i);
            vec_store_type_upto(g->bf16 ? SY_BF16 : SY_F32, g->q, (size_t)m * dim + (size_t)i, lanes,
                                vec_load_upto(q + i, lanes));
        }
        g->largest[m] = a->sinks ? a->sinks[head] : -INFINITY;
        g->sum[m] = a->sinks ? 1.0f : 0.0f;
    }
    memset(g->out, 0, (size_t)(g->n * g->v_panels * SY_PANEL) * sizeof *g->out);
}

/* scores[m][key of the block] for pages first .. last. */
static void score_block(struct group *g, int block, int first, int last)
{
    const struct sy_attention *a = g->a;

    for (int page = first; page <= last; page += PANEL_N_MAX) {
        struct panel_dot dot = {.w_dtype = a->kv.dtype,
                                .x_dtype = g->bf16 ? SY_BF16 : SY_F32,
                                .x = g->q,
                                .x_bytes = (size_t)a->kv.k_dim * g->element,
                                .n_rows = g->n,
                                .k = a->kv.k_dim,
                                .acc = g->scores + (page - block * BLOCK_PAGES) * SY_KV_PAGE,
                                .acc_stride = BLOCK};
        for (; dot.n_panels < PANEL_N_MAX && page + dot.n_panels <= last; dot.n_panels++)
            dot.panels[dot.n_panels] = head_of(g, page + dot.n_panels);
        SY_CPU(panel_dot)(&dot);
    }
}

/* Scores of row m of a block to weights e^(score - largest), the running sums rescaled to a new largest score. Pages first
 * .. last of the block are there. */
static void softmax_block(struct group *g, int m, int block, int first, int last)
{
    const vf none = vec_set(-INFINITY), scale = vec_set(g->a->scale);
    float *scores = g->scores + m * BLOCK;
    int begin, end, from = (first - block * BLOCK_PAGES) * SY_KV_PAGE;
    int to = (last - block * BLOCK_PAGES + 1) * SY_KV_PAGE;
    vf most = vec_set(g->largest[m]), sum = vec_zero();

    visible(g, m, &begin, &end);
    begin -= block * BLOCK;
    end -= block * BLOCK;
    for (int i = from; i < to; i += VEC_N) {
        vf s = vec_select_range(vec_mul(vec_load(scores + i), scale), none, begin - i, end - i);
        vec_store(scores + i, s);
        most = vec_max(s, most);
    }
    float largest = vec_largest(most);
    /* A row that has not seen a key yet keeps sums of zero. */
    vf base = vec_set(largest > -INFINITY ? largest : 0.0f);
    float rescale[VEC_N];
    vec_store(rescale, vec_exp(vec_sub(vec_set(g->largest[m]), base)));
    for (int i = from; i < to; i += VEC_N) {
        vf e = vec_exp(vec_sub(vec_load(scores + i), base));
        sum = vec_add(sum, e);
        vec_store_type_upto(g->bf16 ? SY_BF16 : SY_F32, g->weights, (size_t)(m * BLOCK + i), VEC_N, e);
    }
    for (int i = 0; g->a->kv.v_in_k && i < from; i += VEC_N)
        vec_store_type_upto(g->bf16 ? SY_BF16 : SY_F32, g->weights, (size_t)(m * BLOCK + i), VEC_N, vec_zero());
    g->sum[m] = g->sum[m] * rescale[0] + vec_sum(sum);
    g->largest[m] = largest;
    float *out = g->out + m * g->v_panels * SY_PANEL;
    for (int i = 0; rescale[0] != 1.0f && i < g->v_panels * SY_PANEL; i += VEC_N)
        vec_store(out + i, vec_mul(vec_load(out + i), vec_set(rescale[0])));
}

/* out[m] += weights[m] times panels of values, n_panels of them from `panel` on: k keys from key `key` of the block on. */
static void add_panels(struct group *g, const uint8_t *values, size_t panel_bytes, int panel, int n_panels, int key,
                       int k)
{
    struct panel_dot dot = {.w_dtype = g->a->kv.dtype,
                            .x_dtype = g->bf16 ? SY_BF16 : SY_F32,
                            .x = g->weights + (size_t)key * g->element,
                            .x_bytes = BLOCK * g->element,
                            .n_panels = n_panels,
                            .n_rows = g->n,
                            .k = k,
                            .add = true,
                            .acc = g->out + panel * SY_PANEL,
                            .acc_stride = (size_t)(g->v_panels * SY_PANEL)};

    for (int p = 0; p < n_panels; p++)
        dot.panels[p] = values + (size_t)p * panel_bytes;
    SY_CPU(panel_dot)(&dot);
}

/* Values of pages first .. last. */
static void add_values(struct group *g, int block, int first, int last)
{
    const struct sy_kv_layer *kv = &g->a->kv;
    size_t panel_bytes = sy_cpu_panel_bytes(kv->dtype, SY_KV_PAGE);
    size_t k_bytes = sy_kv_k_elements(kv) * sy_dtype_bytes(kv->dtype);

    for (int page = first; page <= last; page++) {
        const uint8_t *values = head_of(g, page) + k_bytes;
        for (int panel = 0, n; panel < g->v_panels; panel += n) {
            n = g->v_panels - panel < PANEL_N_MAX ? g->v_panels - panel : PANEL_N_MAX;
            add_panels(g, values + (size_t)panel * panel_bytes, panel_bytes, panel, n,
                       (page - block * BLOCK_PAGES) * SY_KV_PAGE, SY_KV_PAGE);
        }
    }
}

/* Elements of so many bytes, a constant of the caller. */
VEC_INLINE void transpose(const uint8_t *keys, int n_dims, size_t bytes, uint8_t *values)
{
    for (int d = 0; d < SY_PANEL; d++)
        for (int key = 0; key < SY_PANEL; key++) {
            uint32_t f = 0;
            if (d < n_dims)
                memcpy(&f, keys + (size_t)(d * SY_PANEL + key) * bytes, bytes);
            memcpy(values + (size_t)(key * SY_PANEL + d) * bytes, &f, bytes);
        }
}

/* SY_PANEL dims of a page's keys, n_dims of which are there, as a panel of values. In BF16 both sides are made of words of
 * four: two dims of two keys, which change places inside a word as the words do. */
static void keys_to_values(enum sy_dtype dtype, const uint8_t *keys, int n_dims, uint8_t *values)
{
    enum { PAIRS = SY_PANEL / 2 };
    uint64_t word;

    if (dtype == SY_F32) {
        transpose(keys, n_dims, sizeof(float), values);
        return;
    }
    if (dtype == SY_F16) {
        transpose(keys, n_dims, sizeof(uint16_t), values);
        return;
    }
    for (int d = 0; d < PAIRS; d++)
        for (int key = 0; key < PAIRS; key++) {
            word = 0;
            if (2 * d < n_dims)
                memcpy(&word, keys + (size_t)(d * PAIRS + key) * sizeof word, sizeof word);
            word = (word & 0xffff00000000ffffu) | (word & 0xffff0000u) << 16 | (word >> 16 & 0xffff0000u);
            memcpy(values + (size_t)(key * PAIRS + d) * sizeof word, &word, sizeof word);
        }
}

/* The same where values are in the keys, a few panels of them at a time: transposed for all heads of the group, and for all
 * keys from the block's first on. Those before page `first` have weight zero. */
static void add_keys_as_values(struct group *g, int block, int first, int last)
{
    const struct sy_kv_layer *kv = &g->a->kv;
    size_t page_bytes = sy_cpu_panel_bytes(kv->dtype, SY_KV_PAGE), element = sy_dtype_bytes(kv->dtype);
    int begin = block * BLOCK_PAGES;
    uint8_t values[PANEL_N_MAX * BLOCK * SY_PANEL * sizeof(float)];
    size_t panel_bytes = BLOCK_PAGES * page_bytes;

    for (int panel = 0, n; panel < g->v_panels; panel += n) {
        n = g->v_panels - panel < PANEL_N_MAX ? g->v_panels - panel : PANEL_N_MAX;
        for (int p = 0; p < n; p++) {
            uint8_t *to = values + (size_t)p * panel_bytes;
            int dim = (panel + p) * SY_PANEL;
            memset(to, 0, (size_t)(first - begin) * page_bytes);
            for (int page = first; page <= last; page++)
                keys_to_values(kv->dtype, head_of(g, page) + (size_t)dim * SY_PANEL * element, kv->k_dim - dim,
                               to + (size_t)(page - begin) * page_bytes);
        }
        add_panels(g, values, panel_bytes, panel, n, 0, (last - begin + 1) * SY_KV_PAGE);
    }
}

static void finish_group(const struct group *g)
{
    const struct sy_attention *a = g->a;

    for (int m = 0; m < g->n; m++) {
        const float *from = g->out + m * g->v_panels * SY_PANEL;
        size_t width = (size_t)(a->n_heads * a->kv.v_dim);
        size_t to = sy_row_index(a->out_dtype, width, (size_t)(g->first_row + m / g->n_heads),
                                 (size_t)((g->head_begin + m % g->n_heads) * a->kv.v_dim));
        for (int i = 0; i < a->kv.v_dim; i += VEC_N)
            vec_store_row_upto(a->out_dtype, a->out, to + (size_t)i, width, vec_lanes(a->kv.v_dim, i),
                               vec_div(vec_load(from + i), vec_set(g->sum[m])));
    }
}

static void run_group(struct group *g)
{
    int begin, first, end;

    begin_group(g);
    visible(g, 0, &begin, &end);
    first = begin / SY_KV_PAGE;
    visible(g, g->n - 1, &begin, &end);
    int last = (end - 1) / SY_KV_PAGE;
    for (int block = first / BLOCK_PAGES; block <= last / BLOCK_PAGES; block++) {
        int from = block * BLOCK_PAGES, to = from + BLOCK_PAGES - 1;
        from = from > first ? from : first;
        to = to < last ? to : last;
        score_block(g, block, from, to);
        for (int m = 0; m < g->n; m++)
            softmax_block(g, m, block, from, to);
        if (g->a->kv.v_in_k)
            add_keys_as_values(g, block, from, to);
        else
            add_values(g, block, from, to);
    }
    finish_group(g);
}

struct job {
    const struct sy_attention *a;
    int row_step, n_row_steps, head_step, n_head_steps, first_kv_head;
    int n_max; /* rows times heads of a group */
};

/* Item: row_step rows of the batch and head_step query heads of one KV head. Runs of consecutive positions go through the
 * keys together. */
static void attention_item(void *arg, int item, int thread)
{
    const struct job *job = arg;
    const struct sy_attention *a = job->a;
    int heads_each = a->n_heads / a->kv.n_kv_heads, row = item % job->n_row_steps * job->row_step;
    int step = item / job->n_row_steps, kv_head = job->first_kv_head + step / job->n_head_steps;
    int begin = kv_head * heads_each + step % job->n_head_steps * job->head_step, end = begin + job->head_step;
    int rows_end = row + job->row_step < a->n_rows ? row + job->row_step : a->n_rows;
    struct group g;

    (void)thread;
    g.a = a;
    g.kv_head = kv_head;
    g.v_panels = (a->kv.v_dim + SY_PANEL - 1) / SY_PANEL;
    g.bf16 = a->kv.dtype == SY_BF16 && a->out_dtype != SY_F32;
    g.element = g.bf16 ? 2 : sizeof(float);
    end = end < (kv_head + 1) * heads_each ? end : (kv_head + 1) * heads_each;
    begin = begin > a->head_begin ? begin : a->head_begin;
    end = end < a->head_end ? end : a->head_end;
    g.head_begin = begin;
    g.n_heads = end - begin;
    while (row < rows_end && begin < end) {
        int n_rows = 1, rows_max = job->n_max / g.n_heads;
        while (n_rows < rows_max && row + n_rows < rows_end && a->rows[row + n_rows].pages == a->rows[row].pages &&
               a->rows[row + n_rows].position == a->rows[row].position + n_rows)
            n_rows++;
        g.rows = a->rows + row;
        g.first_row = row;
        g.n_rows = n_rows;
        g.n = n_rows * g.n_heads;
        run_group(&g);
        row += n_rows;
    }
    panel_release();
}

static int n_items(const struct job *job, int n_kv_heads)
{
    return job->n_row_steps * job->n_head_steps * n_kv_heads;
}

/* How the work is cut: as many rows and heads together as a group holds, but finer where there would be fewer items than
 * keep all threads at work. Heads of a KV head stay together longer, for they read the same keys. */
static void cut(struct job *job, int n_kv_heads, int n_threads)
{
    const struct sy_attention *a = job->a;
    int heads_each = a->n_heads / a->kv.n_kv_heads, v_width = (a->kv.v_dim + SY_PANEL - 1) / SY_PANEL * SY_PANEL;
    int width = v_width > a->kv.k_dim ? v_width : a->kv.k_dim;

    job->n_max = ELEMENTS_MAX / width < ROWS_MAX ? ELEMENTS_MAX / width : ROWS_MAX;
    job->head_step = heads_each < job->n_max ? heads_each : job->n_max;
    job->row_step = ROWS_MAX / job->head_step;
    job->n_row_steps = (a->n_rows + job->row_step - 1) / job->row_step;
    job->n_head_steps = (heads_each + job->head_step - 1) / job->head_step;
    while (job->row_step > 1 && n_items(job, n_kv_heads) < 4 * n_threads) {
        job->row_step /= 2;
        job->n_row_steps = (a->n_rows + job->row_step - 1) / job->row_step;
    }
    while (job->head_step > HEADS_MIN && n_items(job, n_kv_heads) < n_threads) {
        job->head_step /= 2;
        job->n_head_steps = (heads_each + job->head_step - 1) / job->head_step;
    }
}

void SY_CPU(attention)(struct sy_queue *q, const struct sy_attention *a)
{
    struct job job = {.a = a};
    double cost = 0.0;

    if (a->n_rows <= 0 || a->head_end <= a->head_begin)
        return;
    for (int t = 0; t < a->n_rows; t++)
        cost += (double)(a->rows[t].position + 1) * (a->head_end - a->head_begin) * (a->kv.k_dim + a->kv.v_dim);
    int heads_each = a->n_heads / a->kv.n_kv_heads;
    int n_kv_heads = (a->head_end - 1) / heads_each - a->head_begin / heads_each + 1;
    job.first_kv_head = a->head_begin / heads_each;
    cut(&job, n_kv_heads, sy_pool_n_threads(q->pool));
    sy_queue_run(q, n_items(&job, n_kv_heads), cost, attention_item, &job);
}
