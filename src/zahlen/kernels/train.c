// Training in integers: products of 16-bit factors, staircases and their slopes, losses and updates.

#include "train.h"

#include <stdlib.h>

#include "levels.h"
#include "norm.h"
#include "numbers.h"
#include "vector.h"
#include "windows.h"

#if defined(__AVX512F__)
#define ROWS 12  // of a tile; its sums are in registers
#elif defined(__AVX2__)
#define ROWS 6
#elif defined(ZAHLEN_NEON)
#define ROWS 8
#else
#define ROWS 4
#endif
#define WIDTH (PANEL * LANES)
#define CHUNK 4096  // elements that are worth a thread's while

// As they stand side by side in memory.
INLINE int32_t pair_of(int16_t low, int16_t high) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return (int32_t)((uint32_t)(uint16_t)high | (uint32_t)(uint16_t)low << 16);
#else
    return (int32_t)((uint32_t)(uint16_t)low | (uint32_t)(uint16_t)high << 16);
#endif
}

// As `scaled`, for shifts from 1 to 32 and results that are known to fit: products' halves are enough.
INLINE int32_t scaled_halves(int32_t x, int32_t factor, int32_t shift) {
    const int32_t high = (int32_t)(((int64_t)x * factor) >> 32);
    const uint32_t low = (uint32_t)x * (uint32_t)factor, half = low >> (shift - 1) & 1;
    return (int32_t)(((uint32_t)high << (32 - shift) | low >> 1 >> (shift - 1)) + half);
}

// ---------------------------------------------------------------------------------------------------------------------
// Factors on the right.

#define TALL 64  // rows that are packed in one go; even

// The last panel is of one vector where that is enough.
INLINE int64_t panel_width(int64_t columns, int64_t first) { return columns - first <= LANES ? LANES : WIDTH; }

static int64_t packed_size(int64_t pairs, int64_t columns) {
    const int64_t last = (columns - 1) / WIDTH * WIDTH;
    return (last + panel_width(columns, last)) * pairs;
}

// (count, columns) of which row k begins at rows[k] and column j stands columns[j] behind that: pairs are of rows.
static void pack_rows(const int16_t *b, const int32_t *rows, const int32_t *columns, int64_t count, Packed *out) {
    const int64_t panels = (out->columns + WIDTH - 1) / WIDTH, blocks = (count + TALL - 1) / TALL;
    static const int16_t nothing;
    // rows of a block are read again for each panel while they are in the cache
#pragma omp parallel for schedule(static) collapse(2) if (count * out->columns >= 16 * CHUNK)
    for (int64_t block = 0; block < blocks; block++) {
        for (int64_t p = 0; p < panels; p++) {
            const int64_t first = p * WIDTH, width = out->columns - first < WIDTH ? out->columns - first : WIDTH;
            const int64_t whole = panel_width(out->columns, first), from = block * TALL;
            const int64_t end = count - from < TALL ? count : from + TALL;
            int32_t *to = out->at + first * out->pairs + from / 2 * whole;
            int side_by_side = width == whole;
            for (int64_t j = 1; j < width; j++) {
                side_by_side &= columns[first + j] == columns[first] + j;
            }
            for (int64_t k = from; k < end; k += 2, to += whole) {
                const int16_t *low = b + rows[k], *high = k + 1 < count ? b + rows[k + 1] : NULL;
                if (side_by_side && high != NULL) {
                    low += columns[first], high += columns[first];
                    for (int j = 0; j < LANES; j++) {
                        to[j] = pair_of(low[j], high[j]);
                    }
                    for (int j = LANES; j < WIDTH && whole == WIDTH; j++) {
                        to[j] = pair_of(low[j], high[j]);
                    }
                    continue;
                }
                memset(to, 0, (size_t)whole * 4);
                for (int64_t j = 0; j < width; j++) {
                    const int32_t at = columns[first + j];
                    to[j] = pair_of(low[at], high != NULL ? high[at] : nothing);
                }
            }
        }
    }
}

// The transpose: column j begins at b + j * stride, and its elements stand side by side.
static void pack_columns(const int16_t *b, int64_t stride, int64_t count, Packed *out) {
    const int64_t panels = (out->columns + WIDTH - 1) / WIDTH;
#pragma omp parallel for schedule(static) if (count * out->columns >= 16 * CHUNK)
    for (int64_t p = 0; p < panels; p++) {
        const int64_t first = p * WIDTH, width = out->columns - first < WIDTH ? out->columns - first : WIDTH;
        const int64_t whole = panel_width(out->columns, first);
        int32_t *to = out->at + first * out->pairs;
        for (int64_t j = 0; j < whole; j++) {
            if (j >= width) {
                for (int64_t k = 0; k < out->pairs; k++) {
                    to[k * whole + j] = 0;
                }
                continue;
            }
            const int16_t *from = b + (first + j) * stride;
            for (int64_t k = 0; k < count / 2; k++) {
                memcpy(to + k * whole + j, from + 2 * k, 4);
            }
            if (count % 2) {
                to[count / 2 * whole + j] = pair_of(from[count - 1], 0);
            }
        }
    }
}

