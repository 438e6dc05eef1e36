// Packed programs in Python: zahlen.kernels._native.program, execute and bind.

#include "binding.h"

#include <string.h>

#include "dispatch.h"
#include "program.h"

#define NAME "zahlen.program"

typedef struct {
    Program *program;
    const Engine *engine;
    const Port **ports[2];          // of inputs and outputs by number
    const Port **state;             // of registers by number
} Loaded;

static const Engine *engine;  // of the variant in use

void engine_choose(const char *name) { engine = variant_engine(name); }

int engine_any_dot8(void) { return engine->any_dot8; }

// ---------------------------------------------------------------------------------------------------------------------

static void unload(Loaded *l) {
    if (l == NULL) {
        return;
    }
    if (l->program != NULL) {
        program_free(l->program);
    }
    PyMem_Free(l->ports[0]), PyMem_Free(l->ports[1]), PyMem_Free(l->state);
    PyMem_Free(l);
}

static void free_program(PyObject *capsule) { unload(PyCapsule_GetPointer(capsule, NAME)); }

// Which instruction hands each array in or out; 0 if one has none, or two.
static int find_ports(Loaded *l) {
    const Program *p = l->program;
    l->ports[0] = PyMem_Calloc((size_t)p->inputs + 1, sizeof(Port *));
    l->ports[1] = PyMem_Calloc((size_t)p->outputs + 1, sizeof(Port *));
    l->state = PyMem_Calloc((size_t)p->register_count + 1, sizeof(Port *));
    if (l->ports[0] == NULL || l->ports[1] == NULL || l->state == NULL) {
        return 0;
    }
    for (int64_t k = 0; k < p->instructions; k++) {
        const Instruction *i = &p->instruction[k];
        if (i->op > PORT_OUT) {
            continue;
        }
        if (i->port.state) {
            const Port **at = &l->state[i->port.number];
            if (*at != NULL && (*at)->elements != i->port.elements) {
                return 0;
            }
            *at = &i->port;
        } else {
            const Port **at = &l->ports[i->op == PORT_OUT][i->port.number];
            if (*at != NULL) {
                return 0;
            }
            *at = &i->port;
        }
    }
    for (int64_t k = 0; k < p->inputs; k++) {
        if (l->ports[0][k] == NULL) {
            return 0;
        }
    }
    for (int64_t k = 0; k < p->outputs; k++) {
        if (l->ports[1][k] == NULL) {
            return 0;
        }
    }
    for (int64_t k = 0; k < p->register_count; k++) {
        if (l->state[k] == NULL) {
            return 0;
        }
    }
    return 1;
}

