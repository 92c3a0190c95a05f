/* SPDX-License-Identifier: Apache-2.0
 * kernels.h - the arithmetic of the model, behind one C ABI
 *
 * A backend is a table of functions. kernels/ref is the readable truth in FP32, kernels/cpu the SIMD implementation (one
 * source, compiled once for each instruction set). The engine names no backend: it calls through the table.
 *
 * Letters: T rows (tokens), D hidden, E experts, K experts per token, F expert width, N outputs of a matrix, V vocabulary.
 * Activations are row-major, float, BF16 or two parts of BF16 as an argument says. Weights are described by struct
 * sy_weight and stay in their published type in memory; BF16 is multiplied as it is where the instruction set can, and
 * widened in registers, as FP16 is, where it cannot.
 *
 * Exactness (DESIGN 3.2): what a row gets depends on that row, its position and the weights alone; never on T, on the
 * other rows, on the number of threads or on how a range was cut. Each dot product is summed in one fixed order.
 *
 * Rounding. "compute bf16" means that activations are rounded to BF16, or to two parts of BF16, before each product; the
 * rounding is done by the kernel that makes the activation, which stores them (or, where it works in place, rounded floats),
 * so a matrix kernel never rounds its input. Sums are FP32.
 *
 * A queue is where kernels run: for a CPU the rank's thread pool, and every call is done when it returns; for a GPU a
 * stream, and calls are done in order, some time later. Pointers to numbers, arrays in structures too, are buffers of the
 * backend (alloc(), or memory that it shares with the host); structures themselves and arrays of them that say so lie in
 * plain memory and are read before the call returns.
 */
#ifndef SY_KERNELS_H
#define SY_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/courier.h"
#include "base/lender.h"
#include "base/pool.h"
#include "base/range.h"
#include "base/status.h"

enum sy_dtype {
    SY_F32,
    SY_F16,
    SY_BF16,
    SY_I32,
    SY_I64,
    SY_U8,
    SY_I8,
    SY_F8_E4M3,
    SY_F8_E5M2,
    SY_F64, /* this and the next six: in files beside a language model, never computed with */
    SY_I16,
    SY_U16,
    SY_U32,
    SY_U64,
    SY_BOOL,
    SY_F8_E8M0,
    SY_MXFP4, /* 4-bit floats (E2M1), two in a byte, the first in its low half; no type of safetensors */
    SY_BF16X2, /* of activations alone, no type of safetensors */
    SY_N_DTYPES,
};

/* SY_BF16X2: a number as the sum of two BF16 parts, hi = bf16(x) and lo = bf16(x - hi), which keeps 16 bits of it and lets
 * products be made of BF16, hi * w + lo * w. A row whose stride is S elements begins with its S hi parts, and the S lo parts
 * follow, so that either half is a row of BF16. An infinity becomes NaN. */

/* Bytes of one element, 0 for SY_MXFP4; of n elements together; name as in safetensors ("BF16"). */
size_t sy_dtype_bytes(enum sy_dtype dtype);
size_t sy_dtype_array_bytes(enum sy_dtype dtype, size_t n);
const char *sy_dtype_name(enum sy_dtype dtype);

/* How a matrix [N, K] (N outputs, K inputs, as nn.Linear stores it) lies in memory. */
enum sy_layout {
    SY_LAYOUT_ROWS,    /* as published: N rows of K */
    SY_LAYOUT_PANELS,  /* panels of SY_PANEL outputs: [ceil(N / SY_PANEL)][K][SY_PANEL], or for BF16
                        * and SY_MXFP4 with inputs in pairs, [ceil(N / SY_PANEL)][ceil(K / 2)][SY_PANEL][2]; missing
                        * outputs and inputs are zero */
};

#define SY_PANEL 16

/* A weight matrix of N outputs and K inputs. For a fused gate-and-up matrix (see gate_up below) the panels alternate:
 * panel 2p holds gate outputs p * SY_PANEL .., panel 2p + 1 the up outputs of the same numbers, and n counts the outputs
 * of one half (F).
 *
 * Quantised types (SY_I8, SY_F8_E4M3, SY_MXFP4) stay as they are in memory: an element is its code's number times a scale,
 * which an output has for each scale_block inputs. scales: [panels][ceil(k / scale_block)][SY_PANEL], panels in the order of
 * data's (of rows: [N][ceil(k / scale_block)]); floats, all finite and at most SY_SCALE_MAX in size, or for SY_MXFP4 bytes b
 * that stand for 2^(b - 127). A product makes each element in FP32 with one rounding, and where rows are BF16 or BF16X2 and
 * the instruction set multiplies those, rounds it to BF16. Other types have no scales. */
