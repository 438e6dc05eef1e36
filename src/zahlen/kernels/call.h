// Buffers and integers that Python hands over to a kernel, and their checks; for the file that includes it alone.

#ifndef ZAHLEN_CALL_H
#define ZAHLEN_CALL_H

#include "binding.h"

#include <string.h>

#define MOST 8

typedef struct {
    Py_buffer buffer[MOST];
    int buffers;
    int64_t number[16];
} Call;

static void done(Call *call) {
    while (call->buffers > 0) {
        PyBuffer_Release(&call->buffer[--call->buffers]);
    }
}

// One letter for each buffer: h, i or q for 2, 4 or 8 bytes; as a capital it is written to. Then so many integers.
static int begin(Call *call, PyObject *args, const char *letters, int numbers) {
    const int buffers = (int)strlen(letters);
    call->buffers = 0;
    if (PyTuple_Size(args) != buffers + numbers) {
        PyErr_Format(PyExc_TypeError, "%d arguments are due", buffers + numbers);
        return 0;
    }
    for (int k = 0; k < buffers; k++) {
        const int writable = letters[k] < 'a';
        const char letter = (char)(writable ? letters[k] + 'a' - 'A' : letters[k]);
        Py_buffer *buffer = &call->buffer[k];
        if (PyObject_GetBuffer(PyTuple_GetItem(args, k), buffer,
                               PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0)) != 0) {
            done(call);
            return 0;
        }
        call->buffers++;
        const char *format = buffer->format;
        const int size = letter == 'h' ? 2 : letter == 'i' ? 4 : 8;
        if (format == NULL || format[0] == 0 || format[1] != 0 || strchr("hilq", format[0]) == NULL ||
            buffer->itemsize != size) {
            PyErr_Format(PyExc_TypeError, "buffer %d: signed integers of %d bytes are due", k, size);
            done(call);
            return 0;
        }
    }
    for (int k = 0; k < numbers; k++) {
        call->number[k] = PyLong_AsLongLong(PyTuple_GetItem(args, buffers + k));
        if (call->number[k] == -1 && PyErr_Occurred()) {
            done(call);
            return 0;
        }
    }
    return 1;
}

#define AT(k) (call.buffer[k].buf)
#define COUNT(k) ((int64_t)(call.buffer[k].len / call.buffer[k].itemsize))

static PyObject *unfit(Call *call, const char *what) {
    PyErr_SetString(PyExc_ValueError, what);
    done(call);
    return NULL;
}

#define RUN(...)                                                                                                       \
    Py_BEGIN_ALLOW_THREADS __VA_ARGS__;                                                                                \
    Py_END_ALLOW_THREADS done(&call)

#endif