PyObject *engine_program(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer words, data;
    if (!PyArg_ParseTuple(args, "y*y*", &words, &data)) {
        return NULL;
    }
    PyObject *result = NULL;
    const char *reason = "not whole words";
    Loaded *l = PyMem_Calloc(1, sizeof(Loaded));
    if (l == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    l->engine = engine;
    if (words.len % 8 == 0) {
        l->program = program_read(words.buf, words.len / 8, data.buf, data.len, &reason);
    }
    if (l->program == NULL || (reason = "an array has no port, or two", !find_ports(l))) {
        PyErr_Format(PyExc_ValueError, "not a packed program: %s", reason);
        goto done;
    }
    for (int64_t k = 0; k < l->program->instructions; k++) {
        Instruction *i = &l->program->instruction[k];
        if (i->op == PRODUCT && i->product.dot == DOT8 && !engine->any_dot8) {
            PyErr_SetString(PyExc_ValueError, "not a packed program for this processor");
            goto done;
        }
        if (i->op == PRODUCT && !engine->pack(&i->product)) {
            PyErr_NoMemory();
            goto done;
        }
    }
    result = PyCapsule_New(l, NAME, free_program);
done:
    if (result == NULL) {
        unload(l);
    }
    PyBuffer_Release(&words);
    PyBuffer_Release(&data);
    return result;
}

// ---------------------------------------------------------------------------------------------------------------------
// Calls.

// How many bytes an integer of this format has, negative if it is signed; 0: it is none.
static int integer(const Py_buffer *b) {
    const char *f = b->format == NULL ? "B" : b->format;
    if (f[0] == '=' || f[0] == '@') {
        f++;
    }
    if (f[0] == 0 || f[1] != 0) {
        return 0;
    }
    const int size = (int)b->itemsize;
    if (size != 1 && size != 2 && size != 4 && size != 8) {
        return 0;
    }
    return strchr("bhilqn", f[0]) != NULL ? -size : strchr("BHILQN", f[0]) != NULL ? size : 0;
}

typedef struct {
    Loaded *loaded;
    Py_buffer *buffers;
    int64_t count;
    Array *arrays;  // inputs, outputs, states in, states out
    Task call;
} Bound;

static void unbind(Bound *b) {
    for (int64_t k = 0; k < b->count; k++) {
        PyBuffer_Release(&b->buffers[k]);
    }
    PyMem_Free(b->buffers), PyMem_Free(b->arrays);
    b->buffers = NULL, b->arrays = NULL, b->count = 0;
}

static int bind_list(Bound *b, PyObject *list, const Port **ports, int64_t due, int64_t times, int writable,
                     const Array **to) {
    if (list == Py_None) {
        *to = NULL;
        return 1;
    }
    if (!PyTuple_Check(list) || PyTuple_Size(list) != due) {
        PyErr_Format(PyExc_TypeError, "a tuple of %lld arrays is due", (long long)due);
        return 0;
    }
    *to = b->arrays + b->count;
    for (int64_t k = 0; k < due; k++) {
        Py_buffer *buffer = &b->buffers[b->count];
        const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
        if (PyObject_GetBuffer(PyTuple_GetItem(list, k), buffer, flags) != 0) {
            return 0;
        }
        Array *a = &b->arrays[b->count++];
        const int size = integer(buffer);
        if (size == 0) {
            PyErr_SetString(PyExc_TypeError, "an array of integers is due");
            return 0;
        }
        a->at = buffer->buf;
        a->size = size < 0 ? -size : size, a->is_signed = size < 0;
        a->time_stride = ports[k]->elements * a->size;
        const int64_t batch = b->call.batch, bytes = buffer->len;
        if (batch == 0 ? bytes != 0
                       : bytes % batch != 0 || bytes / batch % times != 0 || bytes / batch / times != a->time_stride) {
            PyErr_Format(PyExc_ValueError, "an array has %zd bytes, which does not fit", buffer->len);
            return 0;
        }
        a->batch_stride = batch == 0 ? 0 : bytes / batch;
    }
    return 1;
}

// Whether the states of a batch of streams fit, wherever a multiple of 64 is.
static int has_room(const Program *p, const Py_buffer *kept, int64_t batch) {
    const int64_t row = p->row_bytes[STATE] / 64;
    return kept->len / 64 >= 4 && (row == 0 || batch <= (kept->len / 64 - 4) / row);
}

// (program, inputs, outputs, states in, states out, kept, batch, times, threads)
static int bind(Bound *b, PyObject *const *args, Py_ssize_t count) {
    memset(b, 0, sizeof *b);
    if (count != 9) {
        PyErr_SetString(PyExc_TypeError, "nine arguments are due");
        return 0;
    }
    b->loaded = PyCapsule_GetPointer(args[0], NAME);
    if (b->loaded == NULL) {
        return 0;
    }
    const Program *p = b->loaded->program;
    Task *c = &b->call;
    c->batch = PyLong_AsLongLong(args[6]);
    c->times = PyLong_AsLongLong(args[7]);
    c->threads = (int32_t)PyLong_AsLong(args[8]);
    if (PyErr_Occurred()) {
        return 0;
    }
    if (c->batch < 0 || c->times < 1 || c->batch > (int64_t)1 << 40 || c->times > (int64_t)1 << 40 || c->threads < 1 ||
        c->threads > 1024 || (p->register_count == 0 && c->times != 1)) {
        PyErr_SetString(PyExc_ValueError, "batch, times or threads are out of range");
        return 0;
    }
    const size_t most = (size_t)(p->inputs + p->outputs + 2 * p->register_count + 2);
    b->buffers = PyMem_Calloc(most, sizeof(Py_buffer));
    b->arrays = PyMem_Calloc(most, sizeof(Array));
    if (b->buffers == NULL || b->arrays == NULL) {
        PyErr_NoMemory();
        return 0;
    }
    const Loaded *l = b->loaded;
    if (!bind_list(b, args[1], l->ports[0], p->inputs, c->times, 0, &c->inputs) ||
        !bind_list(b, args[2], l->ports[1], p->outputs, c->times, 1, &c->outputs) ||
        !bind_list(b, args[3], l->state, p->register_count, 1, 0, &c->states_in) ||
        !bind_list(b, args[4], l->state, p->register_count, 1, 1, &c->states_out)) {
        return 0;
    }
    if (c->inputs == NULL || c->outputs == NULL) {
        PyErr_SetString(PyExc_TypeError, "inputs and outputs are due");
        return 0;
    }
    if (args[5] != Py_None) {
        Py_buffer *buffer = &b->buffers[b->count];
        if (PyObject_GetBuffer(args[5], buffer, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE) != 0) {
            return 0;
        }
        b->count++;
        if (!has_room(p, buffer, c->batch)) {
            PyErr_SetString(PyExc_ValueError, "the stream's memory is too small");
            return 0;
        }
        c->kept = (uint8_t *)(((uintptr_t)buffer->buf + 63) / 64 * 64);
    }
    return 1;
}

static PyObject *run(const Bound *b) {
    if (b->call.batch == 0) {
        Py_RETURN_TRUE;
    }
    int status;
    const double work = (double)b->loaded->program->operations * (double)b->call.batch * (double)b->call.times;
    if (work < 200000) {  // letting others run would take longer
        status = program_run(b->loaded->program, b->loaded->engine, &b->call);
    } else {
        Py_BEGIN_ALLOW_THREADS status = program_run(b->loaded->program, b->loaded->engine, &b->call);
        Py_END_ALLOW_THREADS
    }
    if (status == NO_MEMORY) {
        return PyErr_NoMemory();
    }
    return PyBool_FromLong(status == DONE);
}

PyObject *engine_execute(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    (void)self;
    Bound b;
    PyObject *result = bind(&b, args, count) ? run(&b) : NULL;
    unbind(&b);
    return result;
}

PyObject *engine_reset(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    (void)self;
    Loaded *l = count == 3 ? PyCapsule_GetPointer(args[0], NAME) : NULL;
    if (l == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_TypeError, "reset(program, kept, batch)");
        }
        return NULL;
    }
    const int64_t batch = PyLong_AsLongLong(args[2]);
    Py_buffer buffer;
    if (PyErr_Occurred() || PyObject_GetBuffer(args[1], &buffer, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE) != 0) {
        return NULL;
    }
    if (batch < 0 || !has_room(l->program, &buffer, batch)) {
        PyErr_SetString(PyExc_ValueError, "the stream's memory is too small");
        PyBuffer_Release(&buffer);
        return NULL;
    }
    program_reset(l->program, (uint8_t *)(((uintptr_t)buffer.buf + 63) / 64 * 64), batch);
    PyBuffer_Release(&buffer);
    Py_RETURN_NONE;
}