struct sy_weight {
    enum sy_dtype dtype;
    enum sy_layout layout;
    int n, k;
    int scale_block; /* a multiple of SY_SCALE_UNIT, or at least k; 0 for types without scales */
    const void *data, *scales;
    const float *bias; /* added to the outputs, [n]; of a fused matrix gate's, then up's, [2][n]. NULL: none */
};

#define SY_SCALE_UNIT 32
#define SY_SCALE_MAX  0x1p100f

/* Whether elements are codes that mean something only with their scales. */
static inline bool sy_dtype_quantised(enum sy_dtype dtype)
{
    return dtype == SY_I8 || dtype == SY_F8_E4M3 || dtype == SY_MXFP4;
}

/* Rows as they travel: element type of a row, its bytes, and bytes of scales that follow it (0 for now). */
struct sy_rows {
    enum sy_dtype dtype;
    size_t row_bytes, scale_bytes;
};

/* Activation rounding of kernels that work in place: what the consumer's compute type asks for. */
enum sy_round { SY_ROUND_NONE, SY_ROUND_BF16 };

/* One run of rows for one expert: rows row .. row + n_rows - 1 of the input, of the activations and of the output. */
struct sy_tile {
    const struct sy_weight *gate_up, *down; /* [2F, D] interleaved panels; [D, F] panels */
    int row, n_rows;
};

/* What an MLP makes of its two projections. limit 0: silu(gate) * up. Otherwise gate * sigmoid(alpha * gate) * (up + 1)
 * with gate at most limit and up within it on both sides (gpt-oss). */
struct sy_glu {
    float alpha, limit;
};

/* How logits become scores, by which experts are chosen and of which the weights are made. */
enum sy_router_kind {
    SY_ROUTER_SOFTMAX,        /* softmax over all experts (Mixtral, Qwen, OLMoE, DeepSeek-V2) */
    SY_ROUTER_SIGMOID,        /* each logit's sigmoid (DeepSeek-V3, GLM) */
    SY_ROUTER_SOFTMAX_CHOSEN, /* the logits; softmax over the chosen ones makes the weights (gpt-oss, Granite) */
    SY_ROUTER_SPARSEMIXER,    /* the largest logit, K times; each one's weight is its share of a softmax over those that
                               * are near it and not chosen before (Phi) */
};

#define SY_EXPERTS_MAX    4096
#define SY_GROUPS_MAX     256
#define SY_GROUP_BEST_MAX 2

/* Which experts a token goes to. Chosen are the K largest scores (plus correction); with groups, only those of the kept
 * groups. Groups are n_experts / n_groups experts in order of id; a group's score is the sum of its group_best largest
 * (corrected) scores. */
struct sy_router_rule {
    enum sy_router_kind kind;
    int n_experts, top_k; /* n_experts <= SY_EXPERTS_MAX */
    int n_groups, n_kept;    /* n_groups <= SY_GROUPS_MAX, 0 or 1: no groups */
    int group_best;          /* <= SY_GROUP_BEST_MAX */
    const float *correction; /* [E] added to the scores for the choice alone, NULL: none */
    float jitter;            /* sparsemixer: a logit counts while (largest - logit) / max(|logit|, largest) is at most
                              * twice this */
    bool normalise;          /* divide the K weights by their sum */
    float scale;             /* multiply them by this afterwards */
};

/* A paged KV cache of one layer. A page holds SY_KV_PAGE consecutive positions of one sequence, each KV head's K and V in
 * a layout of the backend's own (kv_page_bytes() says how large). Where the values are the first dims of the keys, as in
 * multi-head latent attention with absorbed projections, only K is there. */
#define SY_KV_PAGE 16

struct sy_kv_layer {
    uint8_t *base;             /* page p of this layer is at base + p * page_stride */
    size_t page_stride;        /* bytes */
    enum sy_dtype dtype;       /* SY_F32, SY_BF16, or SY_F16, whose largest number stands for any beyond it */
    int n_kv_heads;
    int k_dim, v_dim; /* dims of a head's key and of its value */
    bool v_in_k;      /* a value is the first v_dim <= k_dim dims of its key */
};

/* What attention needs to know of each row: where it stands in its sequence and that sequence's pages. */
struct sy_attention_row {
    const int32_t *pages; /* page numbers of the sequence, in order */
    int32_t position;     /* 0-based; keys 0 .. position are visible (fewer with a window) */
    int32_t turn;         /* row of the table of angles where those of the sequence begin (RoPE) */
};

