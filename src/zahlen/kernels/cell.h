// A step of an LSTM between its product and its next state, a vector of units at a time.

#ifndef ZAHLEN_CELL_H
#define ZAHLEN_CELL_H

#include "program.h"
#include "stairs.h"
#include "vector.h"

typedef struct {
    const LstmCell *p;
    Steps open, candidate, squash, output;
    int near;  // all four of them; and narrow
    int32_t base, next_base, hidden_base;
    int wide, next_wide, hidden_wide;  // int16, else bytes
    const uint8_t *from;               // row 0
    uint8_t *to, *hidden;
    int64_t stride, next_stride, hidden_stride;
} Cell;

INLINE Cell cell_for(const Context *c, const LstmCell *p) {
    const Slot *slots = c->program->slot, *cell = &slots[p->c], *next = &slots[p->c_next], *hidden = &slots[p->h_next];
    Cell q = {.p = p, .open = steps_for(&p->open), .candidate = steps_for(&p->candidate)};
    q.squash = steps_for(&p->squash), q.output = steps_for(&p->output);
    q.near = q.open.small == NEAR && q.candidate.small == NEAR && q.squash.small == NEAR && q.output.small == NEAR &&
             q.open.narrow && q.candidate.narrow && q.squash.narrow && q.output.narrow;
    q.base = (int32_t)cell->base, q.next_base = (int32_t)next->base, q.hidden_base = (int32_t)hidden->base;
    q.wide = cell->type != U8, q.next_wide = next->type != U8, q.hidden_wide = hidden->type != U8;
    q.from = row_of(c, cell, 0), q.to = row_of(c, next, 0), q.hidden = row_of(c, hidden, 0);
    q.stride = cell->stride, q.next_stride = next->stride, q.hidden_stride = hidden->stride;
    return q;
}

INLINE vi value_of(int near, const Staircase *s, const Steps *q, vi v) {
    return near ? near_value(1, q, v) : q->small ? small_value(q, v) : gather(s->values, stairs(s, q, v));
}

INLINE void store_code(uint8_t *row, int wide, int64_t e, vi v) {
    if (wide) {
        store_s16((int16_t *)row + e, v);
    } else {
        store_bytes(row + e, v, LANES);
    }
}

// `some` vectors of units, `across` of each row, from unit e of a row on, from the sums of their gates: side by side,
// since one waits for itself. The last vector goes on into what is the row's, but nobody's.
#define MOST_CELLS 4
#define EACH_CELL _Pragma("GCC unroll 4") for (int v = 0; v < some; v++)
INLINE void cell_units(int near, int some, int across, const Cell *q, int64_t row, int64_t e, vi z[4][MOST_CELLS]) {
    const LstmCell *p = q->p;
    const vi half = fill(1 << (p->right - 1)), lo = fill((int32_t)p->lo), hi = fill((int32_t)p->hi);
    vi kept[MOST_CELLS], added[MOST_CELLS], state[MOST_CELLS], h[MOST_CELLS];
    EACH_CELL {
        const uint8_t *from = q->from + (row + v / across) * q->stride;
        const int64_t at = e + v % across * LANES;
        const vi old = q->wide ? load_s16((const int16_t *)from + at) : load_u8(from + at);
        kept[v] = product16(value_of(near, &p->open, &q->open, z[1][v]), add(old, fill(q->base)));
    }
    EACH_CELL {
        const vi g = value_of(near, &p->candidate, &q->candidate, z[2][v]);
        added[v] = product16(value_of(near, &p->open, &q->open, z[0][v]), g);
    }
    EACH_CELL {
        const vi sum = add(shift_left(kept[v], (int)p->old_shift), shift_left(added[v], (int)p->new_shift));
        state[v] = lesser(greater(shift_right(add(sum, half), (int)p->right), lo), hi);
        store_code(q->to + (row + v / across) * q->next_stride, q->next_wide, e + v % across * LANES,
                   subtract(state[v], fill(q->next_base)));
    }
    EACH_CELL {
        const vi o = value_of(near, &p->open, &q->open, z[3][v]);
        h[v] = product16(o, value_of(near, &p->squash, &q->squash, state[v]));
    }
    EACH_CELL {
        const vi code = subtract(value_of(near, &p->output, &q->output, h[v]), fill(q->hidden_base));
        store_code(q->hidden + (row + v / across) * q->hidden_stride, q->hidden_wide, e + v % across * LANES, code);
    }
}
#undef EACH_CELL

#endif
