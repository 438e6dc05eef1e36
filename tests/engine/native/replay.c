// Replays cases that packed.py wrote: a packed program, what goes in, and what the reference says comes out. Every
// byte is compared, on several threads, in small tiles, and step by step.
//
//   replay CASE...            compare
//   replay --threads CASE...  compare what several threads make of one program at a time
//   replay --count CASE       run it once for nothing, then once more in counted(), for a counter of instructions
//
// A case is int64 numbers in this machine's order of bytes: words, bytes of constants, batch, times, inputs, outputs,
// registers, 1 if states go in and come out; then, each filled up to whole numbers, the words, the constants, and of
// every input, output, state before and state after: bytes of an element, 1 if signed, bytes, and these.

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "ports.h"

typedef struct {
    const uint8_t *at;
    size_t left;
} File;

static void stop(const char *name, const char *reason) {
    fprintf(stderr, "%s: %s\n", name, reason);
    exit(1);
}

static void *room(size_t bytes) {
    void *at = malloc(bytes + (bytes == 0));
    if (at == NULL) {
        stop("replay", "no memory");
    }
    return at;
}

// A copy with an end of its own, which a sanitizer sees.
static uint8_t *taken(File *f, size_t bytes) {
    const size_t whole = (bytes + 7) / 8 * 8;
    if (whole < bytes || whole > f->left) {
        stop("replay", "a case ends too early");
    }
    uint8_t *copy = room(bytes);
    memcpy(copy, f->at, bytes);
    f->at += whole, f->left -= whole;
    return copy;
}

static int64_t number(File *f) {
    int64_t value;
    uint8_t *bytes = taken(f, 8);
    memcpy(&value, bytes, 8);
    free(bytes);
    return value;
}

typedef struct {
    Array array;
    size_t bytes;
} Block;

static Block block(File *f, int64_t elements, int64_t batch, int64_t times) {
    Block b;
    b.array.size = (int32_t)number(f), b.array.is_signed = (int32_t)number(f);
    b.bytes = (size_t)number(f);
    b.array.time_stride = elements * b.array.size, b.array.batch_stride = b.array.time_stride * times;
    if ((int64_t)b.bytes != b.array.batch_stride * batch) {
        stop("replay", "an array has another size");
    }
    b.array.at = taken(f, b.bytes);
    return b;
}

typedef struct {
    const char *name;
    Program *program;
    Ports ports;
    int64_t batch, times, inputs, outputs, registers, states;
    Array *in, *before;                // as they are
    Block *due, *after;                // what must come out
    Array *out, *found;                // what does
} Case;

static uint8_t *whole_file(const char *name, size_t *bytes) {
    FILE *file = fopen(name, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        stop(name, "cannot be read");
    }
    *bytes = (size_t)ftell(file);
    rewind(file);
    uint8_t *all = room(*bytes);
    if (fread(all, 1, *bytes, file) != *bytes) {
        stop(name, "cannot be read");
    }
    fclose(file);
    return all;
}

static Array *arrays_like(const Block *blocks, int64_t count) {
    Array *all = room((size_t)count * sizeof(Array));
    for (int64_t k = 0; k < count; k++) {
        all[k] = blocks[k].array;
        all[k].at = room(blocks[k].bytes);
    }
    return all;
}

