// Affine maps and convolutions: rows of integers times a matrix, then a maximum and a staircase at once.
//
// Weights are packed in panels of PANEL vectors of LANES channels; one step holds what meets one dword of the input:
// four int8, two int16 or one int32 of every channel. Blocks of positions x one panel keep their sums in registers.

#include <stdlib.h>

#include "cell.h"
#include "program.h"
#include "stairs.h"
#include "vector.h"

static const int width_of[DOTS] = {1, 1, 2, 4, 8, 1};  // bytes of an element

// ---------------------------------------------------------------------------------------------------------------------
// Packing.

static int64_t vectors(const Product *p) { return (p->channels + LANES - 1) / LANES; }

// Dwords of a segment.
static int64_t steps_of(const Product *p) {
    const int per = 4 / width_of[p->dot];
    return (p->length + per - 1) / per;
}

static void *aligned(size_t bytes) {
    bytes = (bytes + 127) / 64 * 64;
    void *at = aligned_alloc(64, bytes);
    if (at != NULL) {
        memset(at, 0, bytes);
    }
    return at;
}

// Where a channel goes: gates of a cell in its order.
static int64_t packed_at(const Product *p, int64_t n) {
    for (int k = 0; p->cell != NULL && k < 4; k++) {
        if (n / p->cell->units * p->cell->units == p->cell->gate[k]) {
            return k * p->cell->units + n % p->cell->units;
        }
    }
    return n;
}

int JOIN(pack, VARIANT)(Product *p) {
    if (p->cell != NULL && p->cell->units % (PANEL * LANES) != 0) {
        p->cell = NULL;  // panels would hold units of two gates
    }
    const int64_t padded = vectors(p) * LANES;
    if (p->epilogue == STORE_CODES_PER_CHANNEL) {
        p->packed_stairs = aligned((size_t)(p->thresholds * padded) * 4);
        if (p->packed_stairs == NULL) {
            return 0;
        }
        for (int64_t t = 0; t < p->thresholds; t++) {
            memcpy(p->packed_stairs + t * padded, p->stairs + t * p->channels, (size_t)p->channels * 4);
        }
    }
    if (p->dot == DOT64) {
        return 1;
    }
    p->packed_bias = aligned((size_t)padded * 4);
    const int width = width_of[p->dot], per = 4 / width;
    const int64_t steps = steps_of(p), all = p->segments * steps;
    p->packed = aligned((size_t)(padded * all) * 4);
    if (p->packed == NULL || p->packed_bias == NULL) {
        return 0;
    }
    if (p->dot == DOT1) {
        // counts begin at zero
        p->late_bias = aligned((size_t)padded * 4);
        if (p->late_bias == NULL) {
            return 0;
        }
    }
    p->step = aligned((size_t)all * 4);
    if (p->step == NULL) {
        return 0;
    }
    for (int64_t k = 0; k < all; k++) {
        p->step[k] = (int32_t)(p->segment[k / steps] * width + 4 * (k % steps));
    }
    for (int64_t n = 0; n < p->channels; n++) {
        const int64_t at = packed_at(p, n), panel = at / (PANEL * LANES), inside = at % (PANEL * LANES);
        (p->dot == DOT1 ? p->late_bias : p->packed_bias)[at] = ((const int32_t *)p->bias)[n];
        const int64_t left = vectors(p) - panel * PANEL, nb = left < PANEL ? left : PANEL;
        uint8_t *to = (uint8_t *)p->packed + panel * PANEL * LANES * all * 4;
        for (int64_t s = 0; s < p->segments; s++) {
            for (int64_t k = 0; k < p->length; k++) {
                const int64_t step = s * steps + k / per;
                memcpy(to + ((step * nb * LANES + inside) * per + k % per) * width,
                       (const uint8_t *)p->weights + ((n * p->segments + s) * p->length + k) * width, (size_t)width);
            }
        }
    }
    return 1;
}

// ---------------------------------------------------------------------------------------------------------------------
// Blocks.

typedef struct {
    const Context *c;
    const Product *p;
    const uint8_t *x, *init;  // row 0; init NULL: nothing is added
    uint8_t *out;
    int64_t x_stride, out_stride, init_stride;
    Steps steps;
    int64_t padded, all;  // channels; dwords of a position's input
    int width;
    int quick;            // whether codes are those of a small staircase, and how it is searched
    int64_t even;         // bytes from position to position, where that is always the same and there is one segment
} Job;

