// Runs a packed program: tiles of the batch, one a thread at a time; inside a tile, time.

#include <stdlib.h>
#include <string.h>

#include "program.h"

#ifndef _WIN32
#include <pthread.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif

static const int type_size[TYPES] = {1, 2, 4, 8};

// ---------------------------------------------------------------------------------------------------------------------
// What is rare enough to go element by element.

static int64_t element(const Slot *s, const uint8_t *row, int64_t e) {
    switch (s->type) {
    case U8: return row[e];
    case S16: return ((const int16_t *)row)[e];
    case S32: return ((const int32_t *)row)[e];
    default: return ((const int64_t *)row)[e];
    }
}

static void put(const Slot *s, uint8_t *row, int64_t e, int64_t value) {
    switch (s->type) {
    case U8: row[e] = (uint8_t)value; return;
    case S16: ((int16_t *)row)[e] = (int16_t)value; return;
    case S32: ((int32_t *)row)[e] = (int32_t)value; return;
    default: ((int64_t *)row)[e] = value; return;
    }
}

static void embedding(const Context *c, const Embedding *m, int64_t rows) {
    const Slot *x = &c->program->slot[m->x], *out = &c->program->slot[m->out];
    const int64_t bytes = m->width * type_size[out->type];
    for (int64_t r = 0; r < rows; r++) {
        const uint8_t *from = row_of(c, x, r);
        uint8_t *to = row_of(c, out, r);
        for (int64_t k = 0; k < m->indices; k++) {
            const uint64_t symbol = (uint64_t)x->base + (uint64_t)x->step * (uint64_t)element(x, from, k);
            memcpy(to + k * bytes, (const uint8_t *)m->table + (symbol < (uint64_t)m->symbols ? symbol : 0) * (uint64_t)bytes,
                   (size_t)bytes);
        }
    }
}

static void along(const Context *c, const Along *a, int sum, int64_t rows) {
    const Slot *x = &c->program->slot[a->x], *out = &c->program->slot[a->out];
    for (int64_t r = 0; r < rows; r++) {
        const uint8_t *from = row_of(c, x, r);
        uint8_t *to = row_of(c, out, r);
        for (int64_t o = 0; o < a->outer; o++) {
            for (int64_t i = 0; i < a->inner; i++) {
                const int64_t first = o * a->length * a->inner + i;
                uint64_t total = 0;
                int64_t best = 0, most = element(x, from, first);
                for (int64_t k = 0; k < a->length; k++) {
                    const int64_t v = element(x, from, first + k * a->inner);
                    total += (uint64_t)x->base + (uint64_t)x->step * (uint64_t)v;
                    if (v > most) {
                        most = v, best = k;
                    }
                }
                put(out, to, o * a->inner + i, (sum ? (int64_t)total : best) - out->base);
            }
        }
    }
}

static void constant(const Context *c, const Constant *k, int64_t rows) {
    const Slot *out = &c->program->slot[k->out];
    for (int64_t r = 0; r < rows; r++) {
        memcpy(row_of(c, out, r), k->rows, (size_t)k->bytes);
    }
}

static int section(const Context *c, const Engine *e, int which, int64_t rows) {
    const Program *p = c->program;
    int fine = 1;
    for (int64_t k = p->first[which]; k < p->first[which + 1]; k++) {
        const Instruction *i = &p->instruction[k];
        switch (i->op) {
        case PORT_IN: fine &= e->port_in(c, &i->port, rows); break;
        case PORT_OUT: e->port_out(c, &i->port, rows); break;
        case PRODUCT:
            e->product(c, &i->product, rows);
            k += i->product.cell != NULL;  // which is done
            break;
        case ELEMENTWISE: e->elementwise(c, &i->elementwise, rows); break;
        case POOL: e->pool(c, &i->pool, rows); break;
        case MOVE: e->move(c, &i->move, rows); break;
        case BITS: e->bits(c, &i->bits, rows); break;
        case GATES: e->gates(c, &i->gates, rows); break;
        case LSTM_CELL: e->lstm(c, &i->lstm, rows); break;
        case EMBEDDING: embedding(c, &i->embedding, rows); break;
        case ARGMAX: along(c, &i->along, 0, rows); break;
        case SUM: along(c, &i->along, 1, rows); break;
        default: constant(c, &i->constant, rows);
        }
    }
    return fine;
}

// ---------------------------------------------------------------------------------------------------------------------
// Time.

static void initial(const Context *c, int64_t rows) {
    for (int64_t k = 0; k < c->program->register_count; k++) {
        const Register *q = &c->program->registers[k];
        for (int64_t r = 0; r < rows; r++) {
            memcpy(row_of(c, &c->program->slot[q->state], r), q->initial, (size_t)q->bytes);
        }
    }
}

// Registers take their successors' values, all at once: none is a successor of another within a step.
static void advance(const Context *c, int64_t rows) {
    for (int64_t k = 0; k < c->program->register_count; k++) {
        const Register *q = &c->program->registers[k];
        const Slot *state = &c->program->slot[q->state], *next = &c->program->slot[q->next];
        memcpy(row_of(c, state, 0), row_of(c, next, 0), (size_t)(rows * state->stride));
    }
}

