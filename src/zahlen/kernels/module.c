// The extension module zahlen.kernels._native: checks buffers, lets other threads run, calls the kernels.

#include "binding.h"

#include <string.h>

#include "dispatch.h"

static const Recurrent *recurrent;  // of the variant in use

// ---------------------------------------------------------------------------------------------------------------------
// Plans: what a cell is made of, read from one array of int32 and checked once.

static const char *const names[KINDS] = {"lstm", "gru", "rnn"};

static int take(const int32_t **at, const int32_t *end, int64_t count, const int32_t **to) {
    if (count < 0 || end - *at < count) {
        return 0;
    }
    *to = *at;
    *at += count;
    return 1;
}

int stairs_read(Stairs *s, const int32_t **at, const int32_t *end) {
    const int32_t *head;
    if (!take(at, end, 5, &head)) {
        return 0;
    }
    s->lo = head[0], s->hi = head[1], s->shift = head[2], s->levels = head[3], s->buckets = head[4];
    if (s->levels < 1 || s->buckets < 1 || s->shift < 0 || s->shift > 30 || s->hi < s->lo) {
        return 0;
    }
    if ((int64_t)s->hi - s->lo > INT32_MAX || ((s->hi - s->lo) >> s->shift) >= s->buckets) {
        return 0;
    }
    if (!take(at, end, s->buckets, &s->base) || !take(at, end, s->levels, &s->thresholds) ||
        !take(at, end, s->levels, &s->values)) {
        return 0;
    }
    for (int32_t b = 0; b < s->buckets; b++) {
        if (s->base[b] < 0 || s->base[b] >= s->levels) {
            return 0;
        }
    }
    return s->thresholds[s->levels - 1] > s->hi;  // or a level beyond the last would be reached
}

static int read_plan(Plan *plan, int64_t count) {
    const int32_t *at = plan->numbers, *end = at + count;
    const int32_t *numbers;
    switch (plan->kind) {
    case LSTM: {
        Lstm *p = &plan->lstm;
        if (!stairs_read(&p->gate, &at, end) || !stairs_read(&p->candidate, &at, end) || !stairs_read(&p->squash, &at, end) ||
            !stairs_read(&p->output, &at, end) || !take(&at, end, 5, &numbers)) {
            return 0;
        }
        p->old_factor = numbers[0], p->new_factor = numbers[1], p->half = numbers[2];
        p->shift = numbers[3], p->limit = numbers[4];
        if (p->shift < 0 || p->shift > 30) {
            return 0;
        }
        break;
    }
    case GRU: {
        Gru *p = &plan->gru;
        if (!stairs_read(&p->gate, &at, end) || !stairs_read(&p->candidate, &at, end) || !stairs_read(&p->output, &at, end)) {
            return 0;
        }
        break;
    }
    default:
        if (!stairs_read(&plan->rnn, &at, end)) {
            return 0;
        }
    }
    return at == end;
}

const Plan *plan_of(PyObject *capsule, int kind) {
    if (capsule == NULL) {
        PyErr_SetString(PyExc_TypeError, "the plan of a cell is due");
        return NULL;
    }
    const Plan *plan = PyCapsule_GetPointer(capsule, "zahlen.plan");
    if (plan != NULL && plan->kind != kind) {
        PyErr_SetString(PyExc_ValueError, "the plan is of another cell");
        return NULL;
    }
    return plan;
}

static void free_plan(PyObject *capsule) {
    PyMem_Free(PyCapsule_GetPointer(capsule, "zahlen.plan"));
}

// Whether the elements have one of these types (letters as in Python's struct) and this size.
static int holds(const Py_buffer *buffer, const char *types, int size) {
    const char *format = buffer->format;
    return format != NULL && format[0] != 0 && format[1] == 0 && strchr(types, format[0]) != NULL &&
           buffer->itemsize == size;
}

