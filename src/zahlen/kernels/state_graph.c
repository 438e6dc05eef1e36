// The graph of a map of a finite set into itself, for Python: its successors, its image, its cycles and what leads there.

#include "call.h"

#if defined(__GNUC__)
#define PREFETCH(p) __builtin_prefetch(p)
#else
#define PREFETCH(p) (void)(p)
#endif

// ---------------------------------------------------------------------------------------------------------------------
// Successors: a sum over elements of tables, each at a place that is itself a sum, of a part of the first digits of a
// state's number and one of the last.

typedef struct {
    const int32_t *table;
    int64_t step;             // where the table has two values: the first place of the second
    uint32_t before, behind;  // these
    int is_step;
} Element;

static Element element_of(const int32_t *table, int64_t size) {
    Element e = {table, size, (uint32_t)table[0], 0, 1};
    for (int64_t k = 1; k < size && e.is_step; k++) {
        if (table[k] != table[k - 1]) {
            e.is_step = e.step == size;
            e.step = k;
            e.behind = (uint32_t)table[k] - e.before;
        }
    }
    return e;
}

static void add_element(const Element *e, const int32_t *inner, int32_t outer, int64_t width, uint32_t *out) {
    if (e->is_step) {
        const int64_t rest = e->step - outer;
        const int32_t least = rest < INT32_MIN ? INT32_MIN : rest > INT32_MAX ? INT32_MAX : (int32_t)rest;
        const uint32_t before = e->before, behind = e->behind;
        for (int64_t k = 0; k < width; k++) {
            out[k] += before + (inner[k] >= least ? behind : 0);
        }
    } else {
        const int32_t *table = e->table + outer;
        for (int64_t k = 0; k < width; k++) {
            out[k] += (uint32_t)table[inner[k]];
        }
    }
}

// (inner (elements, width), outer (elements, rows), sizes (elements), tables, out (rows, width)); the places of inner
// are not negative.
static PyObject *successors(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    if (!begin(&call, args, "iiiiI", 0)) {
        return NULL;
    }
    const int64_t elements = COUNT(2), width = elements > 0 ? COUNT(0) / elements : 0;
    const int64_t rows = elements > 0 ? COUNT(1) / elements : 0;
    const int32_t *inner = AT(0), *outer = AT(1), *sizes = AT(2), *tables = AT(3);
    int fits = elements > 0 && elements <= 64 && width > 0 && rows > 0 && COUNT(0) == elements * width &&
               COUNT(1) == elements * rows && COUNT(4) == rows * width;
    Element table[64];
    int64_t used = 0;
    for (int64_t e = 0; fits && e < elements; e++) {
        int64_t low[2] = {INT32_MAX, INT32_MAX}, high[2] = {INT32_MIN, INT32_MIN};
        for (int64_t k = 0; k < width; k++) {
            const int32_t v = inner[e * width + k];
            low[0] = v < low[0] ? v : low[0], high[0] = v > high[0] ? v : high[0];
        }
        for (int64_t k = 0; k < rows; k++) {
            const int32_t v = outer[e * rows + k];
            low[1] = v < low[1] ? v : low[1], high[1] = v > high[1] ? v : high[1];
        }
        fits = sizes[e] > 0 && sizes[e] <= COUNT(3) - used && low[0] >= 0 && low[1] >= 0 &&
               high[0] + high[1] < sizes[e];
        if (fits) {
            table[e] = element_of(tables + used, sizes[e]);
            used += sizes[e];
        }
    }
    if (!fits) {
        return unfit(&call, "successors: places outside the tables, or arrays of other lengths");
    }
    uint32_t *out = AT(4);
    Py_BEGIN_ALLOW_THREADS;
    for (int64_t r = 0; r < rows; r++) {
        memset(out + r * width, 0, (size_t)width * sizeof *out);
        for (int64_t e = 0; e < elements; e++) {
            add_element(&table[e], inner + e * width, outer[e * rows + r], width, out + r * width);
        }
    }
    Py_END_ALLOW_THREADS;
    done(&call);
    Py_RETURN_NONE;
}

// (table, words, start, stop): sets the bit of each state that follows one of these.
static PyObject *image(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    if (!begin(&call, args, "iQ", 2)) {
        return NULL;
    }
    const int64_t states = COUNT(0), start = call.number[0], stop = call.number[1];
    int sound = start >= 0 && start <= stop && stop <= states && COUNT(1) >= (states + 63) / 64;
    const int32_t *table = AT(0);
    uint64_t *words = AT(1);
    Py_BEGIN_ALLOW_THREADS;
    for (int64_t s = start; sound && s < stop; s++) {
        if (s + 16 < stop && table[s + 16] >= 0 && table[s + 16] < states) {
            PREFETCH(&words[table[s + 16] >> 6]);
        }
        sound = table[s] >= 0 && table[s] < states;
        if (sound) {
            words[table[s] >> 6] |= 1ULL << (table[s] & 63);
        }
    }
    Py_END_ALLOW_THREADS;
    if (!sound) {
        return unfit(&call, "image: a successor is no state, or arrays of other lengths");
    }
    done(&call);
    Py_RETURN_NONE;
}