// What a count of thresholds stands for.
INLINE vi code_of(const Product *p, vi count) {
    if (p->spacing == 0) {
        count = gather(p->shared.values, count);
    } else if (p->spacing != 1) {
        count = times(count, (int32_t)p->spacing);
    }
    return p->offset == 0 ? count : add(count, fill((int32_t)p->offset));
}

// A group's sums, `nb` vectors from channel `n` on, go where they belong.
static void finish(const Job *j, int nb, const vi *sums, int64_t row, int64_t group, int64_t n) {
    const Product *p = j->p;
    uint8_t *to = j->out + row * j->out_stride + ((int64_t)p->to[group] + n) * (p->epilogue == STORE_SUMS ? 4 : 1);
    const int32_t *init = j->init == NULL ? NULL : (const int32_t *)(j->init + row * j->init_stride) + n;
    int32_t set = 0;
    if (p->dot == DOT1) {
        memcpy(&set, j->x + row * j->x_stride + p->from[group] + 4 * j->all, 4);
    }
    for (int v = 0; v < nb; v++) {
        const int64_t left = p->channels - n - v * LANES;
        vi sum = p->shift == 0 ? sums[v] : shift_left(sums[v], (int)p->shift);
        if (p->dot == DOT1) {
            const uint32_t more = (uint32_t)p->ones * (uint32_t)set;
            sum = add(times(sum, (int32_t)p->scale), add(load(p->late_bias + n + v * LANES), fill((int32_t)more)));
        }
        if (init != NULL) {
            sum = add(sum, load(init + v * LANES));
        }
        if (p->epilogue == STORE_SUMS) {
            store_some((int32_t *)to + v * LANES, sum, left);
            continue;
        }
        vi count;
        if (j->quick) {
            store_bytes(to + v * LANES, small_value(&j->steps, sum), left);
            continue;
        }
        if (p->epilogue == STORE_CODES) {
            count = stairs(&p->shared, &j->steps, sum);
        } else {
            count = fill(0);
            for (int64_t t = 0; t < p->thresholds; t++) {
                count = count_if(count, sum, load(p->packed_stairs + t * j->padded + n + v * LANES));
            }
        }
        count = code_of(p, count);
        store_bytes(to + v * LANES, count, left);
    }
}

// What needs no question for every vector: whole vectors of sums, of codes by near buckets, or by thresholds that are
// compared.
typedef enum { SOME_OTHER, PLAIN_SUMS, PLAIN_CODES, PLAIN_COUNTS } Ends;

INLINE Ends ends_of(int kind, int nb, const Job *j, int64_t n) {
    const Product *p = j->p;
    if (n + nb * LANES > p->channels || kind == DOT1) {
        return SOME_OTHER;
    }
    if (p->epilogue == STORE_SUMS) {
        return PLAIN_SUMS;
    }
    if (p->epilogue != STORE_CODES || j->init != NULL || p->shift != 0) {
        return SOME_OTHER;
    }
    return j->quick == NEAR ? PLAIN_CODES : COUNTS_TOGETHER && p->shared.form == LINEAR ? PLAIN_COUNTS : SOME_OTHER;
}

INLINE void quick(Ends ends, int nb, const Job *j, const Near *near, const vi *sums, uint8_t *out, int64_t to, const uint8_t *init) {
#pragma GCC unroll 4
    for (int v = 0; v < nb; v++) {
        if (ends == PLAIN_CODES) {
            store_bytes(out + to + v * LANES, near_with(0, near, sums[v]), LANES);
        } else {
            const vi shifted = shift_left(sums[v], (int)j->p->shift);
            store((int32_t *)out + to + v * LANES,
                  init == NULL ? shifted : add(shifted, load((const int32_t *)init + v * LANES)));
        }
    }
}

INLINE vi dot(int kind, vi sum, vi x, vi w) {
    return kind == DOT16   ? dot16(sum, x, w)
           : kind == DOT32 ? dot32(sum, x, w)
           : kind == DOT1  ? dot1(sum, x, w)
                           : dot8(sum, x, w);
}

INLINE vi dword(const uint8_t *at) {
    int32_t x;
    memcpy(&x, at, 4);
    return fill(x);
}

// A position of a row.
typedef struct {
    int64_t row, position;
} Place;

INLINE Place advanced(const Job *j, Place at, int64_t by) {
    at.position += by;
    while (at.position >= j->p->positions) {
        at.position -= j->p->positions, at.row++;
    }
    return at;
}

