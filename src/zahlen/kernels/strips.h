// One operation of elementwise work on a strip of T, which work.c includes for 32 and for 64 bits. Sums wrap as U do:
// what is proven is that the machine's do not.

#define EACH for (int64_t i = 0; i < n; i++)
#define LOADED(D)                                                                                                      \
    {                                                                                                                  \
        const D *from = (const D *)at;                                                                                 \
        const U base = (U)s->base, step = (U)s->step;                                                                  \
        if (step == 1) {                                                                                               \
            EACH to[i] = (T)(base + (U)from[i]);                                                                       \
        } else {                                                                                                       \
            EACH to[i] = (T)(base + step * (U)from[i]);                                                                \
        }                                                                                                              \
        return;                                                                                                        \
    }
// code = (v - base) / step, exactly: by the inverse of step's odd part
#define SAVED(D)                                                                                                       \
    {                                                                                                                  \
        D *into = (D *)at;                                                                                             \
        if (s->step == 1) {                                                                                            \
            const U base = (U)s->base;                                                                                 \
            EACH into[i] = (D)((U)a[i] - base);                                                                        \
        } else {                                                                                                       \
            const U base = (U)s->base, inverse = (U)w->q;                                                              \
            const int shift = (int)w->r;                                                                               \
            EACH into[i] = (D)(((U)((T)((U)a[i] - base) >> shift)) * inverse);                                         \
        }                                                                                                              \
        return;                                                                                                        \
    }

// `at`: where each register's strip is; what a slot holds as T is read in place.
static void NAME(work)(const Context *c, const Elementwise *p, const Work *w, int64_t row, int64_t first, int64_t n,
                       const void **at_) {
    T *to = (T *)c->strips + w->to * (int64_t)STRIP;
    const T *a = at_[w->a], *b = at_[w->b];
    at_[w->to] = to;
    switch (w->kind) {
    case LOAD: {
        const Slot *s = &c->program->slot[w->slot];
        static const int size[TYPES] = {1, 2, 4, 8};
        const uint8_t *at = row_of(c, s, row) + (first + w->p) * size[s->type];
        if (size[s->type] == sizeof(T) && s->base == 0 && s->step == 1) {
            at_[w->to] = at;
            return;
        }
        switch (s->type) {
        case U8: LOADED(uint8_t)
        case S16: LOADED(int16_t)
        case S32: LOADED(int32_t)
        default: LOADED(int64_t)
        }
    }
    case SAVE: {
        const Slot *s = &c->program->slot[w->slot];
        static const int size[TYPES] = {1, 2, 4, 8};
        uint8_t *at = row_of(c, s, row) + (first + w->p) * size[s->type];
        switch (s->type) {
        case U8: SAVED(uint8_t)
        case S16: SAVED(int16_t)
        case S32: SAVED(int32_t)
        default: SAVED(int64_t)
        }
    }
    case CONSTANT:
        memcpy(to, (const T *)w->table + first, (size_t)n * sizeof(T));
        return;
    case FILL: EACH to[i] = (T)w->p; return;
    case ADD: EACH to[i] = (T)((U)a[i] + (U)b[i]); return;
    case SUB: EACH to[i] = (T)((U)a[i] - (U)b[i]); return;
    case MUL: EACH to[i] = (T)((U)a[i] * (U)b[i]); return;
    case MIN: EACH to[i] = a[i] < b[i] ? a[i] : b[i]; return;
    case MAX: EACH to[i] = a[i] > b[i] ? a[i] : b[i]; return;
    case NEG: EACH to[i] = (T)(0 - (U)a[i]); return;
    case CLAMP: {
        const T lo = (T)w->p, hi = (T)w->q;
        EACH {
            const T v = a[i] < lo ? lo : a[i];
            to[i] = v > hi ? hi : v;
        }
        return;
    }
    case RIGHT: {
        const int bits = (int)w->p;
        EACH to[i] = a[i] >> bits;
        return;
    }
    case HALF_UP: {
        const int bits = (int)w->p;
        EACH to[i] = (T)((U)a[i] + ((U)1 << (bits - 1))) >> bits;
        return;
    }
    case LEFT: {
        const int bits = (int)w->p;
        EACH to[i] = (T)((U)a[i] << bits);
        return;
    }
    case STAIRS: {
        if (sizeof(T) == 4) {
            const Steps steps = steps_for(&w->stairs);
            // registers are whole strips: what lies behind the last element is counted in vain
            for (int64_t i = 0; i < n; i += LANES) {
                const vi v = load((const int32_t *)a + i);
                store((int32_t *)to + i, steps.small ? small_value(&steps, v)
                                                     : gather(w->stairs.values, stairs(&w->stairs, &steps, v)));
            }
            return;
        }
        const T *t = w->table, *values = t + w->count;
        EACH {
            int64_t k = 0;
            for (int64_t half = w->count; half > 0;) {  // the first threshold above is in k..k + half
                const int64_t middle = half / 2;
                if (t[k + middle] <= a[i]) {
                    k += middle + 1, half -= middle + 1;
                } else {
                    half = middle;
                }
            }
            to[i] = values[k];
        }
        return;
    }
    case STAIRS_PER_CHANNEL: {
        // thresholds (count, elements), then values (count + 1, elements)
        const T *t = w->table, *values = t + w->count * p->elements;
        T count[STRIP] = {0};
        for (int64_t k = 0; k < w->count; k++) {
            const T *edge = t + k * p->elements + first;
            EACH count[i] += a[i] >= edge[i];
        }
        EACH to[i] = values[(int64_t)count[i] * p->elements + first + i];
        return;
    }
    case LOOKUP: {  // an index that no machine has reads entry 0
        const T *table = w->table;
        const T base = (T)w->p, step = (T)w->q;
        const U count = (U)w->count;
        EACH {
            const U k = step == 1 ? (U)a[i] - (U)base : (U)((T)((U)a[i] - (U)base) / step);
            to[i] = table[k < count ? k : 0];
        }
        return;
    }
    default: {  // LOOKUP2, of `columns` columns
        const T *table = w->table;
        const T step = (T)w->q, step2 = (T)w->b_step;
        const U columns = (U)w->columns, count = (U)w->count;
        EACH {
            const U k = (U)((T)((U)a[i] - (U)w->p) / step) * columns + (U)((T)((U)b[i] - (U)w->r) / step2);
            to[i] = table[k < count ? k : 0];
        }
        return;
    }
    }
}
#undef EACH
#undef LOADED
#undef SAVED