struct sy_attention {
    int n_rows, n_heads;       /* n_heads is a multiple of kv.n_kv_heads */
    int head_begin, head_end;  /* query heads to compute: all, or one rank's range under tensor parallelism */
    int window;                /* > 0: keys position - window + 1 .. position only; pages before them may be gone */
    float scale;               /* usually head_dim^-0.5 */
    bool decode;               /* all rows are of generated tokens, else all of prompts: a GPU sums each kind in its own
                                * order, a CPU all in one */
    int n_keys;                /* no row of a decode sees more; 0: not known */
    const struct sy_attention_row *rows; /* [n_rows] */
    struct sy_kv_layer kv;
    const float *q; /* [n_rows][q_stride], head h at h * kv.k_dim */
    size_t q_stride;
    const float *sinks;        /* [n_heads] one more score for each head, without scale or value; NULL: none */
    enum sy_dtype out_dtype;   /* SY_F32, SY_BF16 or SY_BF16X2; if not SY_F32, and the cache is BF16, q has been rounded
                                * to BF16, and the softmax's weights are before they meet V */
    void *out;                 /* [n_rows][n_heads * kv.v_dim] */
};

/* A rotation of n_heads heads of every row (RoPE): the first rotary_dim of `width` dims turn in pairs by angle
 * position * inv_freq[i], the others stay. Head h of row t is read at x + t * x_stride + h * x_head and written to
 * y + t * y_stride + h * y_head; y may be x with the same strides. A part of each head turns where x begins at that part. */
struct sy_rotation {
    int n_rows, n_heads, width, rotary_dim;
    bool interleaved;                    /* pair i is dims 2i and 2i + 1, else i and i + rotary_dim / 2 (NeoX halves) */
    const struct sy_attention_row *rows; /* [n_rows] */
    const float *cos_sin;                /* [..][rotary_dim]: rotary_dim / 2 cosines, then as many sines; a row of the
                                          * batch turns by row turn + position */
    enum sy_round round;                 /* of all `width` dims */
    const float *x;
    float *y;
    size_t x_stride, x_head, y_stride, y_head;
};

/* What stands between the projection of queries, keys and values and attention. turn: of queries' heads and the keys' behind
 * them, in place. */
struct sy_heads {
    struct sy_rotation turn;
    const float *q_norm, *k_norm; /* [turn.width] rmsnorm() of every head before it turns; NULL: none */
    float eps;
    struct sy_kv_layer kv;        /* of k_dim == turn.width; turned keys and values go there as kv_write() takes them */
    const float *values;          /* [n_rows] at turn.x_stride */
};

/* One matrix for each head, applied to that head's part of every row: y[t][h][n] = sum over k of x[t][h][k] * w[h][n][k]
 * for heads head_begin .. head_end - 1. Part h of row t is at x + t * x_stride + h * x_head, in elements. */
struct sy_head_gemm {
    const struct sy_weight *w; /* of head 0; head h's panels begin h * w_head bytes on */
    size_t w_head;
    int n_rows, head_begin, head_end;
    const void *x;
    enum sy_dtype x_dtype, y_dtype; /* SY_F32, SY_BF16 or SY_BF16X2 */
    enum sy_round round;            /* of y where it is SY_F32 */
    void *y;
    size_t x_stride, x_head, y_stride, y_head;
};

/* What a row of V logits comes down to: all that a greedy choice and a log-probability need, and for drawing a token and
 * for finding the largest few, where to look. Blocks are of SY_LOGIT_BLOCK tokens in order of id, the last one shorter.
 * NaN has no weight, and is the largest only where there is nothing else. */
#define SY_LOGIT_BLOCK 256

struct sy_logit_scan {
    /* Asked for. Results that are not asked for, and block_exp, are unspecified. */
    float temperature;    /* > 0: weights, exp((logit - max) / temperature) for each token; 0: none */
    bool want_log_sum;

    /* Found. */
    int32_t argmax;       /* lowest id of the largest logit; 0 if all are NaN */
    float max;            /* the largest logit */
    double weight;        /* sum of all weights; 0 if max is not finite */
    double log_sum;       /* natural logarithm of the sum of exp(logit), whatever the temperature; max if not finite */

    /* [sy_logit_blocks(V)] buffers of the caller. */
    float *block_max;     /* the largest logit of each block */
    double *block_weight; /* sum of each block's weights; unspecified if max is not finite */
    double *block_exp;    /* scratch */
};