// `mr` positions from a place on times one panel of `nb` vectors.
INLINE void block(int kind, int mr, int nb, int group, const Job *j, Place from, int64_t n) {
    const Product *p = j->p;
    const int deep = kind == DOT8_PAIRS;
    vi sum[16][PANEL];
    int64_t row = from.row, position = from.position;
    vi bias[PANEL];
#pragma GCC unroll 4
    for (int v = 0; v < nb; v++) {
        bias[v] = load(p->packed_bias + n + v * LANES);
    }
#pragma GCC unroll 16
    for (int m = 0; m < mr; m++) {
#pragma GCC unroll 4
        for (int v = 0; v < nb; v++) {
            sum[m][v] = bias[v];
        }
    }
    const int32_t *w = (const int32_t *)p->packed + n * j->all;
#define BLOCK_STEPS(address)                                                                                           \
    vi panel[PANEL];                                                                                                   \
    _Pragma("GCC unroll 4") for (int v = 0; v < nb; v++) {                                                             \
        panel[v] = load(w + v * LANES);                                                                                \
    }                                                                                                                  \
    w += nb * LANES;                                                                                                   \
    _Pragma("GCC unroll 16") for (int m = 0; m < mr; m++) {                                                            \
        const vi dw = dword(address);                                                                                  \
        _Pragma("GCC unroll 4") for (int v = 0; v < nb; v++) {                                                         \
            if (deep) {                                                                                                \
                part[m][v] = dot_deep(part[m][v], dw, panel[v]);                                                       \
            } else {                                                                                                   \
                sum[m][v] = dot(kind, sum[m][v], dw, panel[v]);                                                        \
            }                                                                                                          \
        }                                                                                                              \
    }
// all dwords, or as many at once as sums of 16 bits hold
#define BLOCK_CHUNKS(...)                                                                                              \
    for (int64_t k = 0; k < j->all;) {                                                                                 \
        const int64_t chunk = deep && j->all - k > p->depth ? k + p->depth : j->all;                                   \
        vi part[16][PANEL];                                                                                            \
        _Pragma("GCC unroll 16") for (int m = 0; deep && m < mr; m++) {                                                \
            _Pragma("GCC unroll 4") for (int v = 0; v < nb; v++) {                                                     \
                part[m][v] = fill(0);                                                                                  \
                IN_MEMORY(sum[m][v]);                                                                                  \
            }                                                                                                          \
        }                                                                                                              \
        for (; k < chunk; k++) {                                                                                       \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
        _Pragma("GCC unroll 16") for (int m = 0; deep && m < mr; m++) {                                                \
            _Pragma("GCC unroll 4") for (int v = 0; v < nb; v++) {                                                     \
                sum[m][v] = widened(sum[m][v], part[m][v]);                                                            \
            }                                                                                                          \
        }                                                                                                              \
    }
    if (j->even) {
        // rows at even distances need a pointer for every third of them only
        const int64_t stride = j->even;
        const uint8_t *thirds[6];
#pragma GCC unroll 6
        for (int q = 0; q < (mr + 2) / 3; q++) {
            thirds[q] = j->x + row * j->x_stride + p->from[position] * (int64_t)j->width + p->step[0] + 3 * q * stride;
        }
        BLOCK_CHUNKS(
            BLOCK_STEPS(thirds[m / 3] + m % 3 * stride)
            _Pragma("GCC unroll 6") for (int q = 0; q < (mr + 2) / 3; q++) {
                thirds[q] += 4;
            }
        )
    } else {
        const uint8_t *x[16], *source = j->x + row * j->x_stride;
        int64_t place = position;
#pragma GCC unroll 16
        for (int m = 0; m < mr; m++, place++) {
            if (place == p->positions) {
                source += j->x_stride, place = 0;
            }
            x[m] = source + (int64_t)p->from[place] * j->width;
        }
        BLOCK_CHUNKS(
            const int64_t at = p->step[k];
            BLOCK_STEPS(x[m] + at)
        )
    }
    const Ends ends = ends_of(kind, nb, j, n);
    const Near near = near_for(&j->steps, ends == PLAIN_CODES);
    uint8_t *out = j->out + row * j->out_stride + n * (ends == PLAIN_SUMS ? 4 : 1);
    const uint8_t *init = j->init == NULL ? NULL : j->init + row * j->init_stride + n * 4;
    if (group == 1 && ends == PLAIN_SUMS && p->positions == 1) {
        // the most frequent case without a question
        int32_t *to = (int32_t *)out + p->to[0];
        const int shift = (int)p->shift;
#define BLOCK_SUMS(what)                                                                                               \
    _Pragma("GCC unroll 16") for (int m = 0; m < mr; m++, to = (int32_t *)((uint8_t *)to + j->out_stride)) {           \
        _Pragma("GCC unroll 4") for (int v = 0; v < nb; v++) {                                                         \
            store(to + v * LANES, what);                                                                               \
        }                                                                                                              \
    }
        if (init == NULL) {
            BLOCK_SUMS(shift_left(sum[m][v], shift))
        } else {
            const int64_t stride = j->init_stride;
            BLOCK_SUMS(add(shift_left(sum[m][v], shift), load((const int32_t *)(init + m * stride) + v * LANES)))
        }
        return;
    }
    if (ends == PLAIN_COUNTS) {
        // each threshold meets all sums at once
#pragma GCC unroll 4
        for (int v = 0; v < nb; v++) {
            vi count[16];
#pragma GCC unroll 16
            for (int m = 0; m < mr; m += group) {
#pragma GCC unroll 4
                for (int g = 1; g < group; g++) {
                    sum[m][v] = greater(sum[m][v], sum[m + g][v]);
                }
                count[m] = fill(p->shared.count);
            }
            for (int32_t t = 0; t < p->shared.count; t++) {
                const vi threshold = fill(p->shared.thresholds[t]);
#pragma GCC unroll 16
                for (int m = 0; m < mr; m += group) {
                    count[m] = count_unless(count[m], sum[m][v], threshold);
                }
            }
#pragma GCC unroll 16
            for (int m = 0; m < mr; m += group) {
                sum[m][v] = code_of(p, count[m]);
            }
        }
    }
#pragma GCC unroll 16
    for (int m = 0; m < mr; m += group, position += group) {
        if (position == p->positions) {
            row++, position = 0;
            out += j->out_stride;
            init = init == NULL ? NULL : init + j->init_stride;
        }
        if (ends == PLAIN_COUNTS) {
#pragma GCC unroll 4
            for (int v = 0; v < nb; v++) {
                store_bytes(out + p->to[position / group] + v * LANES, sum[m][v], LANES);
            }
            continue;
        }
        vi most[PANEL];
#pragma GCC unroll 4
        for (int v = 0; v < nb; v++) {
            most[v] = sum[m][v];
#pragma GCC unroll 4
            for (int g = 1; g < group; g++) {
                most[v] = greater(most[v], sum[m + g][v]);
            }
        }
        if (ends == SOME_OTHER) {
            finish(j, nb, most, row, position / group, n);
        } else {
            quick(ends, nb, j, &near, most, out, p->to[position / group], init);
        }
    }
}

// Sums of one position times `panels` panels of `nb` vectors that begin `step` channels apart; `apart` chains of sums
// for each of them, since one would wait.
INLINE void line_sums(int kind, int panels, int nb, int apart, const Job *j, Place from, int64_t n, int64_t step,
                      vi all[8][PANEL]) {
    const Product *p = j->p;
    const uint8_t *x = j->x + from.row * j->x_stride + (int64_t)p->from[from.position] * j->width;
    const int deep = kind == DOT8_PAIRS && apart == 1;  // sums of 16 bits, as far as they hold
    vi sum[8][8][PANEL], part[8][PANEL];
#pragma GCC unroll 8
    for (int q = 0; q < panels; q++) {
#pragma GCC unroll 4
        for (int v = 0; v < nb; v++) {
            sum[0][q][v] = load(p->packed_bias + n + q * step + v * LANES);
#pragma GCC unroll 8
            for (int a = 1; a < apart; a++) {
                sum[a][q][v] = fill(0);
            }
        }
    }
    // as in a block, a pointer for every third of the panels
    const int64_t panel = step * j->all;
    const int32_t *thirds[3];
#pragma GCC unroll 3
    for (int q = 0; q < (panels + 2) / 3; q++) {
        thirds[q] = (const int32_t *)p->packed + n * j->all + 3 * q * panel;
    }
    int64_t k = 0;
    // one run of elements needs no list of steps
    const int plain = p->segments == 1;
    x += plain ? p->step[0] : 0;
#define LINE_STEP(a, at)                                                                                               \
    const vi dw = dword(x + (at));                                                                                     \
    _Pragma("GCC unroll 8") for (int q = 0; q < panels; q++) {                                                         \
        _Pragma("GCC unroll 4") for (int v = 0; v < nb; v++) {                                                         \
            const vi w = load(thirds[q / 3] + q % 3 * panel + ((a) * nb + v) * LANES);                                 \
            if (deep) {                                                                                                \
                part[q][v] = dot_deep(part[q][v], dw, w);                                                              \
            } else {                                                                                                   \
                sum[a][q][v] = dot(kind, sum[a][q][v], dw, w);                                                         \
            }                                                                                                          \
        }                                                                                                              \
    }
#define LINE_ON(by)                                                                                                    \
    _Pragma("GCC unroll 3") for (int q = 0; q < (panels + 2) / 3; q++) {                                               \
        thirds[q] += (by) * nb * LANES;                                                                                \
    }
#define LINE_STEPS(at, end)                                                                                            \
    for (; k + apart <= (end); k += apart) {                                                                           \
        _Pragma("GCC unroll 8") for (int a = 0; a < apart; a++) {                                                      \
            LINE_STEP(a, at)                                                                                           \
        }                                                                                                              \
        LINE_ON(apart)                                                                                                 \
    }
    if (deep) {
        while (k < j->all) {
            const int64_t chunk = j->all - k > p->depth ? k + p->depth : j->all;
#pragma GCC unroll 8
            for (int q = 0; q < panels; q++) {
#pragma GCC unroll 4
                for (int v = 0; v < nb; v++) {
                    part[q][v] = fill(0);
                    IN_MEMORY(sum[0][q][v]);
                }
            }
            if (plain) {
                LINE_STEPS(4 * (k + a), chunk)
            } else {
                LINE_STEPS(p->step[k + a], chunk)
            }
#pragma GCC unroll 8
            for (int q = 0; q < panels; q++) {
#pragma GCC unroll 4
                for (int v = 0; v < nb; v++) {
                    sum[0][q][v] = widened(sum[0][q][v], part[q][v]);
                }
            }
        }
    } else if (plain) {
        LINE_STEPS(4 * (k + a), j->all)
    } else {
        LINE_STEPS(p->step[k + a], j->all)
    }
    for (; apart > 1 && k < j->all; k++) {
        LINE_STEP(0, plain ? 4 * k : p->step[k])
        LINE_ON(1)
    }
#pragma GCC unroll 8
    for (int q = 0; q < panels; q++) {
#pragma GCC unroll 4
        for (int v = 0; v < nb; v++) {
            all[q][v] = sum[0][q][v];
#pragma GCC unroll 8
            for (int a = 1; a < apart; a++) {
                all[q][v] = add(all[q][v], sum[a][q][v]);
            }
        }
    }
}

// One position times neighbouring panels.
INLINE void line(int kind, int panels, int nb, int apart, const Job *j, Place from, int64_t n) {
    vi all[8][PANEL];
    line_sums(kind, panels, nb, apart, j, from, n, PANEL * LANES, all);
    const int64_t row = from.row, position = from.position;
    const Ends ends = ends_of(kind, (panels - 1) * PANEL + nb, j, n);
    const Near near = near_for(&j->steps, ends == PLAIN_CODES);
    uint8_t *out = j->out + row * j->out_stride;
    const uint8_t *init = j->init == NULL ? NULL : j->init + row * j->init_stride;
#pragma GCC unroll 8
    for (int q = 0; q < panels; q++) {
        const int64_t here = n + q * PANEL * LANES;
        if (ends == SOME_OTHER || ends == PLAIN_COUNTS) {
            finish(j, nb, all[q], row, position, here);
        } else {
            quick(ends, nb, j, &near, all[q], out, j->p->to[position] + here, init == NULL ? NULL : init + here * 4);
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Which block when.

#if LANES == 16
#define MOST1 12
#define MOST2 12
#else
#define MOST1 8
#define MOST2 4
#endif
#define ACROSS (LANES == 16 ? 8 : 4)  // panels of a line, whose sums fill the registers

#define PAIRS (DEEP ? DOT8_PAIRS : DOT8)

#define AFTER_BLOCK(by) i += by, at = advanced(j, at, by)
// groups of four: as many as fit
#define PANEL_OF(kind, nb, most)                                                                                       \
    if (j->p->group == 4) {                                                                                            \
        for (; most >= 8 && i + most / 4 * 4 <= end; AFTER_BLOCK(most / 4 * 4)) {                                      \
            block(kind, most / 4 * 4, nb, 4, j, at, n);                                                                \
        }                                                                                                              \
        for (; i < end; AFTER_BLOCK(4)) {                                                                              \
            block(kind, 4, nb, 4, j, at, n);                                                                           \
        }                                                                                                              \
    } else {                                                                                                           \
        for (; i + most <= end; AFTER_BLOCK(most)) {                                                                   \
            block(kind, most, nb, 1, j, at, n);                                                                        \
        }                                                                                                              \
        for (; most > 4 && i + 4 <= end; AFTER_BLOCK(4)) {                                                             \
            block(kind, 4, nb, 1, j, at, n);                                                                           \
        }                                                                                                              \
        for (; i + 2 <= end; AFTER_BLOCK(2)) {                                                                         \
            block(kind, 2, nb, 1, j, at, n);                                                                           \
        }                                                                                                              \
        if (i < end) {                                                                                                 \
            line(kind, 1, nb, nb == 1 ? 8 : 4, j, at, n);                                                              \
        }                                                                                                              \
    }

// So many positions from the first of a row on.
INLINE void positions(int kind, const Job *j, int64_t row, int64_t end) {
    const int64_t count = vectors(j->p);
    const Place first = {row, 0};
    int64_t v = 0;
    if (end == 1) {
        // every other time backwards
        const int64_t wide = ACROSS * PANEL, groups = (count + wide / 2) / wide;
        for (int64_t g = 0; g < groups; g++) {
            const int64_t at = (j->c->turn ? groups - 1 - g : g) * wide;
            if (count - at >= wide) {
                line(kind, ACROSS, PANEL, 1, j, first, at * LANES);
            } else {
                line(kind, ACROSS / 2, PANEL, 2, j, first, at * LANES);
            }
        }
        v = count - count % (wide / 2);
    }
    for (; v < count; v += PANEL) {
        const int64_t nb = count - v < PANEL ? count - v : PANEL, n = v * LANES;
        int64_t i = 0;
        Place at = first;
        if (nb == 1) {
            PANEL_OF(kind, 1, MOST1)
        } else {
            PANEL_OF(kind, 2, MOST2)
        }
    }
}

static void panel8(const Job *j, int64_t n, int64_t end) {
    int64_t i = 0;
    Place at = {0, 0};
    PANEL_OF(PAIRS, PANEL, MOST2)
}

// Sums of the four gates of one row's units, from unit e on, in the cell's order.
INLINE void gates_of(const Job *j, int64_t e, int first, vi z[4][MOST_CELLS]) {
    const LstmCell *cell = j->p->cell;
    const int64_t units = cell->units;
    vi sums[8][PANEL];
    line_sums(PAIRS, 4, PANEL, LANES == 16 ? 2 : 1, j, (Place){0, 0}, e, units, sums);
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
#pragma GCC unroll 4
        for (int v = 0; v < PANEL; v++) {
            const vi sum = shift_left(sums[k][v], (int)j->p->shift);
            z[k][first + v] =
                j->init == NULL ? sum : add(sum, load((const int32_t *)j->init + cell->gate[k] + e + v * LANES));
        }
    }
}

// Rows of a product and the cell that its sums are for, units by units: sums stay near.
INLINE void cells(int near, const Job *j, const Cell *q, int64_t rows) {
    const int64_t units = j->p->cell->units, wide = PANEL * LANES;
    vi z[4][MOST_CELLS];
    for (int64_t g = 0; g < units; g += wide) {
        const int64_t e = j->c->turn ? units - wide - g : g;
        if (rows == 1) {
            gates_of(j, e, 0, z);
            cell_units(near, PANEL, PANEL, q, 0, e, z);
            continue;
        }
        for (int64_t first = 0; first < rows; first += MOST2) {
            // the first rows of the sums' place are theirs in turn
            Job some = *j;
            const int64_t count = rows - first < MOST2 ? rows - first : MOST2;
            some.x += first * j->x_stride;
            for (int k = 0; k < 4; k++) {
                const int64_t more = (j->p->cell->gate[k] - k * units) * 4;
                some.init = j->init == NULL ? NULL : j->init + first * j->init_stride + more;
                panel8(&some, k * units + e, count);
            }
            int64_t r = 0;
#define CELL_ROWS(by)                                                                                                  \
    for (; r + by <= count; r += by) {                                                                                 \
        _Pragma("GCC unroll 4") for (int k = 0; k < 4; k++) {                                                          \
            _Pragma("GCC unroll 4") for (int v = 0; v < by * PANEL; v++) {                                             \
                const uint8_t *row = j->out + (r + v / PANEL) * j->out_stride;                                         \
                z[k][v] = load((const int32_t *)row + k * units + e + v % PANEL * LANES);                              \
            }                                                                                                          \
        }                                                                                                              \
        cell_units(near, by * PANEL, PANEL, q, first + r, e, z);                                                       \
    }
            CELL_ROWS(2)
            CELL_ROWS(1)
        }
    }
}

static void run8(const Job *j, int64_t row, int64_t end) { positions(DOT8, j, row, end); }
static void run_pairs(const Job *j, int64_t row, int64_t end) { positions(PAIRS, j, row, end); }
static void run16(const Job *j, int64_t row, int64_t end) { positions(DOT16, j, row, end); }
static void run32(const Job *j, int64_t row, int64_t end) { positions(DOT32, j, row, end); }

static void run1(const Job *j, int64_t row, int64_t end) { positions(DOT1, j, row, end); }

// Sums of 64 bits, one by one.
static void run64(const Job *j, int64_t first, int64_t end) {
    const Product *p = j->p;
    for (int64_t i = 0; i < end; i++) {
        const int64_t row = first + i / p->positions, position = i % p->positions;
        const int64_t *x = (const int64_t *)(j->x + row * j->x_stride) + p->from[position];
        int64_t *to = (int64_t *)(j->out + row * j->out_stride) + p->to[position];
        const int64_t *w = p->weights, *bias = p->bias;
        for (int64_t n = 0; n < p->channels; n++) {
            uint64_t sum = (uint64_t)bias[n];
            for (int64_t s = 0; s < p->segments; s++) {
                for (int64_t k = 0; k < p->length; k++) {
                    sum += (uint64_t)*w++ * (uint64_t)x[p->segment[s] + k];
                }
            }
            to[n] = (int64_t)sum;
        }
    }
}

void JOIN(product, VARIANT)(const Context *c, const Product *p, int64_t rows) {
    const Slot *slots = c->program->slot, *init = p->init < 0 ? NULL : &slots[p->init];
    Job j = {.c = c, .p = p, .x = row_of(c, &slots[p->x], 0), .out = row_of(c, &slots[p->out], 0)};
    j.x_stride = slots[p->x].stride, j.out_stride = slots[p->out].stride;
    j.init = init == NULL ? NULL : row_of(c, init, 0);
    j.init_stride = init == NULL ? 0 : init->stride;
    j.padded = vectors(p) * LANES;
    j.width = width_of[p->dot];
    if (p->dot == DOT64) {
        run64(&j, 0, rows * p->positions);
        return;
    }
    j.all = p->segments * steps_of(p);
    if (p->epilogue == STORE_CODES) {
        j.steps = steps_for(&p->shared);
        j.quick = j.steps.small;
    }
    if (p->segments == 1) {
        int even = 1;
        const int64_t gap = p->positions > 1 ? p->from[1] - p->from[0] : 0;
        for (int64_t i = 1; i < p->positions; i++) {
            even &= p->from[i] - p->from[i - 1] == gap;
        }
        // rows follow each other as positions do, or blocks hold one position of each
        even &= p->positions == 1 || p->positions * gap * j.width == j.x_stride;
        j.even = !even ? 0 : p->positions == 1 ? j.x_stride : gap * j.width;
    }
    if (p->cell != NULL) {
        const Cell q = cell_for(c, p->cell);
        if (q.near) {
            cells(1, &j, &q, rows);
        } else {
            cells(0, &j, &q, rows);
        }
        return;
    }
    void (*run)(const Job *, int64_t, int64_t) =
        DEEP && p->dot == DOT8_PAIRS && p->depth > 1 ? run_pairs : p->dot == DOT16 ? run16 : p->dot == DOT32 ? run32 : p->dot == DOT1 ? run1 : run8;
    // many positions: row by row, while the row is near
    const int64_t at_once = p->positions >= 32 ? 1 : rows;
    for (int64_t r = 0; r < rows; r += at_once) {
        run(&j, r, at_once * p->positions);
    }
}
