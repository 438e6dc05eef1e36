// Python, through its stable interface alone.

#ifndef ZAHLEN_BINDING_H
#define ZAHLEN_BINDING_H

#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030B0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "recurrent.h"

// module.c
enum { LSTM, GRU, RNN, KINDS };

// What a cell is made of.
typedef struct {
    int kind;
    Lstm lstm;
    Gru gru;
    Stairs rnn;
    int32_t numbers[];
} Plan;

int stairs_read(Stairs *s, const int32_t **at, const int32_t *end);  // and moves on; whether they were sound
const Plan *plan_of(PyObject *capsule, int kind);                    // NULL with an error set if it is none

// train_module.c
PyObject *train_module(void);
void train_choose(const char *name);

// state_graph.c
PyObject *state_graph_module(void);

// automata.c
PyObject *automata_module(void);

// engine_module.c
PyObject *engine_program(PyObject *self, PyObject *args);
PyObject *engine_execute(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *engine_bind(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *engine_reset(PyObject *self, PyObject *const *args, Py_ssize_t count);
void engine_choose(const char *name);
int engine_any_dot8(void);

#endif