// Two rows each of (count, width) become one row of pairs: factors on the left whose sums go over rows.
static void interleave(const int16_t *a, const int32_t *rows, int64_t count, int64_t width, int32_t *out) {
#pragma omp parallel for schedule(static) if (count * width >= 16 * CHUNK)
    for (int64_t k = 0; k < count; k += 2) {
        const int16_t *low = a + rows[k];
        int32_t *to = out + k / 2 * width;
        if (k + 1 < count) {
            const int16_t *high = a + rows[k + 1];
            for (int64_t j = 0; j < width; j++) {
                to[j] = pair_of(low[j], high[j]);
            }
        } else {
            for (int64_t j = 0; j < width; j++) {
                to[j] = pair_of(low[j], 0);
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Products: tiles of ROWS x WIDTH sums.

INLINE vi pair_at(const int16_t *p) {
    int32_t both;
    memcpy(&both, p, 4);
    return fill(both);
}

// `vectors` of each row: PANEL, or one.
INLINE void tile_of(int rows, int vectors, const int16_t *const row[ROWS], const int32_t *steps, int64_t pairs,
                    const int32_t *b, int32_t sums[ROWS][WIDTH]) {
    vi sum[ROWS][PANEL];
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < vectors; c++) {
            sum[r][c] = fill(0);
        }
    }
    for (int64_t k = 0; k < pairs; k++, b += vectors * LANES) {
        const vi b0 = load(b), b1 = vectors > 1 ? load(b + LANES) : b0;
        const int32_t at = steps[k];
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
            const vi x = pair_at(row[r] + at);
            sum[r][0] = dot16(sum[r][0], x, b0);
            if (vectors > 1) {
                sum[r][1] = dot16(sum[r][1], x, b1);
            }
        }
    }
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < vectors; c++) {
            store(sums[r] + c * LANES, sum[r][c]);
        }
    }
}

// The last rows take a tile of a third, or two, where that is enough.
#define SOME_ROWS(vectors)                                                                                             \
    if (3 * rows > 2 * ROWS) {                                                                                         \
        tile_of(ROWS, vectors, row, steps, pairs, b, sums);                                                            \
    } else if (rows > ROWS / 3) {                                                                                      \
        tile_of(2 * ROWS / 3, vectors, row, steps, pairs, b, sums);                                                    \
    } else {                                                                                                           \
        tile_of(ROWS / 3, vectors, row, steps, pairs, b, sums);                                                        \
    }

static void tile(int64_t rows, int64_t whole, const int16_t *const row[ROWS], const int32_t *steps, int64_t pairs,
                 const int32_t *b, int32_t sums[ROWS][WIDTH]) {
    if (whole == WIDTH) {
        SOME_ROWS(PANEL)
    } else {
        SOME_ROWS(1)
    }
}

static int64_t put_slowly(Scale scale, const int32_t *from, int64_t width, int16_t *to) {
    int64_t count = 0;
    for (int64_t j = 0; j < width; j++) {
        to[j] = (int16_t)clamped(scaled(from[j], scale), 32767, &count);
    }
    return count;
}

// The same in 32 bits: what is beyond `far` is clamped however far beyond it is.
static int64_t put_scaled(Scale scale, const int32_t *from, int64_t width, int16_t *to) {
    const int32_t twice = scale.shift == 0, factor = (int32_t)scale.factor << twice, shift = (int32_t)scale.shift + twice;
    const int64_t reach = (1LL << (30 + shift)) / (factor > 0 ? factor : 1);
    const int32_t far = reach < INT32_MAX ? (int32_t)reach : INT32_MAX;
    int32_t count = 0;
    for (int64_t j = 0; j < width; j++) {
        const int32_t x = from[j] > far ? far : from[j] < -far ? -far : from[j];
        const int32_t y = scaled_halves(x, factor, shift), inside = y > 32767 ? 32767 : y < -32767 ? -32767 : y;
        to[j] = (int16_t)inside;
        count += inside != y;
    }
    return count;
}

static int64_t put(const Sums *out, int64_t row, int64_t columns, int64_t first, const int32_t sums[ROWS][WIDTH],
                   int64_t rows, int64_t width) {
    int64_t count = 0;
    for (int64_t r = 0; r < rows; r++) {
        const int64_t at = (row + r) * columns + first;
        const int32_t *from = sums[r];
        switch (out->kind) {
        case PUT32:
            if (out->start == NULL) {
                memcpy((int32_t *)out->at + at, from, (size_t)width * 4);
                break;
            }
            for (int64_t j = 0; j < width; j++) {
                ((int32_t *)out->at)[at + j] = from[j] + out->start[first + j];
            }
            break;
        case ADD32:
            for (int64_t j = 0; j < width; j++) {
                ((int32_t *)out->at)[at + j] += from[j];
            }
            break;
        case ADD64:
            for (int64_t j = 0; j < width; j++) {
                ((int64_t *)out->at)[at + j] += from[j];
            }
            break;
        default:
            count += out->scale.factor < INT32_MAX / 2 && out->scale.shift <= 32
                         ? put_scaled(out->scale, from, width, (int16_t *)out->at + at)
                         : put_slowly(out->scale, from, width, (int16_t *)out->at + at);
        }
    }
    return count;
}

// PUT16 of sums beyond 32 bits.
static int64_t put_wide(const Sums *out, int64_t row, int64_t columns, int64_t first, int64_t sums[ROWS][WIDTH],
                        int64_t rows, int64_t width) {
    int64_t count = 0;
    for (int64_t r = 0; r < rows; r++) {
        int16_t *to = (int16_t *)out->at + (row + r) * columns + first;
        for (int64_t j = 0; j < width; j++) {
            to[j] = (int16_t)clamped(scaled(sums[r][j], out->scale), 32767, &count);
        }
    }
    return count;
}

