// Finite automata: states in breadth-first order, and the coarsest partition that transitions respect.

#include "call.h"

#include <stdlib.h>
#include <string.h>

// ---------------------------------------------------------------------------------------------------------------------
// Breadth first: order[k] is the k-th state that is reached, number its inverse (-1: unreached). Returns how many are.

static int64_t reach(const int32_t *next, int64_t states, int64_t symbols, int64_t initial, int32_t *order,
                     int32_t *number) {
    memset(number, -1, (size_t)states * sizeof *number);
    int64_t found = 1;
    order[0] = (int32_t)initial;
    number[initial] = 0;
    for (int64_t done = 0; done < found; done++) {
        const int32_t *row = next + order[done] * symbols;
        for (int64_t a = 0; a < symbols; a++) {
            if (number[row[a]] < 0) {
                number[row[a]] = (int32_t)found;
                order[found++] = row[a];
            }
        }
    }
    return found;
}

// ---------------------------------------------------------------------------------------------------------------------
// Hopcroft, "An n log n algorithm for minimizing states in a finite automaton" (1971), with the partition kept as in
// Valmari and Lehtinen (STACS 2008): a block is a piece of one array, and what is marked of it stands at its front.

typedef struct {
    int32_t *elements, *place;         // states block by block, and where each stands
    int32_t *block;                    // of each state
    int32_t *first, *end, *marked;     // of each block
    int32_t *before, *start;           // states that lead to s under a: before[start[a (n + 1) + s]..]
    int32_t *touched, *waiting, *kept; // blocks with marks; blocks to split by; the splitter's states
    int64_t blocks, waiting_count;
} Partition;

static void partition_free(Partition *p) {
    free(p->elements), free(p->place), free(p->first), free(p->end), free(p->marked), free(p->before), free(p->start);
    free(p->touched), free(p->waiting), free(p->kept);
}

static int partition_make(Partition *p, int64_t states, int64_t symbols) {
    const size_t n = (size_t)states, k = (size_t)symbols;
    int32_t **const lists[] = {&p->elements, &p->place, &p->first, &p->end, &p->marked, &p->touched, &p->waiting, &p->kept};
    int fine = 1;
    for (size_t j = 0; j < sizeof lists / sizeof *lists; j++) {
        *lists[j] = malloc(n * sizeof(int32_t));
        fine = fine && *lists[j] != NULL;
    }
    p->before = malloc(n * k * sizeof(int32_t));
    p->start = calloc(k * (n + 1), sizeof(int32_t));
    return fine && p->before != NULL && p->start != NULL;
}

static void invert(Partition *p, const int32_t *next, int64_t states, int64_t symbols) {
    for (int64_t a = 0; a < symbols; a++) {
        int32_t *start = p->start + a * (states + 1), *before = p->before + a * states;
        for (int64_t s = 0; s < states; s++) {
            start[next[s * symbols + a]]++;
        }
        int32_t sum = 0;
        for (int64_t s = 0; s <= states; s++) {
            sum += s < states ? start[s] : 0;
            start[s] = sum;
        }
        for (int64_t s = states - 1; s >= 0; s--) {
            before[--start[next[s * symbols + a]]] = (int32_t)s;
        }
    }
}

// Blocks 0.. as the labels say; all but a largest one wait.
static void divide(Partition *p, int64_t states, int64_t labels) {
    memset(p->end, 0, (size_t)labels * sizeof *p->end);
    for (int64_t s = 0; s < states; s++) {
        p->end[p->block[s]]++;
    }
    int32_t sum = 0, largest = 0;
    for (int64_t b = 0; b < labels; b++) {
        largest = p->end[b] > p->end[largest] ? (int32_t)b : largest;
    }
    for (int64_t b = 0; b < labels; b++) {
        const int32_t size = p->end[b];
        p->first[b] = p->marked[b] = p->end[b] = sum;
        sum += size;
    }
    for (int64_t s = 0; s < states; s++) {
        p->place[s] = p->end[p->block[s]]++;
        p->elements[p->place[s]] = (int32_t)s;
    }
    p->blocks = labels;
    for (int64_t b = 0; b < labels; b++) {
        if (b != largest) {
            p->waiting[p->waiting_count++] = (int32_t)b;
        }
    }
}