static PyObject *make_plan(PyObject *self, PyObject *args) {
    (void)self;
    const char *name;
    PyObject *array;
    Py_buffer numbers;
    if (!PyArg_ParseTuple(args, "sO", &name, &array) ||
        PyObject_GetBuffer(array, &numbers, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) != 0) {
        return NULL;
    }
    if (!holds(&numbers, "il", 4)) {
        PyErr_SetString(PyExc_TypeError, "the numbers of a cell are int32");
        PyBuffer_Release(&numbers);
        return NULL;
    }
    PyObject *result = NULL;
    Plan *plan = PyMem_Malloc(sizeof(Plan) + (size_t)numbers.len);
    if (plan == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    for (plan->kind = 0; plan->kind < KINDS && strcmp(names[plan->kind], name) != 0; plan->kind++) {
    }
    memcpy(plan->numbers, numbers.buf, (size_t)numbers.len);
    if (plan->kind == KINDS || !read_plan(plan, numbers.len / 4)) {
        PyErr_SetString(PyExc_ValueError, "not the numbers of a cell");
        goto done;
    }
    result = PyCapsule_New(plan, "zahlen.plan", free_plan);
done:
    if (result == NULL) {
        PyMem_Free(plan);
    }
    PyBuffer_Release(&numbers);
    return result;
}

// ---------------------------------------------------------------------------------------------------------------------
// Calls: (plan, units, buffers..). Every buffer has rows * units * its own width elements, float32 or int16.

typedef struct {
    int width;         // elements per unit; 0 for the slopes, which are as many in any case
    int size;          // bytes of an element
    const char *type;  // letter of an element
    int writable;
} Shape;

#define MOST 8

typedef struct {
    Plan *plan;
    int64_t rows, units;
    Py_buffer buffers[MOST];
    int count;
} Call;

static void release(Call *call) {
    for (int k = 0; k < call->count; k++) {
        PyBuffer_Release(&call->buffers[k]);
    }
}

static int begin(Call *call, PyObject *args, int kind, const Shape *shapes, int count) {
    call->count = 0;
    if (PyTuple_Size(args) != 2 + count) {
        PyErr_Format(PyExc_TypeError, "%d arguments are due", 2 + count);
        return 0;
    }
    call->plan = PyCapsule_GetPointer(PyTuple_GetItem(args, 0), "zahlen.plan");
    if (call->plan == NULL) {
        return 0;
    }
    call->units = PyLong_AsLongLong(PyTuple_GetItem(args, 1));
    if (call->units == -1 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError)) {
            return 0;
        }
        PyErr_Clear();
    }
    if (call->plan->kind != kind || call->units < 1 || call->units > 1 << 24) {
        PyErr_SetString(PyExc_ValueError, "the plan is of another cell, or there are no units");
        return 0;
    }
    call->rows = -1;
    for (int k = 0; k < count; k++) {
        const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (shapes[k].writable ? PyBUF_WRITABLE : 0);
        Py_buffer *buffer = &call->buffers[k];
        if (PyObject_GetBuffer(PyTuple_GetItem(args, 2 + k), buffer, flags) != 0) {
            release(call);
            return 0;
        }
        call->count++;
        if (!holds(buffer, shapes[k].type, shapes[k].size)) {
            PyErr_Format(PyExc_TypeError, "the elements of buffer %d are of another type", k);
            release(call);
            return 0;
        }
        const int64_t row = call->units * shapes[k].width * shapes[k].size;
        const int64_t rows = row == 0 ? call->rows : buffer->len / row;
        const int64_t due = shapes[k].width == 0 ? (int64_t)sizeof(Slopes) : rows * row;
        if (buffer->len != due || (call->rows >= 0 && rows != call->rows)) {
            PyErr_Format(PyExc_ValueError, "buffer %d has %zd bytes, which does not fit", k, buffer->len);
            release(call);
            return 0;
        }
        call->rows = rows;
    }
    return 1;
}

#define AT(k) (call.buffers[k].buf)
#define CELL(function, kind_, shapes_, ...)                                                                            \
    static PyObject *function##_(PyObject *self, PyObject *args) {                                                     \
        (void)self;                                                                                                    \
        static const Shape shapes[] = shapes_;                                                                         \
        Call call;                                                                                                     \
        if (!begin(&call, args, kind_, shapes, (int)(sizeof shapes / sizeof *shapes))) {                               \
            return NULL;                                                                                               \
        }                                                                                                              \
        Py_BEGIN_ALLOW_THREADS recurrent->function(__VA_ARGS__);                                                                  \
        Py_END_ALLOW_THREADS release(&call);                                                                           \
        Py_RETURN_NONE;                                                                                                \
    }
#define LIST(...) {__VA_ARGS__}
#define IN(width) {width, 4, "f", 0}
#define OUT(width) {width, 4, "f", 1}
#define KEPT(width, writable) {width, 2, "h", writable}
#define SLOPES {0, 4, "f", 0}

// rows come from the first buffer, so slopes stand last
CELL(lstm_forward, LSTM, LIST(IN(4), IN(1), OUT(1), OUT(1), KEPT(5, 1)), &call.plan->lstm, call.rows, call.units, AT(0),
     AT(1), AT(2), AT(3), AT(4))
CELL(lstm_backward, LSTM, LIST(IN(1), IN(1), KEPT(5, 0), OUT(1), OUT(4), SLOPES), &call.plan->lstm, AT(5), call.rows,
     call.units, AT(0), AT(1), AT(2), AT(3), AT(4))