static inline int sy_logit_blocks(int V)
{
    return (V - 1) / SY_LOGIT_BLOCK + 1;
}

/* Tokens of a row that the host wants to see, where it does not see all logits: what drawing a token and the largest few may
 * need, found with the help of the row's scan. Lists are in order of id, without NaN except for a block. Where more tokens are
 * found than there is room for, those with the lowest ids are listed. */
enum sy_pick_kind {
    /* Token n. */
    SY_PICK_TOKEN,
    /* The n most likely ones and others: all that reach the n-th largest of the blocks' largest logits, or with fewer blocks
     * all there are. */
    SY_PICK_TOP,
    /* The most likely ones, until they weigh `share` of all: all that reach max - depth * temperature, for the first depth of
     * 2, 4, .. 40 where they do (their sum may be FP32), else all there are. */
    SY_PICK_NEAR,
    /* All of the block that weight share * scan.weight falls into, where blocks follow one another, each as long as its
     * weight: subtracted in order, in double. */
    SY_PICK_BLOCK,
};

struct sy_logit_pick {
    /* Asked for. */
    enum sy_pick_kind kind;
    int row;              /* of the logits and the scans */
    int32_t n;
    double share;
    int room;

    /* Found: floor for SY_PICK_TOP and SY_PICK_NEAR, the block's figures for SY_PICK_BLOCK. These last two want a scan with a
     * temperature, and find nothing if max is not finite. */
    int n_found;
    float floor;          /* that a listed logit reaches */
    int block;            /* as many as there are, and nothing is listed: behind the last one */
    double left;          /* of the weight, from where the block begins */
    double block_weight;
    float block_max;

    /* [room] buffers of the caller. */
    int32_t *ids;
    float *logits;
};

/* Depths of SY_PICK_NEAR. */
#define SY_PICK_STEP  2
#define SY_PICK_DEPTH 40

/* One layer of experts that are all on this device, from hidden states to hidden states. What begins it is the router's
 * matrix, its logits, or experts and weights that are chosen already; what comes before that is left out. */
enum sy_moe_from { SY_MOE_FROM_HIDDEN, SY_MOE_FROM_LOGITS, SY_MOE_FROM_CHOSEN };

struct sy_moe_shape {
    int T, D, F, E, K; /* T: at most */
    enum sy_dtype w_dtype; /* of the experts' matrices */
};

struct sy_expert {
    const struct sy_weight *gate_up, *down;
};

struct sy_moe_run {
    struct sy_moe_shape shape;
    enum sy_moe_from from;
    const struct sy_router_rule *rule;
    const struct sy_weight *router; /* as router() takes it; from hidden states alone */
    const float *h;      /* [T, D] hidden states: the router's rows as they are, the experts' rounded to BF16 */
    float *logits;       /* [T, E] */
    int32_t *ids;        /* [T, K] */
    float *weights;      /* [T, K] */
    const void *table;   /* of the layer's experts, by moe_table() */
    struct sy_glu glu;
    const float *shared; /* [T, D] as combine() takes it, or NULL */
    float *x;            /* [T, D] += the layer's result */
    uint64_t *n_active;  /* on the device: += experts that have rows; NULL: nobody counts */
    void *workspace;     /* moe_bytes() on the device */
};

/* What ranks tell each other is there, in the order of a layer: rows, which experts they are for, where that is not told with
 * them; and results. */
enum sy_moe_news { SY_NEWS_ROWS, SY_NEWS_CHOICES, SY_NEWS_RESULTS, SY_N_NEWS };

/* What one rank lets the others write, as addresses of this rank's device; zeroed at first. */
struct sy_moe_window {
    void *rows;        /* [n_ranks][rows_each][D] BF16: of each rank's tokens */
    int32_t *slots;    /* [n_ranks][rows_each][K] the expert of this window's rank that a row goes to, or -1 */
    int32_t *n_tokens; /* [pieces_most][n_ranks] */
    uint32_t *arrived; /* [SY_N_NEWS][pieces_most][n_ranks] 1 once all of that of a rank's piece is here; 0 before
                        * that rank can know that this one has seen it */
    void *results;     /* [rows_each * K][D] BF16 */
};

/* A layer of experts that are spread over ranks whose devices write to each other's memory, in pieces of up to `most` tokens
 * of each rank, the same on all; a call is of one piece. */
#define SY_ACROSS_RANKS_MAX   64
#define SY_ACROSS_CHOICES_MAX 32 /* K */
#define SY_ACROSS_PIECES_MAX  32

