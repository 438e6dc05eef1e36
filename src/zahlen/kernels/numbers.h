// Rounding and clamping.

#ifndef ZAHLEN_NUMBERS_H
#define ZAHLEN_NUMBERS_H

#include "train.h"
#include "vector.h"

INLINE int64_t scaled(int64_t x, Scale s) { return (x * s.factor + ((1LL << s.shift) >> 1)) >> s.shift; }

INLINE int32_t clamped(int64_t x, int32_t limit, int64_t *count) {
    const int32_t y = x > limit ? limit : x < -limit ? -limit : (int32_t)x;
    *count += y != x;
    return y;
}

#endif
