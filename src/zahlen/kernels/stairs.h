// How many thresholds of a staircase are at or below an integer, a vector at a time.

#ifndef ZAHLEN_STAIRS_H
#define ZAHLEN_STAIRS_H

#include "program.h"
#include "vector.h"

// Sixteen values at most are chosen from registers: by a bucket of which each holds one threshold at most, where
// there are such, else by a search.
enum { LARGE, SEARCHED, NEAR };

typedef struct {
    int32_t lo, hi, before, factor, behind;  // of buckets
    const int32_t *table, *values;
    int small, narrow;
} Steps;

INLINE Steps steps_for(const Staircase *s) {
    Steps r = {.lo = s->lo, .hi = s->hi, .before = s->shift, .table = s->base, .values = s->values, .small = LARGE};
#if LANES == 16
    if (s->form == LINEAR && s->base != NULL) {
        r.small = NEAR;
        r.narrow = s->shift == 0;
        r.factor = s->base[NEAR_BUCKETS], r.behind = s->base[NEAR_BUCKETS + 1];
    } else if (s->form == LINEAR && s->count <= 15) {
        r.small = SEARCHED;
        r.table = s->thresholds;
    }
#endif
    return r;
}

#if LANES == 16
// `narrow`: nothing is to be shifted before.
typedef struct {
    vi lo, hi, before, factor, behind, table[2], values;
} Near;

// What needs it often has it in registers.
INLINE Near near_for(const Steps *q, int needed) {
    if (!needed) {
        return (Near){.lo = fill(0)};
    }
    return (Near){.lo = fill(q->lo), .hi = fill(q->hi), .before = fill(q->before), .factor = fill(q->factor),
                  .behind = fill(q->behind), .table = {load(q->table), load(q->table + LANES)},
                  .values = load(q->values)};
}

INLINE vi near_with(int narrow, const Near *q, vi v) {
    const vi y = subtract(lesser(greater(v, q->lo), q->hi), q->lo);
    const vi bucket = _mm512_mulhi_epu16(narrow ? y : _mm512_srlv_epi32(y, q->before), q->factor);
    const vi entry = _mm512_permutex2var_epi32(q->table[0], bucket, q->table[1]);
    return _mm512_permutexvar_epi32(_mm512_srlv_epi32(add(y, entry), q->behind), q->values);
}

INLINE vi near_value(int narrow, const Steps *q, vi v) {
    const Near near = near_for(q, 1);
    return near_with(narrow, &near, v);
}
// Four comparisons.
INLINE vi searched_value(const Steps *q, vi v) {
    const vi by_four = load(q->table + 3), by_two = load(q->table + 1), by_one = load(q->table);
    vi k = _mm512_maskz_mov_epi32(_mm512_cmpge_epi32_mask(v, fill(q->table[7])), fill(8));
    k = _mm512_mask_add_epi32(k, _mm512_cmpge_epi32_mask(v, _mm512_permutexvar_epi32(k, by_four)), k, fill(4));
    k = _mm512_mask_add_epi32(k, _mm512_cmpge_epi32_mask(v, _mm512_permutexvar_epi32(k, by_two)), k, fill(2));
    k = _mm512_mask_add_epi32(k, _mm512_cmpge_epi32_mask(v, _mm512_permutexvar_epi32(k, by_one)), k, fill(1));
    return _mm512_permutexvar_epi32(k, load(q->values));
}
INLINE vi small_value(const Steps *q, vi v) { return q->small == NEAR ? near_value(0, q, v) : searched_value(q, v); }
#else
typedef struct {
    int none;
} Near;
INLINE Near near_for(const Steps *q, int needed) {
    (void)q;
    return (Near){needed};
}
INLINE vi near_with(int narrow, const Near *q, vi v) {
    (void)narrow, (void)q;
    return v;
}
INLINE vi near_value(int narrow, const Steps *q, vi v) {
    (void)narrow, (void)q;
    return v;
}
INLINE vi small_value(const Steps *q, vi v) { return near_value(0, q, v); }
#endif

// How many thresholds are at or below v.
INLINE vi stairs(const Staircase *s, const Steps *q, vi v) {
    if (s->form == LINEAR) {
        vi count = fill(COUNTS_TOGETHER ? s->count : 0);
        for (int32_t t = 0; t < s->count; t++) {
            const vi threshold = fill(s->thresholds[t]);
            count = COUNTS_TOGETHER ? count_unless(count, v, threshold) : count_if(count, v, threshold);
        }
        return count;
    }
    const vi bucket = shift_right(subtract(lesser(greater(v, fill(q->lo)), fill(q->hi)), fill(q->lo)), s->shift);
    const vi base = gather(s->base, bucket);
    return count_if(base, v, gather(s->thresholds, base));
}

#endif