struct sy_moe_across {
    /* Of this rank's tokens of the piece, whose experts are chosen; ids too on the device. shape.T may be 0. table: of this
     * rank's experts, in order of slots. n_active: [3] more are counted: pairs computed here, and rows and results stored at
     * other ranks. */
    struct sy_moe_run run;
    const void *rows; /* [T][D] BF16: what is sent; NULL: run.h, rounded */
    int rank, n_ranks, most, rows_each, n_slots;
    int piece, n_pieces, pieces_most;
    int first;  /* of its tokens, the same on all ranks */
    bool many;  /* every rank has about `most`: experts' rows are put in order first; the workspace has room for them */
    bool apart; /* results stay here until they are sent back; the workspace has room for them too */
    bool ahead; /* AHEAD comes before SEND; the same on all ranks */
    bool alone; /* no other rank has this device: kernels on it may wait for theirs */
    bool copied; /* copy engines bring this rank's rows that go ahead, to one rank after the other; any on each rank */
    const struct sy_moe_window *windows; /* [R] on the device */
    const struct sy_moe_window *peers;   /* the same on the host */
    struct sy_moe_window own;            /* that of this rank */
    const int32_t *homes;                /* [E][2] rank and slot of each expert; on the device */
};

/* A layer's parts: all ranks ask for all pieces' SEND, RECEIVE, SORT, EXPERTS, in the order of the pieces, and then for FINISH;
 * all ranks or none ask for AHEAD of all pieces first;
 * RETURN stands for EXPERTS where rows themselves are sent back, and comes behind it where results are apart. */
enum sy_across_part {
    SY_ACROSS_AHEAD,   /* store rows at all ranks, beside what q does: ids are not looked at */
    SY_ACROSS_SEND,    /* say which experts rows go to, and store them at their ranks if they did not go ahead */
    SY_ACROSS_RECEIVE, /* wait on the device until all ranks' are here of a piece: choices, and rows not sent ahead */
    SY_ACROSS_SORT,    /* find the order of their experts */
    SY_ACROSS_EXPERTS, /* multiply them, when they are here, and store results at their tokens' ranks */
    SY_ACROSS_RETURN,  /* store results that are apart there, else rows as they came */
    SY_ACROSS_FINISH,  /* wait until all pieces' results are here, and combine them if x is not NULL; all tokens */
};

/* What a probe counts: bytes read, or multiplications and additions of a type's fastest product. */
enum sy_probe { SY_PROBE_READ, SY_PROBE_FP32, SY_PROBE_BF16, SY_PROBE_INT8, SY_N_PROBES };

struct sy_queue;
struct sy_recording;

struct sy_kernels {
    const char *name; /* "ref", "portable", "avx2", "avx512", "amx" */

    bool rows_x2;   /* rows may be SY_BF16X2; without, the engine gives SY_BF16 in their place */
    bool pages_f16; /* pages of the KV cache may be SY_F16; without, SY_BF16 */

    /* Buffers and queues. alloc() gives zeroed memory, NULL when there is not enough; where on_device is set the host cannot
     * read it. alloc_host() gives zeroed memory that the host and kernels both use. free and free_host take NULL. */
    bool on_device;
    void *(*alloc)(size_t bytes);
    void (*free)(void *buffer, size_t bytes);
    void (*say_free)(char *text, size_t bytes); /* how much of the device's memory is free; NULL: there is no device */
    void *(*alloc_host)(size_t bytes);
    void (*free_host)(void *buffer, size_t bytes);
    /* Let kernels use memory of the host that somebody else allocated, from here to unshare_host(). */
    enum sy_status (*share_host)(void *memory, size_t bytes, struct sy_error *err);
    void (*unshare_host)(void *memory);
    /* NULL: its memory is the host's, or cannot be lent. */
    const struct sy_lender *lender;
    /* NULL: nothing carries its memory to other processes'. */
    const struct sy_courier *courier;
    /* NULL: its memory is the host's. The one without exchange(), for what others carry. */
    const struct sy_courier *porter;
    /* Any kind of memory to any other, in the order of the queue; the host's, if it is not alloc_host()'s, is read before
     * the call returns. */
    void (*copy)(struct sy_queue *q, void *dst, const void *src, size_t bytes);
    void (*clear)(struct sy_queue *q, void *dst, size_t bytes);
    enum sy_status (*queue_create)(struct sy_pool *pool, struct sy_queue **q, struct sy_error *err);
    /* Wait until all that was asked of q is done. Errors: the first of all that went wrong in it, for good. */
    enum sy_status (*queue_sync)(struct sy_queue *q, struct sy_error *err);
    void (*queue_destroy)(struct sy_queue *q);

