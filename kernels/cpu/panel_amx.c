/* SPDX-License-Identifier: Apache-2.0
 * panel_amx.c - rows of one or two BF16 parts times BF16 panels in AMX tiles
 *
 * A panel's part of 32 inputs is a tile of 16 rows (pairs of inputs) of 64 bytes (SY_PANEL outputs, two inputs each) as it
 * lies; 16 rows of 32 inputs are the other operand. TDPBF16PS adds, for each output, one chain over the even inputs of the
 * block and one over the odd ones to the sum so far, so a row's bits depend on no other row, and blocks always start at
 * multiples of 32. Of rows of two parts, a block of hi parts comes first and that of lo parts next. Source: Intel's
 * Instruction Set Reference, TDPBF16PS.
 */
#include "cpu/panel.h"

#ifdef SY_ISA_amx

#include <immintrin.h>

#define BLOCK     32 /* inputs of a tile; half as many for a matrix that has no more */
#define TILE_ROWS 16
#define LINE      64 /* bytes of a tile's row */

#define BLOCKS_AHEAD 2 /* how far a pair's only group looks */
#define LINES        4 /* fewest lines of a panel that are asked for with a block */

/* Panels at a time: with 32 rows their sums fill half of the tiles, and two streams read memory fastest. */
#define N_STEP 2

/* Tiles 0 to 3 are sums: 0 and 1 of the first 16 rows with two panels, 2 and 3 of the next 16. Tiles 4 and 5 hold those
 * rows, 6 and 7 the panels. */
struct config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* What this thread's tiles are configured for; no rows: they are released. */
static _Thread_local struct {
    int n_rows, block;
} configured;

static void configure(int n_rows, int block)
{
    if (configured.n_rows == n_rows && configured.block == block)
        return;
    configured.n_rows = n_rows;
    configured.block = block;

    struct config config = {.palette = 1};
    int first = n_rows < TILE_ROWS ? n_rows : TILE_ROWS, second = n_rows - first;

    for (int i = 0; i < 8; i++)
        config.row_bytes[i] = LINE;
    config.row_bytes[4] = config.row_bytes[5] = (uint16_t)(block * 2);
    config.rows[0] = config.rows[1] = config.rows[4] = (uint8_t)first;
    /* A tile without rows must have no columns, so unused ones are configured as the first. */
    config.rows[2] = config.rows[3] = config.rows[5] = (uint8_t)(second ? second : first);
    config.rows[6] = config.rows[7] = (uint8_t)(block / 2);
    /* gcc 12 believes that only 8 bytes of it are read, and would leave out the other stores. */
    __asm__ volatile("" : : "m"(config));
    _tile_loadconfig(&config);
}

/* Where the operands of one block of inputs are. */
struct block {
    const uint8_t *x;
    size_t x_bytes, x_part;
    const uint8_t *panels[N_STEP];
};

/* What is asked of the memory while a group of rows is multiplied, the same lines of a pair of panels with every block and
 * in the order of the addresses. The only group of a pair asks a little ahead of itself. Of several, each asks for its part
 * of the pair that comes next, so that memory works while all of them compute. */
struct ahead {
    const uint8_t *at, *then; /* in the first panel of the pair; NULL: nothing is known to come */
    size_t panel_bytes, bytes;
    int n_blocks; /* until `then` */
};

VEC_INLINE void fetch(struct ahead *ahead)
{
    if (!ahead->n_blocks--)
        ahead->at = ahead->then;
    for (size_t i = 0; i < ahead->bytes; i += LINES * LINE) {
        for (int line = 0; line < LINES; line++) {
            __builtin_prefetch(ahead->at + i + line * LINE);
            __builtin_prefetch(ahead->at + ahead->panel_bytes + i + line * LINE);
        }
    }
    ahead->at += ahead->bytes;
}

/* For the group from row `row` on of the pair from panel `panel` on. The first groups have parts, the others none. */
static struct ahead ahead_of(const struct panel_dot *dot, int row, int panel, int block)
{
    int group = row / (2 * TILE_ROWS), n_groups = (dot->n_rows + 2 * TILE_ROWS - 1) / (2 * TILE_ROWS);
    int n_lines = block / 2, n_blocks = dot->k / block;
    int n_parts = n_groups < n_lines / LINES ? n_groups : n_lines / LINES;
    const uint8_t *next = panel + N_STEP < dot->n_panels ? dot->panels[panel + N_STEP] : dot->next;
    struct ahead ahead = {.then = next, .panel_bytes = (size_t)((dot->k + 1) / 2 * LINE)};

    if (!next || group >= n_parts)
        return ahead;
    ahead.bytes = (size_t)(((n_lines + n_parts - 1) / n_parts + LINES - 1) / LINES * LINES * LINE);
    if (n_groups == 1) {
        ahead.at = dot->panels[panel] + BLOCKS_AHEAD * ahead.bytes;
        ahead.n_blocks = n_blocks > BLOCKS_AHEAD ? n_blocks - BLOCKS_AHEAD : 0;
    } else {
        ahead.at = next + (size_t)(group * n_blocks) * ahead.bytes;
        ahead.n_blocks = n_blocks;
    }
    return ahead;
}

/* What a caller's group is, in constants. */
struct form {
    bool tall; /* more than 16 rows, up to 32 */
    int n;     /* panels */
    int n_parts;
};