// ---------------------------------------------------------------------------------------------------------------------
// Cycles and what leads there. A state's successor is replaced by its class: which attractor it ends in, and after how
// many steps. A walk from a state that has none marks its way as current, until it meets a class or itself.

enum { KNOWN = 1 << 30, CURRENT = 1 << 29, REST = CURRENT - 1 };

typedef struct {
    int32_t attractor, transient, up, down, count;  // up, down: one step further from the attractor, and nearer to it
} Class;

typedef struct {
    int32_t least, period;
} Attractor;

typedef struct {
    int32_t *table;
    int64_t states;
    Class *classes;
    Attractor *attractors;
    int64_t room[2], used[2];  // classes, attractors
    int sound;
} Walk;

static int32_t new_class(Walk *w, int32_t attractor, int32_t transient, int32_t down) {
    w->classes[w->used[0]] = (Class){attractor, transient, -1, down, 0};
    return (int32_t)w->used[0]++;
}

// How many more classes are due; 0 after the states from here on have theirs.
static int64_t walk_from(Walk *w, int32_t start) {
    int32_t *table = w->table, at = start, value;
    int64_t length = 0;
    while (!((value = table[at]) & (KNOWN | CURRENT))) {
        if (value < 0 || value >= w->states) {
            w->sound = 0;
            return 0;
        }
        table[at] = value | CURRENT;
        at = value;
        length++;
    }
    int32_t least = at, nearest = value & REST, above = 0;
    int64_t period = 0, missing;
    if (value & KNOWN) {
        if (nearest >= w->used[0]) {
            w->sound = 0;
            return 0;
        }
        int64_t there = 0;
        for (above = nearest; there < length && w->classes[above].up >= 0; there++) {
            above = w->classes[above].up;
        }
        missing = length - there;
    } else {
        int32_t on = at;
        do {
            least = on < least ? on : least;
            on = table[on] & REST;
            period++;
        } while (on != at);
        missing = length - period + 1;
    }
    if (missing > w->room[0] - w->used[0] || (period > 0 && w->used[1] == w->room[1])) {
        for (int32_t on = start; table[on] & CURRENT; on = table[on]) {
            table[on] &= ~CURRENT;
        }
        return missing > 0 ? missing : 1;
    }
    if (period > 0) {
        w->attractors[w->used[1]] = (Attractor){least, (int32_t)period};
        above = nearest = new_class(w, (int32_t)w->used[1]++, 0, -1);
        missing--;
        w->classes[nearest].count += (int32_t)period;
        for (int64_t k = 0; k < period; k++) {
            const int32_t next = table[at] & REST;
            table[at] = KNOWN | nearest;
            at = next;
        }
        length -= period;
    }
    for (; missing > 0; missing--) {
        const int32_t further =
            new_class(w, w->classes[above].attractor, w->classes[above].transient + 1, above);
        w->classes[above].up = further;
        above = further;
    }
    at = start;
    for (; length > 0; length--) {
        const int32_t next = table[at] & REST;
        table[at] = KNOWN | above;
        w->classes[above].count++;
        above = w->classes[above].down;
        at = next;
    }
    return 0;
}

// (table, classes, attractors, used, start, stop): where it stopped for want of room, else stop; used: classes and
// attractors so far, and how many classes more are due.
static PyObject *walk(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    if (!begin(&call, args, "IIIQ", 2)) {
        return NULL;
    }
    int64_t *used = AT(3), s = call.number[0];
    const int64_t stop = call.number[1];
    Walk w = {AT(0), COUNT(0), AT(1), AT(2), {COUNT(1) / 5, COUNT(2) / 2}, {0, 0}, 1};
    if (COUNT(3) != 3 || w.states > 1 << 28 || s < 0 || s > stop || stop > w.states || used[0] < 0 ||
        used[0] > w.room[0] || used[1] < 0 || used[1] > w.room[1]) {
        return unfit(&call, "walk: arrays of other lengths");
    }
    w.used[0] = used[0], w.used[1] = used[1];
    Py_BEGIN_ALLOW_THREADS;
    for (used[2] = 0; s < stop; s++) {
        if (s + 16 < w.states && !(w.table[s + 16] & ~REST)) {
            PREFETCH(&w.table[w.table[s + 16]]);
        }
        if (!(w.table[s] & KNOWN) && ((used[2] = walk_from(&w, (int32_t)s)) > 0 || !w.sound)) {
            break;
        }
    }
    Py_END_ALLOW_THREADS;
    used[0] = w.used[0], used[1] = w.used[1];
    if (!w.sound) {
        return unfit(&call, "walk: a successor is no state");
    }
    done(&call);
    return PyLong_FromLongLong(s);
}

// ---------------------------------------------------------------------------------------------------------------------

static PyMethodDef methods[] = {
    {"successors", successors, METH_VARARGS, "successors(inner, outer, sizes, tables, out)"},
    {"image", image, METH_VARARGS, "image(table, words, start, stop)"},
    {"walk", walk, METH_VARARGS, "walk(table, classes, attractors, used, start, stop): where it stopped"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "zahlen.kernels._native.state_graph",
                                    "Graphs of maps of a finite set into itself.", -1, methods, 0, 0, 0, 0};

PyObject *state_graph_module(void) { return PyModule_Create(&module); }