// ---------------------------------------------------------------------------------------------------------------------
// A call whose arrays stay: calling it again costs little more than the kernels.

typedef struct {
    PyObject_HEAD PyObject *program;
    Bound bound;
} BoundObject;

static PyObject *bound_call(PyObject *self, PyObject *args, PyObject *names) {
    (void)args, (void)names;
    return run(&((BoundObject *)self)->bound);
}

static void bound_free(PyObject *self) {
    BoundObject *b = (BoundObject *)self;
    PyTypeObject *type = Py_TYPE(self);
    unbind(&b->bound);
    Py_XDECREF(b->program);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyType_Slot bound_slots[] = {
    {Py_tp_call, bound_call},
    {Py_tp_dealloc, bound_free},
    {Py_tp_doc, "Runs a program on the same arrays again."},
    {0, NULL},
};
static PyType_Spec bound_spec = {"zahlen.kernels._native.Bound", sizeof(BoundObject), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, bound_slots};
static PyObject *bound_type;

PyObject *engine_bind(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    (void)self;
    if (bound_type == NULL) {
        bound_type = PyType_FromSpec(&bound_spec);
        if (bound_type == NULL) {
            return NULL;
        }
    }
    BoundObject *b = PyObject_New(BoundObject, (PyTypeObject *)bound_type);
    if (b == NULL) {
        return NULL;
    }
    b->program = NULL;
    if (!bind(&b->bound, args, count)) {
        Py_DECREF(b);
        return NULL;
    }
    b->program = args[0];
    Py_INCREF(b->program);
    return (PyObject *)b;
}