    /* Many calls as one. From record() to record_end() calls on q are noted and not done; replay() does them all, with the
     * arguments that they had, as often as it is called. What those point to is read then, but structures, and arrays of
     * them in plain memory, have been. record_end() returns NULL where that cannot be; the calls are to be made again then.
     * record_free() takes NULL. All NULL where a call costs next to nothing. */
    bool (*record)(struct sy_queue *q);
    struct sy_recording *(*record_end)(struct sy_queue *q);
    void (*replay)(struct sy_queue *q, struct sy_recording *recording);
    void (*record_free)(struct sy_recording *recording);

    /* Packing, at load. Layout this backend wants, bytes of a packed panel of k inputs, and packing of one panel: n_rows
     * (1 .. SY_PANEL) published rows of k elements to dst, rows row_stride and inputs k_stride bytes apart (of SY_MXFP4
     * bytes are 1 apart); missing rows become zero. A panel may be packed in pieces: `rows` are inputs k_begin .. k_end - 1
     * of its k, each piece of an even number of them but the last. dst is the whole panel, in memory of the host. Runs on
     * the calling thread, so a loader may pack panels from many threads. */
    size_t (*panel_bytes)(enum sy_dtype dtype, int k);
    void (*pack_panel)(enum sy_dtype dtype, int k, int k_begin, int k_end, int n_rows, const void *rows,
                       size_t row_stride, size_t k_stride, void *dst);

    /* x[t] = row ids[t] of w (an embedding table in either layout), widened. w->n = V, w->k = D. x: [T, D] */
    void (*embed)(struct sy_queue *q, const struct sy_weight *w, const int32_t *ids, int T, float *x);

    /* y = x * rsqrt(mean(x^2) + eps) * weight for each of n_heads runs of width elements in each of n_rows rows (a whole
     * hidden state is one run). Run h of row t starts at element t * x_stride + h * width of x, and of y with y_stride; x
     * and y may be the same if y is SY_F32. weight: [width], the same for every run. FP32 throughout, y_dtype (SY_F32,
     * SY_BF16 or SY_BF16X2) at the end. */
    void (*rmsnorm)(struct sy_queue *q, const float *x, size_t x_stride, int n_rows, int n_heads, int width,
                    const float *weight, float eps, void *y, enum sy_dtype y_dtype, size_t y_stride);

    /* y[t][n] = (y[t][n] if add) + sum_k x[t][k] * w[n][k] (+ w->bias[n]), for outputs n in [n_begin, n_end); y[t] starts
     * at output n_begin, a multiple of SY_PANEL. x: [T, K] of x_dtype (SY_F32, SY_BF16 or SY_BF16X2), y: [T, y_stride] */
    void (*gemm)(struct sy_queue *q, const struct sy_weight *w, const void *x, enum sy_dtype x_dtype, size_t x_stride,
                 int T, int n_begin, int n_end, bool add, float *y, size_t y_stride);

    /* The same for every head on its own (struct sy_head_gemm), each of w's matrices of SY_LAYOUT_PANELS. */
    void (*gemm_heads)(struct sy_queue *q, const struct sy_head_gemm *g);

    /* struct sy_rotation */
    void (*rope)(struct sy_queue *q, const struct sy_rotation *r);

    /* y = (x - mean) * rsqrt(variance + eps) * weight + bias over rows of `width`, otherwise as rmsnorm (Phi). bias: [width] */
    void (*layernorm)(struct sy_queue *q, const float *x, size_t x_stride, int n_rows, int width, const float *weight,
                      const float *bias, float eps, void *y, enum sy_dtype y_dtype, size_t y_stride);

    /* x[t] *= sigmoid(logits[t]), T rows of width (the weight of Qwen2's shared expert). */
    void (*weigh)(struct sy_queue *q, float *x, int T, int width, const float *logits);

    /* x *= factor, T rows of width at x_stride (Granite's multipliers). */
    void (*scale)(struct sy_queue *q, float *x, size_t x_stride, int T, int width, float factor);

    /* Clamp x to [-limit, limit] (OLMoE's clip_qkv). */
    void (*clamp)(struct sy_queue *q, float *x, size_t x_stride, int T, int width, float limit);

