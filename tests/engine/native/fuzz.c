// Feeds program_read with what libFuzzer makes of real programs, and runs what it accepts: no index that the reader
// let pass may leave its memory. A file is the number of words (int64), the words, the constants.
//
// run.c is included, not linked: each run gets memory of its own, and the sanitizer is told where it ends.

#include <sanitizer/asan_interface.h>
#include <string.h>

// run.c clears what it asked for, and has room for whole pages
static void *clear(void *at, int value, size_t bytes) {
    __asan_poison_memory_region((uint8_t *)at + bytes, (4096 - bytes % 4096) % 4096);
    return memset(at, value, bytes);
}
#define memset clear
#include "run.c"
#undef memset

#include "ports.h"

#define MOST_BYTES (4 << 20)
#define MOST_WORK (1 << 22)
#define BATCH 5
#define TIMES 3

extern size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

static uint64_t next(uint64_t *s) {
    *s ^= *s << 13, *s ^= *s >> 7, *s ^= *s << 17;
    return *s * 0x2545F4914F6CDD1Du;
}

// ---------------------------------------------------------------------------------------------------------------------
// Running.

static double work_of(const Instruction *i) {
    switch (i->op) {
    case PRODUCT: {
        const Product *p = &i->product;
        return (double)p->positions * (double)p->channels * (double)(p->segments * p->length + p->thresholds);
    }
    case ELEMENTWISE: {
        double each = 1;
        for (int64_t k = 0; k < i->elementwise.works; k++) {
            const Work *w = &i->elementwise.work[k];
            each += 1 + (w->kind == STAIRS_PER_CHANNEL ? (double)w->count : w->kind == STAIRS ? w->stairs.count : 0);
        }
        return (double)i->elementwise.elements * each;
    }
    case POOL: return (double)i->pool.windows * (double)i->pool.size * (double)i->pool.channels;
    case MOVE: return (double)i->move.count;
    case EMBEDDING: return (double)i->embedding.indices * (double)i->embedding.width;
    case ARGMAX:
    case SUM: return (double)i->along.outer * (double)i->along.length * (double)i->along.inner;
    case CONSTANT_ROW: return (double)i->constant.bytes;
    case BITS: return (double)i->bits.positions * (double)i->bits.length;
    case LSTM_CELL: {
        const LstmCell *p = &i->lstm;
        const int32_t steps = p->open.count + p->candidate.count + p->squash.count + p->output.count;
        return (double)p->units * (20.0 + steps);
    }
    case GATES: return (double)i->gates.gates + 64.0 * (double)(i->gates.inputs + i->gates.outputs);
    case PORT_IN:
    case PORT_OUT: return (double)i->port.elements;
    default: abort();  // a new kind of instruction
    }
}

static int is_small(const Program *p, int64_t batch, int64_t times) {
    double bytes = (double)p->strips, work = 0;
    for (int h = 0; h < HOMES; h++) {
        bytes += (double)p->row_bytes[h] * (double)(h == STATE ? batch : batch * times);
    }
    for (int64_t k = 0; k < p->instructions; k++) {
        work += work_of(&p->instruction[k]) * (double)(batch * times);
    }
    return bytes < MOST_BYTES && work < MOST_WORK;
}

// Arrays of one kind, each of a size by chance, mostly with values that are allowed.
static Array *arrays(const Port **ports, int64_t count, int64_t batch, int64_t times, uint64_t *random) {
    Array *all = calloc((size_t)count + 1, sizeof(Array));
    for (int64_t k = 0; k < count; k++) {
        Array *a = &all[k];
        const Port *p = ports[k];
        const uint64_t choice = next(random);
        a->size = 1 << (choice & 3), a->is_signed = choice >> 2 & 1;
        a->time_stride = p->elements * a->size, a->batch_stride = a->time_stride * times;
        a->at = malloc((size_t)(a->batch_stride * batch) + (size_t)(batch == 0));
        for (int64_t e = 0; e < p->elements * batch * times; e++) {
            const uint64_t span = (uint64_t)p->hi - (uint64_t)p->lo, chance = next(random);
            uint64_t v = chance;
            if ((chance >> 40) % 4096 != 0) {
                const uint64_t steps = span / (uint64_t)p->step + 1;
                v = (uint64_t)p->lo + (steps == 0 ? chance : chance % steps) * (uint64_t)p->step;
            }
            switch (a->size) {
            case 1: ((uint8_t *)a->at)[e] = (uint8_t)v; break;
            case 2: ((uint16_t *)a->at)[e] = (uint16_t)v; break;
            case 4: ((uint32_t *)a->at)[e] = (uint32_t)v; break;
            default: ((uint64_t *)a->at)[e] = v;
            }
        }
    }
    return all;
}

static void free_arrays(Array *all, int64_t count) {
    for (int64_t k = 0; k < count; k++) {
        free(all[k].at);
    }
    free(all);
}