static int64_t product(const Rows *a, const Packed *b, const Sums *out) {
    const int64_t panels = (b->columns + WIDTH - 1) / WIDTH, blocks = (a->count + ROWS - 1) / ROWS;
    const int64_t depth = (out->kind == ADD64 || out->kind == PUT16) && out->depth < b->pairs ? out->depth : b->pairs;
    const int wide = out->kind == PUT16 && depth < b->pairs;
    int64_t count = 0;
#pragma omp parallel for schedule(static) collapse(2) reduction(+ : count) if (a->count * b->columns * b->pairs >= 1 << 19)
    for (int64_t p = 0; p < panels; p++) {
        for (int64_t block = 0; block < blocks; block++) {
            const int64_t first = block * ROWS, rows = a->count - first < ROWS ? a->count - first : ROWS;
            const int64_t column = p * WIDTH, width = b->columns - column < WIDTH ? b->columns - column : WIDTH;
            const int64_t whole = panel_width(b->columns, column);
            const int16_t *row[ROWS];
            for (int64_t r = 0; r < ROWS; r++) {
                row[r] = a->at + a->rows[first + (r < rows ? r : rows - 1)];
            }
            int32_t sums[ROWS][WIDTH];
            int64_t totals[ROWS][WIDTH];
            if (wide) {
                memset(totals, 0, sizeof totals);
            }
            for (int64_t k = 0; k < b->pairs; k += depth) {
                const int64_t pairs = b->pairs - k < depth ? b->pairs - k : depth;
                tile(rows, whole, row, a->steps + k, pairs, b->at + column * b->pairs + k * whole, sums);
                if (!wide) {
                    count += put(out, first, b->columns, column, (const int32_t(*)[WIDTH])sums, rows, width);
                    continue;
                }
                for (int64_t r = 0; r < rows; r++) {
                    for (int64_t j = 0; j < width; j++) {
                        totals[r][j] += sums[r][j];
                    }
                }
            }
            count += wide ? put_wide(out, first, b->columns, column, totals, rows, width) : 0;
        }
    }
    return count;
}

// ---------------------------------------------------------------------------------------------------------------------
// Activations.

#if LANES == 16
#define FEW 16  // values that are in a register; they are found by four comparisons
typedef struct {
    vi least, most, by[4], values;
} Few;

static int is_few(const Stairs *s) { return s->levels <= FEW && s->hi < INT32_MAX; }

static Few few_of(const Stairs *s) {
    int32_t thresholds[FEW - 1], values[FEW];
    for (int k = 0; k < FEW; k++) {
        values[k] = s->values[k < s->levels ? k : s->levels - 1];
    }
    for (int k = 0; k < FEW - 1; k++) {
        thresholds[k] = k < s->levels - 1 ? s->thresholds[k] : INT32_MAX;
    }
    Few few = {.least = fill(s->lo), .most = fill(s->hi), .values = load(values)};
    for (int k = 0, by = 1; k < 4; k++, by *= 2) {  // the threshold that `by` more levels reach, behind each level
        int32_t table[FEW];
        for (int at = 0; at < FEW; at++) {
            table[at] = at + by <= FEW - 1 ? thresholds[at + by - 1] : INT32_MAX;
        }
        few.by[k] = load(table);
    }
    return few;
}

INLINE vi few_value(const Few *few, vi z) {
    z = lesser(greater(z, few->least), few->most);
    vi at = fill(0);
    for (int k = 3; k >= 0; k--) {
        const __mmask16 more = _mm512_cmpge_epi32_mask(z, _mm512_permutexvar_epi32(at, few->by[k]));
        at = _mm512_mask_add_epi32(at, more, at, fill(1 << k));
    }
    return _mm512_permutexvar_epi32(at, few->values);
}
#endif

static void stairs_part(const Stairs *s, const int32_t *z, int64_t count, int16_t *out) {
    const Stairs own = *s;
#pragma GCC ivdep
    for (int64_t k = 0; k < count; k++) {
        out[k] = (int16_t)value(&own, z[k]);
    }
}

static void stairs(const Stairs *s, const int32_t *z, int64_t count, int16_t *out) {
    int64_t start = 0;
#if LANES == 16
    if (is_few(s)) {
        const Few few = few_of(s);
        start = count / LANES * LANES;
#pragma omp parallel for schedule(static) if (count >= 4 * CHUNK)
        for (int64_t k = 0; k < start; k += LANES) {
            store_s16(out + k, few_value(&few, load(z + k)));
        }
    }
#endif
#pragma omp parallel for schedule(static) if (count - start >= 4 * CHUNK)
    for (int64_t k = start; k < count; k += CHUNK) {
        stairs_part(s, z + k, count - k < CHUNK ? count - k : CHUNK, out + k);
    }
}

static void buckets(const Buckets *b, const int32_t *z, int64_t count, int16_t *out) {
    const int32_t lo = (int32_t)b->lo, shift = (int32_t)b->shift, hi = (int32_t)(b->lo + (b->count << b->shift) - 1);
#pragma omp parallel for schedule(static) if (count >= 4 * CHUNK)
    for (int64_t k = 0; k < count; k++) {
        const int32_t x = z[k] < lo ? lo : z[k] > hi ? hi : z[k];
        out[k] = (int16_t)((x - lo) >> shift);
    }
}