/* One block of rows times panels. */
VEC_INLINE void multiply(const struct block *b, struct form form)
{
    const uint8_t *x = b->x;

    _tile_loadd(6, b->panels[0], LINE);
    for (int part = 0; part < form.n_parts; part++, x += b->x_part) {
        _tile_loadd(4, x, b->x_bytes);
        _tile_dpbf16ps(0, 4, 6);
        if (form.tall) {
            _tile_loadd(5, x + TILE_ROWS * b->x_bytes, b->x_bytes);
            _tile_dpbf16ps(2, 5, 6);
        }
        if (form.n > 1) {
            if (!part)
                _tile_loadd(7, b->panels[1], LINE);
            _tile_dpbf16ps(1, 4, 7);
            if (form.tall)
                _tile_dpbf16ps(3, 5, 7);
        }
    }
}

/* The last inputs, fewer than a block, filled up with zeros on both sides: what lies behind a row or panel may be
 * anything. */
struct tail {
    _Alignas(LINE) uint8_t x[2][2 * TILE_ROWS][LINE]; /* of each part */
    _Alignas(LINE) uint8_t panels[N_STEP][TILE_ROWS][LINE];
};

static void fill_tail(struct tail *tail, struct block *b, int k, int n_rows, struct form form)
{
    memset(tail, 0, sizeof *tail);
    for (int part = 0; part < form.n_parts; part++)
        for (int r = 0; r < n_rows; r++)
            memcpy(tail->x[part][r], b->x + (size_t)r * b->x_bytes + (size_t)part * b->x_part, (size_t)k * 2);
    for (int p = 0; p < form.n; p++) {
        memcpy(tail->panels[p], b->panels[p], (size_t)((k + 1) / 2) * LINE);
        b->panels[p] = &tail->panels[p][0][0];
    }
    b->x = &tail->x[0][0][0];
    b->x_bytes = LINE;
    b->x_part = sizeof tail->x[0];
}

/* Sums of n_rows rows and n panels from or to memory. */
struct sums {
    float *first, *second; /* of the first 16 rows and of the others */
    size_t stride;         /* bytes from row to row */
};

VEC_INLINE void load_sums(const struct sums *sums, struct form form)
{
    _tile_loadd(0, sums->first, sums->stride);
    if (form.n > 1)
        _tile_loadd(1, sums->first + SY_PANEL, sums->stride);
    if (form.tall)
        _tile_loadd(2, sums->second, sums->stride);
    if (form.tall && form.n > 1)
        _tile_loadd(3, sums->second + SY_PANEL, sums->stride);
}

VEC_INLINE void store_sums(const struct sums *sums, struct form form)
{
    _tile_stored(0, sums->first, sums->stride);
    if (form.n > 1)
        _tile_stored(1, sums->first + SY_PANEL, sums->stride);
    if (form.tall)
        _tile_stored(2, sums->second, sums->stride);
    if (form.tall && form.n > 1)
        _tile_stored(3, sums->second + SY_PANEL, sums->stride);
}

/* n_rows rows from row on times panels over all inputs, in blocks. */
VEC_INLINE void group(const struct panel_dot *dot, int row, int n_rows, int panel, int block, struct form form)
{
    float *acc = dot->acc + (size_t)row * dot->acc_stride + (size_t)panel * SY_PANEL;
    struct sums sums = {acc, acc + TILE_ROWS * dot->acc_stride, dot->acc_stride * sizeof *acc};
    struct block b = {.x = dot->x + (size_t)row * dot->x_bytes, .x_bytes = dot->x_bytes, .x_part = dot->x_part};
    struct ahead ahead = ahead_of(dot, row, panel, block);

    for (int p = 0; p < form.n; p++)
        b.panels[p] = dot->panels[panel + p];
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    if (dot->add)
        load_sums(&sums, form);
    for (int k = 0; k + block <= dot->k; k += block) {
        fetch(&ahead);
        multiply(&b, form);
        b.x += block * 2;
        for (int p = 0; p < form.n; p++)
            b.panels[p] += block / 2 * LINE;
    }
    if (dot->k % block) {
        struct tail tail;
        fill_tail(&tail, &b, dot->k % block, n_rows, form);
        multiply(&b, form);
    }
    store_sums(&sums, form);
}

VEC_INLINE void group_of(const struct panel_dot *dot, int row, int n_rows, int panel, int block, int n, int n_parts)
{
    if (n_rows > TILE_ROWS && n > 1)
        group(dot, row, n_rows, panel, block, (struct form){true, 2, n_parts});
    else if (n_rows > TILE_ROWS)
        group(dot, row, n_rows, panel, block, (struct form){true, 1, n_parts});
    else if (n > 1)
        group(dot, row, n_rows, panel, block, (struct form){false, 2, n_parts});
    else
        group(dot, row, n_rows, panel, block, (struct form){false, 1, n_parts});
}

void SY_CPU(panel_amx)(const struct panel_dot *dot)
{
    int block = dot->k > BLOCK / 2 ? BLOCK : BLOCK / 2;

    for (int panel = 0; panel < dot->n_panels; panel += N_STEP) {
        int n = dot->n_panels - panel < N_STEP ? dot->n_panels - panel : N_STEP;
        for (int row = 0; row < dot->n_rows; row += 2 * TILE_ROWS) {
            int n_rows = dot->n_rows - row < 2 * TILE_ROWS ? dot->n_rows - row : 2 * TILE_ROWS;
            configure(n_rows, block);
            if (dot->x_dtype == SY_BF16X2)
                group_of(dot, row, n_rows, panel, block, n, 2);
            else
                group_of(dot, row, n_rows, panel, block, n, 1);
        }
    }
}

void SY_CPU(panel_amx_release)(void)
{
    if (!configured.n_rows)
        return;
    configured.n_rows = 0;
    _tile_release();
}

#endif
