// Which level a staircase reaches: buckets of 2^shift integers, each with at most one threshold inside, so that one
// comparison finds it.

#ifndef ZAHLEN_LEVELS_H
#define ZAHLEN_LEVELS_H

#include "recurrent.h"
#include "vector.h"

INLINE int32_t level(const Stairs *s, int32_t z) {
    z = z < s->lo ? s->lo : z > s->hi ? s->hi : z;
    const int32_t k = s->base[(z - s->lo) >> s->shift];
    return k + (z >= s->thresholds[k]);
}

INLINE int32_t value(const Stairs *s, int32_t z) {
    return s->values[level(s, z)];
}

#endif