    /* Bytes of a page of one layer: SY_KV_PAGE positions of all KV heads. Base and stride do not count. */
    size_t (*kv_page_bytes)(const struct sy_kv_layer *kv);

    /* Write K and V of every row to its place in the cache, converted to the cache's type. k, v: [T] rows at
     * kv_stride, n_kv_heads * k_dim and n_kv_heads * v_dim each; v is not looked at where values are in the keys. Rows
     * of a sequence stand together in order of position, and a sequence has nothing behind its last one yet: the rest of
     * that page is cleared where attention wants it so. */
    void (*kv_write)(struct sy_queue *q, const struct sy_kv_layer *kv, const struct sy_attention_row *rows, int T,
                     const float *k, const float *v, size_t kv_stride);

    /* rmsnorm() of queries and of keys, rope() and kv_write() in one, the same bits; keys outside the cache are unspecified
     * afterwards. NULL: nothing is won by it. */
    void (*heads)(struct sy_queue *q, const struct sy_heads *heads);

    /* Causal attention of every row over its own sequence's pages, a sink first, then keys in order of position, online
     * softmax over blocks of keys that start at multiples of a fixed number. What a page holds behind the positions that
     * are written makes no difference. */
    void (*attention)(struct sy_queue *q, const struct sy_attention *a);

    /* logits = x w^T (+ w->bias) in FP32 (w: FP32 [E, D] in this backend's panel layout), then the rule. Ties go to the
     * lowest expert id; the K experts of a token are in order of falling score. ids: [T, K], weights: [T, K], logits:
     * scratch [T, E]. */
    void (*router)(struct sy_queue *q, const struct sy_router_rule *rule, const struct sy_weight *w, const float *x,
                   int T, float *logits, int32_t *ids, float *weights);

    /* Row dst_rows[i] of dst = row src_rows[i] of src, n rows of row_bytes each (tokens in order of their experts, and
     * results back). A NULL list stands for 0, 1, 2, ..; rows of dst_rows are distinct. */
    void (*copy_rows)(struct sy_queue *q, void *dst, const uint32_t *dst_rows, const void *src,
                      const uint32_t *src_rows, int n, size_t row_bytes);

    /* Grouped expert MLP, first half: for each tile and row, act = glu(x gate^T, x up^T), stored as dtype (SY_F32,
     * SY_BF16X2, or SY_BF16 rounded once to nearest even), which x has too. x: [.., D], act: [.., F]; the tiles name the
     * rows, and their experts are all of one size. */
    void (*expert_gate_up)(struct sy_queue *q, const struct sy_tile *tiles, int n_tiles, const void *x,
                           enum sy_dtype dtype, const struct sy_glu *glu, void *act);

    /* Second half: y = act down^T, stored as y_dtype (SY_F32, or SY_BF16 rounded once). act: [.., F] of act_dtype,
     * y: [.., D], rows as in expert_gate_up; where y_rows is not NULL, row i goes to y_rows[i] instead, which may be memory
     * that another rank reads. */
    void (*expert_down)(struct sy_queue *q, const struct sy_tile *tiles, int n_tiles, const void *act,
                        enum sy_dtype act_dtype, void *y, void *const *y_rows, enum sy_dtype y_dtype);

    /* The same two for a dense SwiGLU MLP come from one tile whose rows are 0 .. T-1. */

    /* x[t] += sum over k = 0 .. K-1, in that order, of weights[t][k] * y[t][k], all in FP32, plus shared[t] if not NULL
     * (after the sum, before the residual x). y: [T, K, D] of y_dtype. reverse_k sums k = K-1 .. 0: a negative control for
     * the tests of exactness. */
    void (*combine)(struct sy_queue *q, const void *y, enum sy_dtype y_dtype, const float *weights, int T, int K, int D,
                    const float *shared, bool reverse_k, float *x);

    /* A whole layer (struct sy_moe_run), without a look from the host: the same bits as router, rows rounded to BF16,
     * expert_gate_up and expert_down of BF16, and combine, one after the other. moe_table() notes where E experts' matrices
     * are, all of one size and type, in a table of moe_table_bytes(E) bytes on the device. NULL where the parts are as fast. */
    size_t (*moe_bytes)(const struct sy_moe_shape *shape);
    size_t (*moe_table_bytes)(int n_experts);
    void (*moe_table)(struct sy_queue *q, const struct sy_expert *experts, int n_experts, void *table);
    void (*moe_run)(struct sy_queue *q, const struct sy_moe_run *run);