static int tile(Context *c, const Engine *e, const Task *call, int64_t rows) {
    static _Thread_local int64_t turns;
    const Program *p = c->program;
    int fine = 1;
    c->batches = rows, c->time = 0, c->first = 0;
    if (call->states_in != NULL) {
        fine &= section(c, e, START, rows);
    } else if (call->kept == NULL) {
        initial(c, rows);
    }
    const int64_t at_once = c->rows[TIMED] / rows;
    for (int64_t t = 0; t < call->times && fine; t += at_once) {
        const int64_t times = call->times - t < at_once ? call->times - t : at_once;
        c->time = t, c->first = 0;
        fine &= section(c, e, BEFORE, rows * times);
        for (int64_t k = 0; fine && p->register_count > 0 && k < times; k++) {
            c->time = t + k, c->first = k * rows, c->turn = (int)(turns++ & 1);
            fine &= section(c, e, EACH, rows);
            advance(c, rows);
        }
        c->time = t, c->first = 0;
        fine &= section(c, e, AFTER, rows * times);
    }
    if (call->states_out != NULL) {
        c->time = 0, c->first = 0;
        section(c, e, END, rows);
    }
    return fine;
}

// ---------------------------------------------------------------------------------------------------------------------
// Memory, kept by each thread for its next call.

typedef struct {
    uint8_t *at;
    size_t bytes;
} Arena;

static _Thread_local Arena arena;

#ifndef _WIN32
// A thread that ends gives its memory back.
static pthread_key_t arena_key;
static void make_key(void) { pthread_key_create(&arena_key, free); }
static void keep(void *at) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_key);
    pthread_setspecific(arena_key, at);
}
#else
static void keep(void *at) { (void)at; }
#endif

static uint8_t *room(size_t bytes) {
    if (arena.bytes < bytes) {
        free(arena.at);
        arena.at = aligned_alloc(64, (bytes + 4095) / 4096 * 4096);
        arena.bytes = arena.at == NULL ? 0 : bytes;
        keep(arena.at);
        if (arena.at != NULL) {
            memset(arena.at, 0, bytes);  // rows are read to the end of a vector, which then counts for nothing
        }
    }
    return arena.at;
}

static size_t up(int64_t bytes) { return (size_t)((bytes + 63) / 64 * 64); }

void program_reset(const Program *p, uint8_t *kept, int64_t batch) {
    Context c = {.program = p};
    c.home[STATE] = kept, c.rows[STATE] = batch;
    initial(&c, batch);
}

typedef struct {
    const Program *p;
    const Engine *e;
    const Task *call;
    uint8_t *states;  // NULL: in the arena
    int64_t tile_rows, capacity;
    size_t scratch, timed, strips, state;
} Job;

static int tile_at(const Job *j, int64_t k) {
    uint8_t *at = room(j->scratch + j->timed + j->strips + j->state + 256);
    if (at == NULL) {
        return NO_MEMORY;
    }
    const Task *call = j->call;
    Context c = {.program = j->p, .inputs = call->inputs, .outputs = call->outputs};
    c.states_in = call->states_in, c.states_out = call->states_out;
    c.home[SCRATCH] = at, c.home[TIMED] = at + j->scratch, c.strips = at + j->scratch + j->timed;
    c.home[STATE] = j->states == NULL ? c.strips + j->strips : j->states;
    c.rows[SCRATCH] = c.rows[TIMED] = j->capacity, c.rows[STATE] = call->batch;
    c.batch = k * j->tile_rows;
    const int64_t left = call->batch - c.batch;
    return tile(&c, j->e, call, left < j->tile_rows ? left : j->tile_rows) ? DONE : OUTSIDE;
}

// The threads of an OpenMP team do not live on in a forked process, which would wait for them without end.
#if defined(_OPENMP) && !defined(_WIN32)
static int forked;
static void after_fork(void) { forked = 1; }
__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, after_fork); }
#else
enum { forked = 0 };
#endif

// Apart, so that calls on one thread pay nothing for it.
static void in_parallel(const Job *job, int64_t tiles, int threads, int *status) {
#ifdef _OPENMP
#pragma omp parallel for schedule(static) num_threads(threads)
#endif
    for (int64_t k = 0; k < tiles; k++) {
        const int found = tile_at(job, k);
        if (found != DONE) {
#ifdef _OPENMP
#pragma omp critical
#endif
            *status = found;
        }
    }
    (void)threads;
}

int program_run(Program *p, const Engine *e, const Task *call) {
    if (p->row_bytes[STATE] > 0 && call->batch > INT64_MAX / 2 / p->row_bytes[STATE]) {
        return NO_MEMORY;
    }
    // a tile holds `rows` rows of all homes; times are taken together until it does
    int64_t tile_rows = p->rows < call->batch ? p->rows : call->batch;
    if (call->threads > 1 && call->batch < p->rows * call->threads) {
        tile_rows = (call->batch + call->threads - 1) / call->threads;
    }
    tile_rows = tile_rows < 1 ? 1 : tile_rows;
    int64_t at_once = p->register_count == 0 ? 1 : p->rows / tile_rows;
    at_once = at_once > call->times ? call->times : at_once;
    at_once = at_once < 1 ? 1 : at_once;
    const int64_t capacity = tile_rows * at_once, tiles = (call->batch + tile_rows - 1) / tile_rows;
    const size_t scratch = up(p->row_bytes[SCRATCH] * capacity), timed = up(p->row_bytes[TIMED] * capacity);
    const size_t strips = up(p->strips), state = up(p->row_bytes[STATE] * call->batch);
    uint8_t *states = call->kept;
    int status = DONE;
    uint8_t *own = NULL;
    if (states == NULL && p->register_count > 0 && tiles > 1) {
        states = own = aligned_alloc(64, state + 64);
        if (own == NULL) {
            return NO_MEMORY;
        }
    }
    const int inside = states == NULL;  // one tile: its states lie in the arena
    Job job = {p, e, call, states, tile_rows, capacity, scratch, timed, strips, inside ? state : 0};
    if (call->threads <= 1 || tiles == 1 || forked) {
        for (int64_t k = 0; k < tiles; k++) {
            const int found = tile_at(&job, k);
            status = found != DONE ? found : status;
        }
    } else {
        in_parallel(&job, tiles, call->threads, &status);
    }
    free(own);
    return status;
}