static Case read_case(const char *name, const Engine *engine) {
    Case c = {.name = name};
    size_t bytes;
    uint8_t *all = whole_file(name, &bytes);
    File f = {all, bytes};
    const int64_t words = number(&f), data = number(&f);
    c.batch = number(&f), c.times = number(&f);
    c.inputs = number(&f), c.outputs = number(&f), c.registers = number(&f), c.states = number(&f);
    int64_t *word = (int64_t *)(void *)taken(&f, (size_t)words * 8);
    uint8_t *constants = taken(&f, (size_t)data);
    const char *reason = NULL;
    c.program = program_read(word, words, constants, data, &reason);
    free(word), free(constants);
    if (c.program == NULL) {
        stop(name, reason);
    }
    const Program *p = c.program;
    if (p->inputs != c.inputs || p->outputs != c.outputs || p->register_count != c.registers) {
        stop(name, "it has other arrays than its program");
    }
    if (!find_ports(p, &c.ports) || !pack_products(c.program, engine)) {
        stop(name, "it has no ports, or is for another kind of processor");
    }
    const int64_t counts[4] = {c.inputs, c.outputs, c.states ? c.registers : 0, c.states ? c.registers : 0};
    const Port **const ports[4] = {c.ports.input, c.ports.output, c.ports.state, c.ports.state};
    Block *blocks[4];
    for (int kind = 0; kind < 4; kind++) {
        blocks[kind] = room((size_t)counts[kind] * sizeof(Block));
        for (int64_t k = 0; k < counts[kind]; k++) {
            blocks[kind][k] = block(&f, ports[kind][k]->elements, c.batch, kind < 2 ? c.times : 1);
        }
    }
    if (f.left != 0) {
        stop(name, "more follows");
    }
    free(all);
    c.due = blocks[1], c.after = blocks[3];
    c.out = arrays_like(c.due, counts[1]), c.found = arrays_like(c.after, counts[3]);
    c.in = room((size_t)counts[0] * sizeof(Array)), c.before = room((size_t)counts[2] * sizeof(Array));
    for (int64_t k = 0; k < counts[0]; k++) {
        c.in[k] = blocks[0][k].array;
    }
    for (int64_t k = 0; k < counts[2]; k++) {
        c.before[k] = blocks[2][k].array;
    }
    free(blocks[0]), free(blocks[2]);
    return c;
}

static void free_arrays(Array *all, int64_t count) {
    for (int64_t k = 0; k < count; k++) {
        free(all[k].at);
    }
    free(all);
}

static void free_case(Case *c) {
    const int64_t states = c->states ? c->registers : 0;
    for (int64_t k = 0; k < c->outputs; k++) {
        free(c->due[k].array.at);
    }
    for (int64_t k = 0; k < states; k++) {
        free(c->after[k].array.at);
    }
    free_arrays(c->in, c->inputs), free_arrays(c->out, c->outputs);
    free_arrays(c->before, states), free_arrays(c->found, states);
    free(c->due), free(c->after);
    free_ports(&c->ports);
    program_free(c->program);
}

// ---------------------------------------------------------------------------------------------------------------------

static void spoil(const Block *due, const Array *found, int64_t count) {
    for (int64_t k = 0; k < count; k++) {
        for (size_t i = 0; i < due[k].bytes; i++) {
            ((uint8_t *)found[k].at)[i] = (uint8_t)~((uint8_t *)due[k].array.at)[i];
        }
    }
}

static void compare(const Case *c, const char *how, const char *what, const Block *due, const Array *found,
                    int64_t count) {
    for (int64_t k = 0; k < count; k++) {
        for (size_t i = 0; i < due[k].bytes; i++) {
            if (((uint8_t *)found[k].at)[i] != ((uint8_t *)due[k].array.at)[i]) {
                fprintf(stderr, "%s: %s: %s %lld differs at byte %llu of %llu\n", c->name, how, what, (long long)k,
                        (unsigned long long)i, (unsigned long long)due[k].bytes);
                exit(1);
            }
        }
    }
}

static Task task(const Case *c, int threads) {
    Task call = {.inputs = c->in, .outputs = c->out, .batch = c->batch, .times = c->times, .threads = threads};
    if (c->states) {
        call.states_in = c->before, call.states_out = c->found;
    }
    return call;
}

static void at_once(Case *c, const Engine *e, int threads, int64_t rows) {
    char how[60];
    snprintf(how, sizeof how, "%d threads, %lld rows a tile", threads, (long long)rows);
    const int64_t kept = c->program->rows, states = c->states ? c->registers : 0;
    c->program->rows = rows;
    spoil(c->due, c->out, c->outputs), spoil(c->after, c->found, states);
    const Task call = task(c, threads);
    if (program_run(c->program, e, &call) != DONE) {
        stop(c->name, how);
    }
    compare(c, how, "output", c->due, c->out, c->outputs);
    compare(c, how, "state", c->after, c->found, states);
    c->program->rows = kept;
}

