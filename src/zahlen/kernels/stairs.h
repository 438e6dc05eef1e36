// How many thresholds of a staircase are at or below an integer, a vector at a time.

#ifndef ZAHLEN_STAIRS_H
#define ZAHLEN_STAIRS_H

#include "program.h"
#include "vector.h"

typedef struct {
    vi lo, hi;  // of buckets
    int small;  // sixteen values at most, in registers
#if LANES == 16
    vi first, table[3], values;
#endif
} Steps;

INLINE Steps steps_for(const Staircase *s) {
    Steps r = {.lo = fill(s->lo), .hi = fill(s->hi), .small = 0};
#if LANES == 16
    if (s->form == LINEAR && s->count <= 15) {
        const int32_t *t = s->thresholds;
        r.small = 1;
        r.first = fill(t[7]);
        r.table[0] = load(t + 3), r.table[1] = load(t + 1), r.table[2] = load(t);
        r.values = load(s->values);
    }
#endif
    return r;
}

#if LANES == 16
// A search of four comparisons in tables that lie in registers.
INLINE vi small_value(const Steps *q, vi v) {
    vi k = _mm512_maskz_mov_epi32(_mm512_cmpge_epi32_mask(v, q->first), fill(8));
    k = _mm512_mask_add_epi32(k, _mm512_cmpge_epi32_mask(v, _mm512_permutexvar_epi32(k, q->table[0])), k, fill(4));
    k = _mm512_mask_add_epi32(k, _mm512_cmpge_epi32_mask(v, _mm512_permutexvar_epi32(k, q->table[1])), k, fill(2));
    k = _mm512_mask_add_epi32(k, _mm512_cmpge_epi32_mask(v, _mm512_permutexvar_epi32(k, q->table[2])), k, fill(1));
    return _mm512_permutexvar_epi32(k, q->values);
}
#else
INLINE vi small_value(const Steps *q, vi v) {
    (void)q;
    return v;
}
#endif

// How many thresholds are at or below v.
INLINE vi stairs(const Staircase *s, const Steps *q, vi v) {
    if (s->form == LINEAR) {
        vi count = fill(0);
        for (int32_t t = 0; t < s->count; t++) {
            count = count_if(count, v, fill(s->thresholds[t]));
        }
        return count;
    }
    const vi bucket = shift_right(subtract(lesser(greater(v, q->lo), q->hi), q->lo), s->shift);
    const vi base = gather(s->base, bucket);
    return count_if(base, v, gather(s->thresholds, base));
}

#endif
