// Everything but products: what comes in and goes out, elementwise work in strips, windows, and moves.

#include <stddef.h>

#include "cell.h"
#include "program.h"
#include "vector.h"

#define STRIP 256

// ---------------------------------------------------------------------------------------------------------------------
// Ports: the caller's integers to codes, checked, and back.

// an unsigned integer that int64 would take for a negative one
#define BEYOND(S, v) (sizeof(S) == 8 && (S)-1 > 0 ? (uint64_t)(v) >> 63 : 0)
#define READ_ROW(S, D)                                                                                                 \
    {                                                                                                                  \
        uint64_t bad = 0;                                                                                              \
        const int64_t base = s->base, lo = p->lo, hi = p->hi;                                                          \
        for (int64_t r = 0; r < p->elements; r += p->run) {                                                            \
            const S *from = (const S *)source + r;                                                                     \
            D *to = (D *)target + (p->place == NULL ? 0 : p->place[r / p->run]);                                       \
            for (int64_t e = 0; e < p->run; e++) {                                                                     \
                const int64_t v = (int64_t)from[e];                                                                    \
                bad |= (uint64_t)(v < lo) | (uint64_t)(v > hi) | BEYOND(S, from[e]);                                   \
                to[e] = (D)((uint64_t)v - (uint64_t)base);                                                             \
            }                                                                                                          \
            if (p->step != 1) {                                                                                        \
                for (int64_t e = 0; e < p->run; e++) {                                                                 \
                    bad |= (uint64_t)(((uint64_t)from[e] - (uint64_t)lo) % (uint64_t)p->step != 0);                    \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        return bad == 0;                                                                                               \
    }

#define READ_TYPES(D)                                                                                                  \
    switch (a->size * 2 + a->is_signed) {                                                                              \
    case 2: READ_ROW(uint8_t, D)                                                                                       \
    case 3: READ_ROW(int8_t, D)                                                                                        \
    case 4: READ_ROW(uint16_t, D)                                                                                      \
    case 5: READ_ROW(int16_t, D)                                                                                       \
    case 8: READ_ROW(uint32_t, D)                                                                                      \
    case 9: READ_ROW(int32_t, D)                                                                                       \
    case 16: READ_ROW(uint64_t, D)                                                                                     \
    default: READ_ROW(int64_t, D)                                                                                      \
    }

// Bytes as they stand.
static int read_bytes(const Port *p, const uint8_t *source, uint8_t *target) {
    for (int64_t r = 0; r < p->elements; r += p->run) {
        memcpy(target + (p->place == NULL ? 0 : p->place[r / p->run]), source + r, (size_t)p->run);
    }
    if (p->lo <= 0 && p->hi >= 255) {
        return 1;
    }
    uint8_t bad = 0;
    const uint8_t lo = (uint8_t)(p->lo > 0 ? p->lo : 0), hi = (uint8_t)(p->hi < 255 ? p->hi : 255);
    for (int64_t e = 0; e < p->elements; e++) {
        bad |= (uint8_t)(source[e] < lo) | (uint8_t)(source[e] > hi);
    }
    return bad == 0;
}

static int read_row(const Port *p, const Slot *s, const Array *a, const uint8_t *source, uint8_t *target) {
    if (s->type == U8 && a->size == 1 && !a->is_signed && p->step == 1 && s->base == 0 && p->hi >= 0) {
        return read_bytes(p, source, target);
    }
    switch (s->type) {
    case U8: READ_TYPES(uint8_t)
    case S16: READ_TYPES(int16_t)
    case S32: READ_TYPES(int32_t)
    default: READ_TYPES(int64_t)
    }
}

int JOIN(port_in, VARIANT)(const Context *c, const Port *p, int64_t rows) {
    const Slot *s = &c->program->slot[p->slot];
    const Array *a = &(p->state ? c->states_in : c->inputs)[p->number];
    int fine = 1;
    for (int64_t r = 0; r < rows; r++) {
        const uint8_t *source = (const uint8_t *)a->at + (c->batch + r % c->batches) * a->batch_stride +
                                (c->time + r / c->batches) * a->time_stride;
        fine &= read_row(p, s, a, source, row_of(c, s, r));
    }
    return fine;
}

#define WRITE_ROW(S, D)                                                                                                \
    {                                                                                                                  \
        const int64_t base = s->base, step = s->step;                                                                  \
        for (int64_t r = 0; r < p->elements; r += p->run) {                                                            \
            const S *from = (const S *)source + (p->place == NULL ? 0 : p->place[r / p->run]);                         \
            D *to = (D *)target + r;                                                                                   \
            for (int64_t e = 0; e < p->run; e++) {                                                                     \
                to[e] = (D)((uint64_t)base + (uint64_t)step * (uint64_t)(int64_t)from[e]);                             \
            }                                                                                                          \
        }                                                                                                              \
        return;                                                                                                        \
    }

#define WRITE_TYPES(S)                                                                                                 \
    switch (a->size) {                                                                                                 \
    case 1: WRITE_ROW(S, uint8_t)                                                                                      \
    case 2: WRITE_ROW(S, uint16_t)                                                                                     \
    case 4: WRITE_ROW(S, uint32_t)                                                                                     \
    default: WRITE_ROW(S, uint64_t)                                                                                    \
    }

static void write_row(const Port *p, const Slot *s, const Array *a, const uint8_t *source, uint8_t *target) {
    switch (s->type) {
    case U8: WRITE_TYPES(uint8_t)
    case S16: WRITE_TYPES(int16_t)
    case S32: WRITE_TYPES(int32_t)
    default: WRITE_TYPES(int64_t)
    }
}

void JOIN(port_out, VARIANT)(const Context *c, const Port *p, int64_t rows) {
    const Slot *s = &c->program->slot[p->slot];
    const Array *a = &(p->state ? c->states_out : c->outputs)[p->number];
    for (int64_t r = 0; r < rows; r++) {
        uint8_t *target = (uint8_t *)a->at + (c->batch + r % c->batches) * a->batch_stride +
                          (c->time + r / c->batches) * a->time_stride;
        write_row(p, s, a, row_of(c, s, r), target);
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Elementwise work, in 32 and in 64 bits.

#define T int32_t
#define U uint32_t
#define NAME(name) name##_32
#include "strips.h"
#undef T
#undef U
#undef NAME
#define T int64_t
#define U uint64_t
#define NAME(name) name##_64
#include "strips.h"

void JOIN(elementwise, VARIANT)(const Context *c, const Elementwise *p, int64_t rows) {
    const void *at[256];  // as many registers as a program may have
    for (int64_t k = 0; k < p->registers; k++) {
        at[k] = c->strips;
    }
    const int64_t elements = p->whole ? p->elements * rows : p->elements;
    for (int64_t r = 0; r < (p->whole ? 1 : rows); r++) {
        for (int64_t e = 0; e < elements; e += STRIP) {
            const int64_t n = elements - e < STRIP ? elements - e : STRIP;
            for (int64_t k = 0; k < p->works; k++) {
                if (p->wide) {
                    work_64(c, p, &p->work[k], r, e, n, at);
                } else {
                    work_32(c, p, &p->work[k], r, e, n, at);
                }
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Windows over channels that lie side by side.

#define GREATEST(D)                                                                                                    \
    {                                                                                                                  \
        const D *from = (const D *)row_of(c, x, r);                                                                    \
        D *to = (D *)row_of(c, out, r);                                                                                \
        for (int64_t w = 0; w < p->windows; w++) {                                                                     \
            const int32_t *window = p->window + w * p->size;                                                           \
            D *most = to + p->to[w];                                                                                   \
            int64_t k = 0;                                                                                             \
            while (window[k] < 0) {                                                                                    \
                k++;                                                                                                   \
            }                                                                                                          \
            memcpy(most, from + window[k], (size_t)p->channels * sizeof(D));                                           \
            for (k++; k < p->size; k++) {                                                                              \
                if (window[k] >= 0) {                                                                                  \
                    const D *other = from + window[k];                                                                 \
                    for (int64_t i = 0; i < p->channels; i++) {                                                        \
                        most[i] = other[i] > most[i] ? other[i] : most[i];                                             \
                    }                                                                                                  \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        break;                                                                                                         \
    }

#define TOTAL(S, D, V)                                                                                                 \
    {                                                                                                                  \
        const S *from = (const S *)row_of(c, x, r);                                                                    \
        D *to = (D *)row_of(c, out, r);                                                                                \
        for (int64_t w = 0; w < p->windows; w++) {                                                                     \
            const int32_t *window = p->window + w * p->size;                                                           \
            D *sum = to + p->to[w];                                                                                    \
            memset(sum, 0, (size_t)p->channels * sizeof(D));                                                           \
            for (int64_t k = 0; k < p->size; k++) {                                                                    \
                if (window[k] >= 0) {                                                                                  \
                    const S *other = from + window[k];                                                                 \
                    for (int64_t i = 0; i < p->channels; i++) {                                                        \
                        sum[i] = (D)((V)sum[i] + (V)x->base + (V)x->step * (V)other[i]);                               \
                    }                                                                                                  \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        break;                                                                                                         \
    }

#define TOTALS(S)                                                                                                      \
    if (out->type == S32)                                                                                              \
        TOTAL(S, int32_t, uint32_t)                                                                                    \
    else                                                                                                               \
        TOTAL(S, int64_t, uint64_t)

void JOIN(pool, VARIANT)(const Context *c, const Pool *p, int64_t rows) {
    const Slot *x = &c->program->slot[p->x], *out = &c->program->slot[p->out];
    for (int64_t r = 0; r < rows; r++) {
        switch (x->type * 2 + p->sum) {
        case U8 * 2: GREATEST(uint8_t)
        case S16 * 2: GREATEST(int16_t)
        case S32 * 2: GREATEST(int32_t)
        case S64 * 2: GREATEST(int64_t)
        case U8 * 2 + 1: TOTALS(uint8_t)
        case S16 * 2 + 1: TOTALS(int16_t)
        case S32 * 2 + 1: TOTALS(int32_t)
        default: TOTALS(int64_t)
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Elements from place to place.

#define MOVED(D)                                                                                                       \
    {                                                                                                                  \
        const D *from = (const D *)row_of(c, x, r);                                                                    \
        D *to = (D *)row_of(c, out, r);                                                                                \
        for (int64_t e = 0; e < p->count; e++) {                                                                       \
            to[p->to[e]] = p->from[e] < 0 ? (D)p->fill : from[p->from[e]];                                             \
        }                                                                                                              \
        break;                                                                                                         \
    }

void JOIN(move, VARIANT)(const Context *c, const Move *p, int64_t rows) {
    const Slot *x = &c->program->slot[p->x], *out = &c->program->slot[p->out];
    for (int64_t r = 0; r < rows; r++) {
        switch (x->type) {
        case U8: MOVED(uint8_t)
        case S16: MOVED(int16_t)
        case S32: MOVED(int32_t)
        default: MOVED(int64_t)
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Bytes that are zero or not, as bits.

void JOIN(bits, VARIANT)(const Context *c, const Bits *p, int64_t rows) {
    const Slot *x = &c->program->slot[p->x], *out = &c->program->slot[p->out];
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = 0; i < p->positions; i++) {
            const uint8_t *from = row_of(c, x, r) + p->from[i];
            uint8_t *to = row_of(c, out, r) + p->to[i];
            int32_t count = 0;
            for (int64_t k = 0; k < p->length; k += 32, to += 4) {
                const int64_t left = p->length - k;
                uint8_t end[32] = {0};
                if (left < 32) {
                    memcpy(end, from + k, (size_t)left);
                }
                const uint32_t bits = bits_of(left < 32 ? end : from + k);
                count += (int32_t)ones(bits);
                for (int b = 0; b < 4; b++) {  // bytes in this order everywhere
                    to[b] = (uint8_t)(bits >> 8 * b);
                }
            }
            memcpy(to, &count, 4);
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Recurrent cells, between their products.

INLINE void lstm_rows(int near, const Context *c, const LstmCell *p, const Cell *q, int64_t rows) {
    for (int64_t r = 0; r < rows; r++) {
        const int32_t *z = (const int32_t *)row_of(c, &c->program->slot[p->z], r);
        for (int64_t e = 0; e < p->units; e += LANES) {
            vi sums[4][MOST_CELLS];
            for (int k = 0; k < 4; k++) {
                sums[k][0] = load(z + p->gate[k] + e);
            }
            cell_units(near, 1, 1, q, r, e, sums);
        }
    }
}

void JOIN(lstm, VARIANT)(const Context *c, const LstmCell *p, int64_t rows) {
    const Cell q = cell_for(c, p);
    if (q.near) {
        lstm_rows(1, c, p, &q, rows);
    } else {
        lstm_rows(0, c, p, &q, rows);
    }
}

const Engine JOIN(engine, VARIANT) = {.name = NULL,
                                      .any_dot8 = ANY_DOT8,
                                      .pack = JOIN(pack, VARIANT),
                                      .product = JOIN(product, VARIANT),
                                      .elementwise = JOIN(elementwise, VARIANT),
                                      .port_in = JOIN(port_in, VARIANT),
                                      .port_out = JOIN(port_out, VARIANT),
                                      .pool = JOIN(pool, VARIANT),
                                      .move = JOIN(move, VARIANT),
                                      .bits = JOIN(bits, VARIANT),
                                      .gates = JOIN(gates, VARIANT),
                                      .lstm = JOIN(lstm, VARIANT)};