static void mark(Partition *p, int32_t s, int64_t *touched) {
    const int32_t b = p->block[s], at = p->place[s], to = p->marked[b];
    if (at < to) {
        return;
    }
    if (to == p->first[b]) {
        p->touched[(*touched)++] = b;
    }
    const int32_t other = p->elements[to];
    p->elements[at] = other, p->place[other] = at;
    p->elements[to] = s, p->place[s] = to;
    p->marked[b]++;
}

// The marked part of a block becomes a block, or the rest of it if that is smaller.
static void split(Partition *p, int32_t b) {
    const int32_t first = p->first[b], middle = p->marked[b], end = p->end[b], c = (int32_t)p->blocks;
    p->marked[b] = first;
    if (middle == end) {
        return;
    }
    if (middle - first <= end - middle) {
        p->first[c] = first, p->end[c] = middle, p->first[b] = middle, p->marked[b] = middle;
    } else {
        p->first[c] = middle, p->end[c] = end, p->end[b] = middle;
    }
    p->marked[c] = p->first[c];
    for (int32_t k = p->first[c]; k < p->end[c]; k++) {
        p->block[p->elements[k]] = c;
    }
    p->blocks++;
    // c is the smaller part: it waits, whether b did or not
    p->waiting[p->waiting_count++] = c;
}

// Returns the number of blocks, or -1 without memory. `block` says which label a state has, then which block.
static int64_t refine(const int32_t *next, int64_t states, int64_t symbols, int64_t labels, int32_t *block) {
    Partition p = {.block = block};
    if (!partition_make(&p, states, symbols)) {
        partition_free(&p);
        return -1;
    }
    invert(&p, next, states, symbols);
    divide(&p, states, labels);
    while (p.waiting_count > 0) {
        const int32_t splitter = p.waiting[--p.waiting_count];
        // the splitter may be split while it splits, so its states are kept as they were
        const int64_t size = p.end[splitter] - p.first[splitter];
        memcpy(p.kept, p.elements + p.first[splitter], (size_t)size * sizeof *p.kept);
        for (int64_t a = 0; a < symbols; a++) {
            const int32_t *start = p.start + a * (states + 1), *before = p.before + a * states;
            int64_t touched = 0;
            for (int64_t k = 0; k < size; k++) {
                for (int32_t j = start[p.kept[k]]; j < start[p.kept[k] + 1]; j++) {
                    mark(&p, before[j], &touched);
                }
            }
            while (touched > 0) {
                split(&p, p.touched[--touched]);
            }
        }
    }
    const int64_t blocks = p.blocks;
    partition_free(&p);
    return blocks;
}

// ---------------------------------------------------------------------------------------------------------------------
// For Python.

static int below(const int32_t *values, int64_t count, int64_t limit) {
    for (int64_t k = 0; k < count; k++) {
        if (values[k] < 0 || values[k] >= limit) {
            return 0;
        }
    }
    return 1;
}

static PyObject *reach_(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    if (!begin(&call, args, "iII", 1)) {
        return NULL;
    }
    const int64_t states = COUNT(1), symbols = states == 0 ? 0 : COUNT(0) / states, initial = call.number[0];
    if (states < 1 || COUNT(2) != states || COUNT(0) != states * symbols || initial < 0 || initial >= states ||
        !below(AT(0), COUNT(0), states)) {
        return unfit(&call, "reach: not a table of transitions");
    }
    int64_t found;
    RUN(found = reach(AT(0), states, symbols, initial, AT(1), AT(2)));
    return PyLong_FromLongLong(found);
}

static PyObject *refine_(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    if (!begin(&call, args, "iI", 1)) {
        return NULL;
    }
    const int64_t states = COUNT(1), symbols = states == 0 ? 0 : COUNT(0) / states, labels = call.number[0];
    if (states < 1 || COUNT(0) != states * symbols || labels < 1 || labels > states ||
        !below(AT(0), COUNT(0), states) || !below(AT(1), states, labels)) {
        return unfit(&call, "refine: not a table of transitions, or a label that is none of them");
    }
    int64_t blocks;
    RUN(blocks = refine(AT(0), states, symbols, labels, AT(1)));
    return blocks < 0 ? PyErr_NoMemory() : PyLong_FromLongLong(blocks);
}

static PyMethodDef methods[] = {
    {"reach", reach_, METH_VARARGS, "reach(transitions, order, number, initial): how many states are reached"},
    {"refine", refine_, METH_VARARGS, "refine(transitions, block, labels): how many blocks there are"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "zahlen.kernels._native.automata", "Finite automata.", -1, methods, 0, 0, 0, 0};

PyObject *automata_module(void) { return PyModule_Create(&module); }