static void run(Program *p, const Ports *s, const Engine *e, uint64_t random) {
    const uint64_t choice = next(&random);
    const int64_t batch = 1 + (int64_t)(choice % BATCH);
    const int64_t times = p->register_count == 0 ? 1 : 1 + (int64_t)(choice >> 8 & 255) % TIMES;
    if (!is_small(p, batch, times)) {
        return;
    }
    Array *in = arrays(s->input, p->inputs, batch, times, &random);
    Array *out = arrays(s->output, p->outputs, batch, times, &random);
    Array *from = arrays(s->state, p->register_count, batch, 1, &random);
    Array *to = arrays(s->state, p->register_count, batch, 1, &random);
    Task call = {.inputs = in, .outputs = out, .batch = batch, .times = times, .threads = 1};
    call.states_in = choice >> 16 & 1 ? from : NULL;
    call.states_out = choice >> 17 & 1 ? to : NULL;
    uint8_t *kept = NULL;
    if (choice >> 18 & 1) {
        call.kept = kept = aligned_alloc(64, (size_t)(p->row_bytes[STATE] / 64 * batch + 4) * 64);  // as Python is told
        program_reset(p, kept, batch);
    }
    program_run(p, e, &call);
    free(kept);
    free(arena.at);
    arena.at = NULL, arena.bytes = 0, keep(NULL);
    free_arrays(in, p->inputs), free_arrays(out, p->outputs);
    free_arrays(from, p->register_count), free_arrays(to, p->register_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const Engine *const engines[] = {&engine_portable,
#ifdef VECTOR
                                            &JOIN(engine, VECTOR)
#endif
    };
    int64_t count;
    if (size < 8) {
        return 0;
    }
    memcpy(&count, data, 8);
    if (count < 0 || (uint64_t)count > (size - 8) / 8) {
        return 0;
    }
    int64_t *words = malloc((size_t)count * 8 + 1);
    memcpy(words, data + 8, (size_t)count * 8);
    uint64_t random = 0x9E3779B97F4A7C15u;
    for (size_t k = 0; k < size; k++) {
        random = (random ^ data[k]) * 0x100000001B3u;
    }
    for (size_t k = 0; k < sizeof engines / sizeof *engines; k++) {
        const char *reason = NULL;
        Program *p = program_read(words, count, data + 8 + count * 8, (int64_t)(size - 8) - count * 8, &reason);
        if (p == NULL) {
            if (reason == NULL) {
                abort();
            }
            break;
        }
        Ports s;
        if (find_ports(p, &s) && is_small(p, 1, 1) && pack_products(p, engines[k])) {
            run(p, &s, engines[k], random | 1);
        }
        free_ports(&s);
        program_free(p);
    }
    free(words);
    return 0;
}

// ---------------------------------------------------------------------------------------------------------------------
// Mutations that keep a program in its form: single words, and single constants.

static int64_t number(uint64_t *random, const int64_t *words, int64_t count, int64_t old) {
    static const int64_t special[] = {-1,  0,   1,     2,     4,       12,      63,      64,        127,       128,
                                      255, 256, 32767, 65536, 1 << 24, 1 << 28, 1 << 30, INT32_MAX, INT32_MIN,
                                      INT64_MAX, INT64_MIN, 1LL << 32, 1LL << 40, 1LL << 62};
    const uint64_t r = next(random);
    switch (r % 8) {
    case 0: return special[(r >> 8) % (sizeof special / sizeof *special)];
    case 1: return (int64_t)((uint64_t)old + 1);
    case 2: return (int64_t)((uint64_t)old - 1);
    case 3: return (int64_t)((uint64_t)old * 2);
    case 4: return old / 2;
    case 5: return words[(r >> 8) % (uint64_t)count];
    case 6: return (int64_t)((uint64_t)old + 64 * ((r >> 8) % 7 - 3));
    default: return (int64_t)((r >> 8) % 16);
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
    uint64_t random = ((uint64_t)seed + 1) * 0x9E3779B97F4A7C15u;
    int64_t count = 0;
    if (size >= 16) {
        memcpy(&count, data, 8);
    }
    if (count < 1 || (uint64_t)count > (size - 8) / 8 || next(&random) % 16 == 0) {
        return LLVMFuzzerMutate(data, size, max_size);
    }
    int64_t *words = malloc((size_t)count * 8);
    memcpy(words, data + 8, (size_t)count * 8);
    uint8_t *constants_ = data + 8 + count * 8;
    const size_t bytes = size - 8 - (size_t)count * 8;
    for (uint64_t changes = 1 + next(&random) % 3; changes > 0; changes--) {
        const uint64_t at = next(&random) % (uint64_t)count, r = next(&random);
        if (r % 8 < 5 || bytes < 4) {
            words[at] = number(&random, words, count, words[at]);
        } else if (r % 8 == 5) {
            const uint64_t other = next(&random) % (uint64_t)count;
            const int64_t kept = words[at];
            words[at] = words[other], words[other] = kept;
        } else {
            int32_t v;
            uint8_t *place = constants_ + next(&random) % (bytes / 4) * 4;
            memcpy(&v, place, 4);
            v = (int32_t)number(&random, words, count, v);
            memcpy(place, &v, 4);
        }
    }
    memcpy(data + 8, words, (size_t)count * 8);
    free(words);
    return size;
}