    /* The same over ranks, one part of it. across_bytes(): of the workspace. NULL where devices do not write to each other's
     * memory. */
    size_t (*across_bytes)(const struct sy_moe_across *across);
    void (*across)(struct sy_queue *q, const struct sy_moe_across *across, enum sy_across_part part);
    /* Whether all that was asked of q is done, or something went wrong; and a copy beside all queues, which may wait. */
    bool (*queue_done)(struct sy_queue *q);
    enum sy_status (*copy_now)(void *dst, const void *src, size_t bytes, struct sy_error *err);

    /* x += y, T rows of width. */
    void (*add)(struct sy_queue *q, float *x, const float *y, int T, int width);

    /* Fill scans[t] from row t of logits, as struct sy_logit_scan says: log_sum to 1e-6, weights to 1.5e-6 of themselves
     * (exponentials may be FP32, and so may their sum over a block; blocks are added in double). logits: [T, V],
     * scans: [T] */
    void (*scan_logits)(struct sy_queue *q, const float *logits, int T, int V, struct sy_logit_scan *scans);

    /* Fill picks of rows of logits whose scans are done (struct sy_logit_pick). scans and picks are in memory that the host
     * shares. NULL where the host sees all logits, or is to. */
    void (*pick_logits)(struct sy_queue *q, const float *logits, int V, const struct sy_logit_scan *scans,
                        struct sy_logit_pick *picks, int n_picks);

    /* dst = src converted (F32 from F16 and BF16, BF16 from F32 to nearest even, or a copy), n elements. q may be NULL:
     * then it runs on the calling thread (loading). */
    void (*convert)(struct sy_queue *q, void *dst, enum sy_dtype dst_dtype, const void *src, enum sy_dtype src_dtype,
                    size_t n);

    /* y[t] = x[t] as SY_BF16X2, T rows of width. NULL without rows_x2. */
    void (*split)(struct sy_queue *q, const float *x, size_t x_stride, int T, int width, void *y, size_t y_stride);

    /* For measurements: load every thread of q with nothing but reading (`rounds` passes over the buffer, aligned to 64
     * bytes) or one kind of arithmetic (`rounds` times some ten microseconds on each thread; the buffer is not used).
     * Returns the bytes or operations done. Where the instruction set has no product of BF16 or INT8, that of the type to
     * which a kernel would widen. NULL in the reference. */
    double (*probe)(struct sy_queue *q, enum sy_probe what, const void *buffer, size_t bytes, int rounds);
};

/* Instruction sets from lowest to highest.
 *   avx2    AVX2, FMA and F16C
 *   avx512  AVX-512 F, BW, DQ, VL with the BF16 and VNNI dot products
 *   amx     the same and AMX tiles of BF16 and INT8 */
enum sy_isa { SY_ISA_PORTABLE, SY_ISA_AVX2, SY_ISA_AVX512, SY_ISA_AMX, SY_N_ISAS };

/* The best that this CPU and this build have. */
enum sy_isa sy_isa_best(void);
const char *sy_isa_name(enum sy_isa isa);

/* The table of an instruction set; NULL when it was not compiled in or this CPU lacks it. */
const struct sy_kernels *sy_kernels_cpu(enum sy_isa isa);

/* The readable truth: simple loops, FP32, any layout. */
const struct sy_kernels *sy_kernels_ref(void);

/* The GPU that sy_cuda_open() took for this process; NULL without one. */
const struct sy_kernels *sy_kernels_cuda(void);

struct sy_cuda_device {
    char name[128], pci[32];         /* "NVIDIA H200", "0000:19:00.0" */
    int major, minor;                /* compute capability */
    int n_sms;
    size_t bytes, free_bytes;        /* of memory */
};

/* GPUs that this process can use: 0 without a driver, a GPU, or CUDA in this build, and then why says so in a few words. */
int sy_cuda_count(char *why, size_t why_bytes);

/* Where a GPU hangs, without taking it: PCI domain << 16 | bus << 8 | device; -1 when CUDA does not tell. */
int64_t sy_cuda_pci(int device);

/* Take GPU `device` for this process, whose calls then come from any of its threads. Errors: SY_ERR_USAGE when there is no
 * such GPU or this build has no code for it; SY_ERR_SYSTEM when it cannot be used. */
enum sy_status sy_cuda_open(int device, struct sy_cuda_device *found, struct sy_error *err);

/* Who writes ranges into the timelines of NVIDIA's profilers, on machines without a GPU too; NULL: this build has no NVTX. */
const struct sy_range_listener *sy_cuda_ranges(void);

#endif