static void slopes(const int32_t *table, int64_t buckets, const int16_t *d, const int16_t *places, int64_t count,
                   int16_t *out) {
    const int32_t last = (int32_t)buckets - 1;
#pragma omp parallel for schedule(static) if (count >= 4 * CHUNK)
    for (int64_t k = 0; k < count; k++) {
        const int32_t at = places[k] < 0 ? 0 : places[k] > last ? last : places[k];
        out[k] = (int16_t)((d[k] * table[at] + 2048) >> 12);
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The cross-entropy of a softmax. result: the loss in 2^-16 bits, and how many labels were named right.

static int64_t log2_of(const int32_t *logs, int64_t x) {  // x is positive; in 2^-16
    int64_t whole = 0;
    for (int64_t y = x; y > 1; y >>= 1) {
        whole++;
    }
    const int64_t place = whole >= 10 ? x >> (whole - 10) : x << (10 - whole);
    return (whole << 16) + logs[place - 1024];
}

// min((top - z) * factor >> 24, 4095); `far` is a difference that reaches this.
INLINE int32_t place_of(int32_t top, int32_t z, int32_t far, int32_t factor) {
    const uint32_t gap = (uint32_t)top - (uint32_t)z;
    const int32_t near = gap < (uint32_t)far ? (int32_t)gap : far;
    const int32_t place = (int32_t)(((int64_t)near * factor) >> 32 << 8) | (int32_t)((uint32_t)near * (uint32_t)factor >> 24);
    return place < 4095 ? place : 4095;
}

INLINE int64_t power_sum(const int32_t *powers, int32_t far, int32_t factor, int32_t top, const int32_t *z, int64_t n) {
    int64_t sum = 0;
    for (int64_t first = 0; first < n; first += 1 << 14) {  // so many stay within 32 bits
        const int64_t last = n - first < 1 << 14 ? n : first + (1 << 14);
        int32_t part = 0;
        for (int64_t j = first; j < last; j++) {
            part += powers[place_of(top, z[j], far, factor)];
        }
        sum += part;
    }
    return sum;
}

static void softmax(const Softmax *s, const int32_t *logits, const int32_t *labels, int64_t rows, int64_t classes,
                    int16_t *delta, int64_t *result) {
    int64_t loss = 0, right = 0;
    const int32_t *powers = s->powers, factor = (int32_t)s->factor, bits = (int32_t)s->bits;
    const int64_t reach = factor > 0 ? (4095LL << 24) / factor + 1 : INT32_MAX;
    const int32_t far = reach < INT32_MAX ? (int32_t)reach : INT32_MAX;
#pragma omp parallel for schedule(static) reduction(+ : loss, right) if (rows * classes >= CHUNK)
    for (int64_t r = 0; r < rows; r++) {
        const int32_t *z = logits + r * classes;
        int16_t *d = delta + r * classes;
        int32_t top = z[0];
        for (int64_t j = 1; j < classes; j++) {
            top = z[j] > top ? z[j] : top;
        }
        const int64_t sum = power_sum(powers, far, factor, top, z, classes);
        const uint32_t inverse = (uint32_t)((1LL << 40) / sum);
        const uint64_t half = 1ULL << (39 - bits);
        const int32_t label = labels[r];
        if (label < 0) {  // none: nothing is to be learnt from it
            memset(d, 0, (size_t)classes * 2);
            continue;
        }
        for (int64_t j = 0; j < classes; j++) {
            const uint64_t power = (uint32_t)powers[place_of(top, z[j], far, factor)];
            d[j] = (int16_t)((power * inverse + half) >> (40 - bits));
        }
        d[label] = (int16_t)(d[label] - (1 << bits));
        int64_t best = 0;
        while (z[best] != top) {
            best++;
        }
        right += best == label;
        // log2 e is 94548 / 2^16; places are 256 to 1.0
        const int64_t place = (((int64_t)top - z[label]) * s->factor) >> 24;
        loss += log2_of(s->logs, sum) - (16 << 16) + ((place * 94548 + 128) >> 8);
    }
    result[0] = loss;
    result[1] = right;
}

// ---------------------------------------------------------------------------------------------------------------------
// Momentum, and latent weights that are moved by it.

// Wellons' low-bias hash of 32 bits: https://nullprogram.com/blog/2018/07/31/
INLINE uint32_t scrambled(uint32_t x) {
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ x >> 16;
}

// In 32 bits, for steps that are not rounded by chance. Latent weights are below
// 2^28, so a momentum beyond `far` takes them to the end of their grid, however far beyond it is.
INLINE int64_t update_part(const Update *u, int64_t count, int32_t *gradient, int32_t *momentum, int32_t *latent,
                           int16_t *weights, int clipped) {
    const int32_t down = (int32_t)u->down, clip = (int32_t)u->clip, decay = (int32_t)u->decay;
    const int32_t grain = (int32_t)(u->fraction + (u->grain == 2));
    const int32_t factor = (int32_t)u->step.factor, shift = (int32_t)u->step.shift, lo = (int32_t)u->lo;
    const int32_t most = (int32_t)((u->hi << u->fraction) + (u->grain << u->fraction >> 1) - 1);
    const int32_t least = (int32_t)((u->lo << u->fraction) - (u->grain << u->fraction >> 1));
    const int32_t fall = (int32_t)u->weight_decay, decays = fall ? -1 : 0, twice = u->grain == 2;
    const int64_t reach = (1LL << (30 + shift)) / (factor > 0 ? factor : 1);
    const int32_t far = reach < INT32_MAX ? (int32_t)reach : INT32_MAX;
    int32_t clamps = 0;
    for (int64_t k = 0; k < count; k++) {
        const int32_t own = gradient[k], half = (int32_t)((uint32_t)own << 1 >> down & 1);
        const int32_t g = clipped ? scaled_halves(own, clip, 16 + down) : (own >> down) + half;
        const int32_t kept = momentum[k] - (momentum[k] >> decay);
        const int32_t sum = (int32_t)((uint32_t)kept + (uint32_t)g);
        const int beyond = ((kept ^ sum) & (g ^ sum)) < 0 || sum == INT32_MIN;
        const int32_t m = beyond ? (g < 0 ? -INT32_MAX : INT32_MAX) : sum;
        momentum[k] = m;
        gradient[k] = 0;
        int32_t v = latent[k] - scaled_halves(m > far ? far : m < -far ? -far : m, factor, shift);
        v -= v >> fall & decays;
        const int32_t inside = v > most ? most : v < least ? least : v;
        clamps += (inside != v) + beyond;
        latent[k] = inside;
        weights[k] = (int16_t)(lo + ((inside - least) >> grain << twice));
    }
    return clamps;
}

INLINE int64_t updated(const Update *u, int64_t count, int32_t *narrow, int64_t *wide, int32_t *momentum,
                       int32_t *latent, int16_t *weights, int32_t *long_weights) {
    int64_t clamps = 0;
    const Scale down = {u->clip, u->down + 16};
    const int64_t half = (1LL << u->step.shift) >> 1, grain = u->fraction + (u->grain == 2);
    const int64_t most = (u->hi << u->fraction) + (u->grain << u->fraction >> 1) - 1;
    const int64_t least = (u->lo << u->fraction) - (u->grain << u->fraction >> 1);
#pragma omp parallel for schedule(static) reduction(+ : clamps) if (count >= 4 * CHUNK)
    for (int64_t k = 0; k < count; k++) {
        const int64_t g = scaled(narrow != NULL ? narrow[k] : wide[k], down);
        if (narrow != NULL) {
            narrow[k] = 0;
        } else {
            wide[k] = 0;
        }
        int64_t m = momentum[k];
        m += g - (m >> u->decay);
        m = clamped(m, INT32_MAX, &clamps);
        momentum[k] = (int32_t)m;
        int64_t chance = half;
        if (u->random) {
            chance = scrambled((uint32_t)k * 0x9e3779b9u + (uint32_t)u->seed) & ((1LL << u->step.shift) - 1);
        }
        int64_t v = latent[k] - ((m * u->step.factor + chance) >> u->step.shift);
        v -= u->weight_decay ? v >> u->weight_decay : 0;
        const int64_t inside = v > most ? most : v < least ? least : v;
        clamps += inside != v;
        latent[k] = (int32_t)inside;
        const int64_t w = u->lo + ((inside - least) >> grain << (u->grain == 2));
        if (weights != NULL) {
            weights[k] = (int16_t)w;
        } else {
            long_weights[k] = (int32_t)w;
        }
    }
    return clamps;
}

static int64_t update(const Update *u, int64_t count, void *gradient, int wide, int32_t *momentum,
                      int32_t *latent, void *weights, int long_weights) {
    const Update own = *u;
    int16_t *narrow = long_weights ? NULL : weights;
    const int64_t end = u->hi > -u->lo ? u->hi : -u->lo;
    if (!wide && !long_weights && u->down <= 16 && !u->random && u->step.shift >= 1 && u->step.shift <= 32 &&
        u->step.factor <= INT32_MAX && (end + 2) << u->fraction <= 1 << 28) {
        int64_t clamps = 0;
        int32_t *from = gradient;
#pragma omp parallel for schedule(static) reduction(+ : clamps) if (count >= 4 * CHUNK)
        for (int64_t k = 0; k < count; k += CHUNK) {
            const int64_t part = count - k < CHUNK ? count - k : CHUNK;
            clamps += own.clip == 1 << 16 ? update_part(&own, part, from + k, momentum + k, latent + k, narrow + k, 0)
                                          : update_part(&own, part, from + k, momentum + k, latent + k, narrow + k, 1);
        }
        return clamps;
    }
    return wide ? updated(&own, count, NULL, gradient, momentum, latent, narrow, weights)
                : updated(&own, count, gradient, NULL, momentum, latent, narrow, weights);
}

static void column_sums(const int16_t *d, int64_t rows, int64_t columns, int64_t *sums) {
    memset(sums, 0, (size_t)columns * 8);
    for (int64_t first = 0; first < rows; first += 32768) {  // so many stay within 32 bits
        const int64_t last = rows - first < 32768 ? rows : first + 32768;
        for (int64_t j = 0; j < columns; j += 64) {
            const int64_t width = columns - j < 64 ? columns - j : 64;
            int32_t part[64] = {0};
            for (int64_t r = first; r < last; r++) {
                for (int64_t i = 0; i < width; i++) {
                    part[i] += d[r * columns + j + i];
                }
            }
            for (int64_t i = 0; i < width; i++) {
                sums[j + i] += part[i];
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// LSTM: z (rows, 4 units) in the order i, f, g, o; kept (rows, 5 units) is i, f, g, o, t.

static void lstm_forward_row(const Lstm *p, const int32_t *z, const int16_t *c, int16_t *h_next, int16_t *c_next,
                             int16_t *kept, int64_t n) {
    const Stairs gate = p->gate, candidate = p->candidate, squash = p->squash, output = p->output;
    const int32_t limit = p->limit, old = p->old_factor, new = p->new_factor, half = p->half, shift = p->shift;
#pragma GCC ivdep
    for (int64_t j = 0; j < n; j++) {
        const int32_t i = value(&gate, z[j]), f = value(&gate, z[n + j]);
        const int32_t g = value(&candidate, z[2 * n + j]), o = value(&gate, z[3 * n + j]);
        int32_t next = (f * c[j] * old + i * g * new + half) >> shift;
        next = next < -limit ? -limit : next > limit ? limit : next;
        const int32_t t = value(&squash, next);
        kept[j] = (int16_t)i;
        kept[n + j] = (int16_t)f;
        kept[2 * n + j] = (int16_t)g;
        kept[3 * n + j] = (int16_t)o;
        kept[4 * n + j] = (int16_t)t;
        c_next[j] = (int16_t)next;
        h_next[j] = (int16_t)value(&output, o * t);
    }
}

#if LANES == 16
static void lstm_forward_few(const Lstm *p, const Few few[4], const int32_t *z, const int16_t *c, int16_t *h_next,
                             int16_t *c_next, int16_t *kept, int64_t n) {
    const Few *gate = &few[0], *candidate = &few[1], *squash = &few[2], *output = &few[3];
    for (int64_t k = 0; k < n; k += LANES) {
        const int64_t j = k + LANES <= n ? k : n - LANES;  // the last units once more
        const vi i = few_value(gate, load(z + j)), f = few_value(gate, load(z + n + j));
        const vi g = few_value(candidate, load(z + 2 * n + j)), o = few_value(gate, load(z + 3 * n + j));
        const vi old = times(product16(f, load_s16(c + j)), p->old_factor);
        const vi next = shift_right(add(add(old, times(product16(i, g), p->new_factor)), fill(p->half)), p->shift);
        const vi inside = lesser(greater(next, fill(-p->limit)), fill(p->limit));
        const vi t = few_value(squash, inside);
        store_s16(kept + j, i);
        store_s16(kept + n + j, f);
        store_s16(kept + 2 * n + j, g);
        store_s16(kept + 3 * n + j, o);
        store_s16(kept + 4 * n + j, t);
        store_s16(c_next + j, inside);
        store_s16(h_next + j, few_value(output, product16(o, t)));
    }
}
#endif

static void lstm_forward(const Lstm *p, int64_t rows, int64_t n, const int32_t *z, const int16_t *c, int16_t *h_next,
                         int16_t *c_next, int16_t *kept) {
#if LANES == 16
    if (n >= LANES && is_few(&p->gate) && is_few(&p->candidate) && is_few(&p->squash) && is_few(&p->output)) {
        const Few few[4] = {few_of(&p->gate), few_of(&p->candidate), few_of(&p->squash), few_of(&p->output)};
#pragma omp parallel for schedule(static) if (rows * n >= CHUNK)
        for (int64_t r = 0; r < rows; r++) {
            const int64_t at = n * r;
            lstm_forward_few(p, few, z + 4 * at, c + at, h_next + at, c_next + at, kept + 5 * at, n);
        }
        return;
    }
#endif
#pragma omp parallel for schedule(static) if (rows * n >= CHUNK)
    for (int64_t r = 0; r < rows; r++) {
        lstm_forward_row(p, z + 4 * n * r, c + n * r, h_next + n * r, c_next + n * r, kept + 5 * n * r, n);
    }
}

INLINE int32_t rounded(int32_t x, int32_t shift) { return (x + ((1 << shift) >> 1)) >> shift; }

INLINE int32_t short_of(int32_t x, int32_t *count) {
    const int32_t y = x > 32767 ? 32767 : x < -32767 ? -32767 : x;
    *count += y != x;
    return y;
}

typedef struct {
    int32_t factor, shift;
} Halves;

INLINE Halves halves(Scale s) {  // shifts from 1 on
    const int twice = s.shift == 0;
    return (Halves){(int32_t)s.factor << twice, (int32_t)s.shift + twice};
}

// What comes back through the recurrent weights, within 17 bits: more than what becomes of it has.
INLINE int32_t returned(int32_t x, Halves s) {
    const int32_t y = scaled_halves(x, s.factor, s.shift);
    return y > 65535 ? 65535 : y < -65535 ? -65535 : y;
}

static int64_t lstm_backward(const Lstm *p, const LstmBack *q, int64_t rows, int64_t n, const int16_t *dh,
                             const int32_t *through, const int16_t *c, const int16_t *kept, int16_t *dc, int16_t *dz) {
    const int32_t limit = p->limit, old = p->old_factor, new = p->new_factor, half = p->half, shift = p->shift;
    const int32_t edge_g = (int32_t)q->candidate, edge_t = (int32_t)q->squash;
    const int32_t fine = q->fraction < 4 ? (int32_t)q->fraction : 4, coarse = (int32_t)q->fraction - fine;
    const Halves state = halves(q->state);
    int64_t clamps = 0;
#pragma omp parallel for schedule(static) reduction(+ : clamps) if (rows * n >= CHUNK)
    for (int64_t r = 0; r < rows; r++) {
        const int16_t *keep = kept + 5 * n * r, *from = dh + r * n, *cell = c + r * n;
        const int32_t *back = through + r * n;
        int16_t *to = dz + 4 * n * r, *dcell = dc + r * n;
        int32_t count = 0;
#pragma GCC ivdep
        for (int64_t j = 0; j < n; j++) {
            const int32_t i = keep[j], f = keep[n + j], g = keep[2 * n + j], o = keep[3 * n + j], t = keep[4 * n + j];
            const int32_t next = (f * cell[j] * old + i * g * new + half) >> shift;
            const int32_t sg = g > edge_g ? edge_g : g < -edge_g ? -edge_g : g;
            const int32_t st = t > edge_t ? edge_t : t < -edge_t ? -edge_t : t;
            const int32_t h = short_of(from[j] + returned(back[j], state), &count);
            const int32_t slope_t = (16384 - st * st) >> 6, slope_g = (16384 - sg * sg) >> 6;
            int32_t d = short_of(dcell[j] + rounded(h * o * slope_t, 16), &count);
            d = next < -limit || next > limit ? 0 : d;
            to[j] = (int16_t)rounded(d * g * ((i * (256 - i)) >> 6), 17);
            to[n + j] = (int16_t)short_of(rounded(rounded(d * cell[j], coarse) * ((f * (256 - f)) >> 6), 10 + fine), &count);
            to[2 * n + j] = (int16_t)rounded(d * i * slope_g, 16);
            to[3 * n + j] = (int16_t)rounded(h * t * ((o * (256 - o)) >> 6), 17);
            dcell[j] = (int16_t)rounded(d * f, 8);
        }
        clamps += count;
    }
    return clamps;
}

// ---------------------------------------------------------------------------------------------------------------------
// LSTM through time: product and cell in turns.

// Rows side by side, pairs too: left factors (rows, width). An odd width reads on into the next row, times nothing.
static Rows beside(const int16_t *at, int32_t *places, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; r++) {
        places[r] = (int32_t)(r * width);
    }
    for (int64_t k = 0; k < (width + 1) / 2; k++) {
        places[rows + k] = (int32_t)(2 * k);
    }
    return (Rows){at, places, places + rows, rows, (width + 1) / 2};
}

static void lstm_forward_steps(const Lstm *p, const Unroll *u, int32_t *places) {
    const int64_t rows = u->rows, n = u->units, state = rows * n, width = 4 * n;
    Rows a = beside(u->h, places, rows, n);
    const Packed across = {u->across, a.pairs, width};
    for (int64_t t = 0; t < u->time; t++) {
        int32_t *z = u->symbols == NULL ? u->share + t * rows * width : u->z;
        for (int64_t r = 0; u->symbols != NULL && r < rows; r++) {
            memcpy(z + r * width, u->share + u->symbols[t * rows + r] * width, (size_t)width * 4);
        }
        const Sums sums = {z, ADD32, 1, {1, 0}, NULL};
        product(&a, &across, &sums);
        a.at += state;
        lstm_forward(p, rows, n, z, u->c + t * state, u->h + (t + 1) * state, u->c + (t + 1) * state,
                     u->kept + 5 * t * state);
    }
}

static int64_t lstm_backward_steps(const Lstm *p, const LstmBack *q, const Unroll *u, const int16_t *dh, int16_t *dc,
                                   int16_t *dz, int32_t *places) {
    const int64_t rows = u->rows, n = u->units, state = rows * n;
    Rows a = beside(dz, places, rows, 4 * n);
    const Packed across = {u->across, a.pairs, n};
    const Sums sums = {u->z, PUT32, 1, {1, 0}, NULL};
    int64_t clamps = 0;
    for (int64_t t = u->time - 1; t >= 0; t--) {
        a.at = dz + 4 * (t + 1) * state;
        product(&a, &across, &sums);
        clamps += lstm_backward(p, q, rows, n, dh + t * state, u->z, u->c + t * state, u->kept + 5 * t * state, dc,
                                dz + 4 * t * state);
    }
    return clamps;
}

// ---------------------------------------------------------------------------------------------------------------------
// GRU: x and y (rows, 3 units), the input's and the state's share, in the order r, u, n; kept (rows, 3 units) likewise.

static void gru_forward_row(const Gru *p, int64_t n, const int32_t *x, const int32_t *y, const int16_t *c,
                            int16_t *h_next, int16_t *c_next, int16_t *kept) {
    const Stairs gate = p->gate, candidate = p->candidate, output = p->output;
#pragma GCC ivdep
    for (int64_t j = 0; j < n; j++) {
        const int32_t r = value(&gate, x[j] + y[j]), u = value(&gate, x[n + j] + y[n + j]);
        // r y / 2^8 in two halves, of which neither leaves 32 bits
        const int32_t part = y[2 * n + j], reset = r * (part >> 8) + ((r * (part & 255) + 128) >> 8);
        const int32_t g = value(&candidate, x[2 * n + j] + reset);
        const int32_t next = (u * c[j] + (256 - u) * g + 128) >> 8;
        kept[j] = (int16_t)r;
        kept[n + j] = (int16_t)u;
        kept[2 * n + j] = (int16_t)g;
        c_next[j] = (int16_t)next;
        h_next[j] = (int16_t)value(&output, next);
    }
}

static void gru_forward(const Gru *p, int64_t rows, int64_t n, const int32_t *x, const int32_t *y, const int16_t *c,
                        int16_t *h_next, int16_t *c_next, int16_t *kept) {
#pragma omp parallel for schedule(static) if (rows * n >= CHUNK)
    for (int64_t row = 0; row < rows; row++) {
        const int64_t at = row * n;
        gru_forward_row(p, n, x + 3 * at, y + 3 * at, c + at, h_next + at, c_next + at, kept + 3 * at);
    }
}

static int64_t gru_backward_row(const GruBack *q, int32_t limit, int64_t n, const int16_t *dh, const int32_t *through,
                                const int32_t *y, const int16_t *c, const int16_t *keep, int16_t *dc, int16_t *a,
                                int16_t *b) {
    const int32_t edge = (int32_t)q->candidate, square = limit * limit;
    const Halves state = halves(q->state), share = halves(q->share), squares = halves(q->square), cells = halves(q->cell);
    // a share of pre-activations from here on is clamped anyway
    const int64_t reach = share.factor > 0 ? (32768LL << share.shift) / share.factor + 1 : INT32_MAX;
    const int32_t far = reach < INT32_MAX ? (int32_t)reach : INT32_MAX;
    int32_t count = 0;
#pragma GCC ivdep
    for (int64_t j = 0; j < n; j++) {
        const int32_t r = keep[j], u = keep[n + j], g = keep[2 * n + j];
        const int32_t inner = g > edge ? edge : g < -edge ? -edge : g;
        const int32_t slope = scaled_halves(square - inner * inner, squares.factor, squares.shift);
        const int32_t d = short_of(dc[j] + dh[j] + returned(through[j], state), &count);
        const int32_t dn = rounded(rounded(d * (256 - u), 8) * slope, 12);
        const int32_t theirs = y[2 * n + j], near = theirs > far ? far : theirs < -far ? -far : theirs;
        const int32_t part = scaled_halves(near, share.factor, share.shift);
        const int32_t held = part > 32767 ? 32767 : part < -32767 ? -32767 : part;
        const int32_t dr = rounded(rounded(dn * held, 12) * ((r * (256 - r)) >> 6), 10);
        const int32_t between = scaled_halves(c[j] - g, cells.factor, cells.shift);
        const int32_t du = rounded(rounded(d * between, 12) * ((u * (256 - u)) >> 6), 10);
        a[j] = b[j] = (int16_t)short_of(dr, &count);
        a[n + j] = b[n + j] = (int16_t)short_of(du, &count);
        a[2 * n + j] = (int16_t)dn;
        b[2 * n + j] = (int16_t)rounded(dn * r, 8);
        dc[j] = (int16_t)rounded(d * u, 8);
    }
    return count;
}

static int64_t gru_backward(const GruBack *q, int64_t limit, int64_t rows, int64_t n, const int16_t *dh,
                            const int32_t *through, const int32_t *y, const int16_t *c, const int16_t *kept, int16_t *dc,
                            int16_t *dx, int16_t *dy) {
    int64_t clamps = 0;
#pragma omp parallel for schedule(static) reduction(+ : clamps) if (rows * n >= CHUNK)
    for (int64_t row = 0; row < rows; row++) {
        const int64_t at = row * n;
        clamps += gru_backward_row(q, (int32_t)limit, n, dh + at, through + at, y + 3 * at, c + at, kept + 3 * at, dc + at,
                                   dx + 3 * at, dy + 3 * at);
    }
    return clamps;
}

// ---------------------------------------------------------------------------------------------------------------------
// RNN.

static int64_t rnn_backward(const RnnBack *q, int64_t count, const int16_t *dh, const int32_t *through,
                            const int16_t *h_next, int16_t *dz) {
    const int32_t edge = (int32_t)q->edge, square = (int32_t)(q->limit * q->limit);
    const Halves state = halves(q->state), squares = halves(q->square);
    int64_t clamps = 0;
    for (int64_t first = 0; first < count; first += CHUNK) {
        const int64_t last = count - first < CHUNK ? count : first + CHUNK;
        int32_t beyond = 0;
#pragma GCC ivdep
        for (int64_t j = first; j < last; j++) {
            const int32_t t = h_next[j] > edge ? edge : h_next[j] < -edge ? -edge : h_next[j];
            const int32_t d = short_of(dh[j] + returned(through[j], state), &beyond);
            dz[j] = (int16_t)rounded(d * scaled_halves(square - t * t, squares.factor, squares.shift), 12);
        }
        clamps += beyond;
    }
    return clamps;
}

// Row r is added to row index[r].
static void add_rows(const int16_t *d, const int32_t *index, int64_t rows, int64_t columns, int64_t *out) {
    for (int64_t r = 0; r < rows; r++) {
        int64_t *to = out + index[r] * columns;
        const int16_t *from = d + r * columns;
        for (int64_t j = 0; j < columns; j++) {
            to[j] += from[j];
        }
    }
}

const Train JOIN(train, VARIANT) = {
    .moments = JOIN(moments, VARIANT),
    .normalise = JOIN(normalise, VARIANT),
    .dots = JOIN(dots, VARIANT),
    .norm_back = JOIN(norm_back, VARIANT),
    .maxpool = JOIN(maxpool, VARIANT),
    .sumpool = JOIN(sumpool, VARIANT),
    .pool_back = JOIN(pool_back, VARIANT),
    .packed_size = packed_size,
    .pack_rows = pack_rows,
    .pack_columns = pack_columns,
    .interleave = interleave,
    .product = product,
    .stairs = stairs,
    .buckets = buckets,
    .slopes = slopes,
    .softmax = softmax,
    .update = update,
    .column_sums = column_sums,
    .lstm_forward_steps = lstm_forward_steps,
    .lstm_backward_steps = lstm_backward_steps,
    .gru_forward = gru_forward,
    .gru_backward = gru_backward,
    .rnn_backward = rnn_backward,
    .add_rows = add_rows,
};