CELL(gru_forward, GRU, LIST(IN(3), IN(3), IN(1), OUT(1), OUT(1), KEPT(3, 1)), &call.plan->gru, call.rows, call.units,
     AT(0), AT(1), AT(2), AT(3), AT(4), AT(5))
CELL(gru_backward, GRU, LIST(IN(1), IN(3), IN(1), KEPT(3, 0), OUT(1), OUT(3), OUT(3), SLOPES), AT(7), call.rows,
     call.units, AT(0), AT(1), AT(2), AT(3), AT(4), AT(5), AT(6))
CELL(rnn_forward, RNN, LIST(IN(1), OUT(1)), &call.plan->rnn, call.rows, call.units, AT(0), AT(1))
CELL(rnn_backward, RNN, LIST(IN(1), IN(1), OUT(1), SLOPES), AT(3), call.rows, call.units, AT(0), AT(1), AT(2))

// ---------------------------------------------------------------------------------------------------------------------
// Variants.

static PyObject *variants_(PyObject *self, PyObject *none) {
    (void)self, (void)none;
    PyObject *list = PyList_New(0);
    for (int k = 0; list != NULL && variant_name(k) != NULL; k++) {
        PyObject *name = PyUnicode_FromString(variant_name(k));
        if (name == NULL || PyList_Append(list, name) != 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(name);
    }
    return list;
}

static PyObject *choose(PyObject *self, PyObject *args) {
    (void)self;
    const char *name;
    if (!PyArg_ParseTuple(args, "s", &name)) {
        return NULL;
    }
    const Recurrent *found = variant_recurrent(name);
    if (found == NULL) {
        return PyErr_Format(PyExc_ValueError, "no kernels named %s run on this processor", name);
    }
    recurrent = found;
    engine_choose(name);
    train_choose(name);
    Py_RETURN_NONE;
}

static PyObject *any_dot8(PyObject *self, PyObject *none) {
    (void)self, (void)none;
    return PyBool_FromLong(engine_any_dot8());
}

static PyMethodDef methods[] = {
    {"variants", variants_, METH_NOARGS, "variants(): names of the kernels that run here, the fastest last."},
    {"choose", choose, METH_VARARGS, "choose(name): use these kernels from now on."},
    {"any_dot8", any_dot8, METH_NOARGS, "any_dot8(): whether products of 8 bits are exact whatever the weights."},
    {"program", engine_program, METH_VARARGS, "program(words, data): a packed program, checked."},
    {"execute", (PyCFunction)(void (*)(void))engine_execute, METH_FASTCALL,
     "execute(program, inputs, outputs, states_in, states_out, kept, batch, times, threads): whether inputs were fine"},
    {"bind", (PyCFunction)(void (*)(void))engine_bind, METH_FASTCALL, "bind(..as execute): a call of it"},
    {"reset", (PyCFunction)(void (*)(void))engine_reset, METH_FASTCALL, "reset(program, kept, batch)"},
    {"plan", make_plan, METH_VARARGS, "plan(kind, numbers): a cell's staircases and constants, checked."},
    {"lstm_forward", lstm_forward_, METH_VARARGS, "lstm_forward(plan, units, z, c, h_next, c_next, kept)"},
    {"lstm_backward", lstm_backward_, METH_VARARGS, "lstm_backward(plan, units, dh, c, kept, dc, dz, slopes)"},
    {"gru_forward", gru_forward_, METH_VARARGS, "gru_forward(plan, units, x, y, c, h_next, c_next, kept)"},
    {"gru_backward", gru_backward_, METH_VARARGS, "gru_backward(plan, units, dh, y, c, kept, dc, dx, dy, slopes)"},
    {"rnn_forward", rnn_forward_, METH_VARARGS, "rnn_forward(plan, units, z, h_next)"},
    {"rnn_backward", rnn_backward_, METH_VARARGS, "rnn_backward(plan, units, dh, h_next, dz, slopes)"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_native", "Compiled kernels.", -1, methods, 0, 0, 0, 0};

PyMODINIT_FUNC PyInit__native(void) {
    for (int k = 0; variant_name(k) != NULL; k++) {
        recurrent = variant_recurrent(variant_name(k));
        engine_choose(variant_name(k));
        train_choose(variant_name(k));
    }
    static PyObject *(*const make[])(void) = {train_module, state_graph_module, automata_module};
    static const char *const names[] = {"train", "state_graph", "automata"};
    PyObject *made = PyModule_Create(&module);
    for (size_t k = 0; made != NULL && k < sizeof make / sizeof *make; k++) {
        PyObject *part = make[k]();
        if (part == NULL || PyModule_AddObjectRef(made, names[k], part) != 0) {
            Py_CLEAR(made);
        }
        Py_XDECREF(part);
    }
    return made;
}
