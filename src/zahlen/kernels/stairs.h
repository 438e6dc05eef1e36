// How many thresholds of a staircase are at or below an integer, a vector at a time.

#ifndef ZAHLEN_STAIRS_H
#define ZAHLEN_STAIRS_H

#include "program.h"
#include "vector.h"

typedef struct {
    vi lo, hi;  // of buckets
#if LANES == 16
    vi first, table[4];
#endif
} Steps;

INLINE Steps steps_for(const Staircase *s) {
    Steps r = {.lo = fill(s->lo), .hi = fill(s->hi)};
#if LANES == 16
    if (s->form == LINEAR && s->count <= 15) {
        int32_t t[32];
        for (int k = 0; k < 32; k++) {
            t[k] = k < s->count ? s->thresholds[k] : INT32_MAX;
        }
        r.first = fill(t[7]);
        r.table[0] = load(t + 3), r.table[1] = load(t + 1), r.table[2] = load(t);
    }
#endif
    return r;
}

// How many thresholds are at or below v.
INLINE vi stairs(const Staircase *s, const Steps *q, vi v) {
    if (s->form == LINEAR) {
#if LANES == 16
        if (s->count <= 15) {
            // a search of four comparisons; the table holds sixteen thresholds
            const vi one = fill(1), two = fill(2), four = fill(4);
            vi k = _mm512_maskz_mov_epi32(_mm512_cmpge_epi32_mask(v, q->first), fill(8));
            k = _mm512_mask_add_epi32(k, _mm512_cmpge_epi32_mask(v, _mm512_permutexvar_epi32(k, q->table[0])), k, four);
            k = _mm512_mask_add_epi32(k, _mm512_cmpge_epi32_mask(v, _mm512_permutexvar_epi32(k, q->table[1])), k, two);
            return _mm512_mask_add_epi32(k, _mm512_cmpge_epi32_mask(v, _mm512_permutexvar_epi32(k, q->table[2])), k,
                                         one);
        }
#endif
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