// A stream keeps its state between calls of one step each; it begins with the initial one.
static void step_by_step(Case *c, const Engine *e) {
    uint8_t *kept = aligned_alloc(64, (size_t)(c->program->row_bytes[STATE] / 64 * c->batch + 4) * 64);
    if (kept == NULL) {
        stop("replay", "no memory");
    }
    program_reset(c->program, kept, c->batch);
    spoil(c->due, c->out, c->outputs);
    Array *in = room((size_t)c->inputs * sizeof(Array)), *out = room((size_t)c->outputs * sizeof(Array));
    for (int64_t t = 0; t < c->times; t++) {
        memcpy(in, c->in, (size_t)c->inputs * sizeof(Array)), memcpy(out, c->out, (size_t)c->outputs * sizeof(Array));
        for (int64_t k = 0; k < c->inputs; k++) {
            in[k].at = (uint8_t *)in[k].at + t * in[k].time_stride;
        }
        for (int64_t k = 0; k < c->outputs; k++) {
            out[k].at = (uint8_t *)out[k].at + t * out[k].time_stride;
        }
        const Task call = {.inputs = in, .outputs = out, .batch = c->batch, .times = 1, .kept = kept, .threads = 1};
        if (program_run(c->program, e, &call) != DONE) {
            stop(c->name, "a step");
        }
    }
    compare(c, "step by step", "output", c->due, c->out, c->outputs);
    free(kept), free(in), free(out);
}

// ---------------------------------------------------------------------------------------------------------------------
// Threads of the caller's own: they share the program and what goes in.

#define CALLERS 3

typedef struct {
    const Case *c;
    const Engine *engine;
    Array *out, *found;
    int status;
} Caller;

static void *called(void *at) {
    Caller *caller = at;
    for (int k = 0; k < 2 && caller->status == DONE; k++) {
        Task call = task(caller->c, 1);
        call.outputs = caller->out;
        call.states_out = call.states_out == NULL ? NULL : caller->found;
        caller->status = program_run(caller->c->program, caller->engine, &call);
    }
    return NULL;
}

static void side_by_side(Case *c, const Engine *e) {
    pthread_t thread[CALLERS];
    Caller caller[CALLERS];
    const int64_t states = c->states ? c->registers : 0;
    for (int k = 0; k < CALLERS; k++) {
        caller[k] = (Caller){c, e, arrays_like(c->due, c->outputs), arrays_like(c->after, states), DONE};
        spoil(c->due, caller[k].out, c->outputs), spoil(c->after, caller[k].found, states);
        if (pthread_create(&thread[k], NULL, called, &caller[k]) != 0) {
            stop("replay", "no thread");
        }
    }
    for (int k = 0; k < CALLERS; k++) {
        pthread_join(thread[k], NULL);
        if (caller[k].status != DONE) {
            stop(c->name, "a thread did not run");
        }
        compare(c, "side by side", "output", c->due, caller[k].out, c->outputs);
        compare(c, "side by side", "state", c->after, caller[k].found, states);
        free_arrays(caller[k].out, c->outputs), free_arrays(caller[k].found, states);
    }
}

__attribute__((noinline)) static int counted(Case *c, const Engine *e) {
    const Task call = task(c, 1);
    return program_run(c->program, e, &call);
}

int main(int argc, char **argv) {
    const Engine *engine = &JOIN(engine, VARIANT);
    const int counting = argc > 1 && strcmp(argv[1], "--count") == 0;
    const int threading = argc > 1 && strcmp(argv[1], "--threads") == 0, first = 1 + counting + threading;
    for (int k = first; k < argc; k++) {
        Case c = read_case(argv[k], engine);
        if (counting) {
            const Task call = task(&c, 1);
            if (program_run(c.program, engine, &call) != DONE || counted(&c, engine) != DONE) {
                stop(c.name, "it did not run");
            }
            compare(&c, "counted", "output", c.due, c.out, c.outputs);
        } else if (threading) {
            side_by_side(&c, engine);
        } else {
            static const int threads[] = {1, 2, 3, 7};
            for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
                at_once(&c, engine, threads[t], c.program->rows);
            }
            for (int64_t rows = 1; rows <= 5 && rows < c.program->rows; rows += 2) {
                at_once(&c, engine, 2, rows);
            }
            if (!c.states && c.registers > 0) {
                step_by_step(&c, engine);
            }
        }
        free_case(&c);
    }
    printf("%d\n", argc - first);
    return 0;
}
