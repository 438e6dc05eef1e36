// Python, through its stable interface alone.

#ifndef ZAHLEN_BINDING_H
#define ZAHLEN_BINDING_H

#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030B0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

// engine_module.c
PyObject *engine_program(PyObject *self, PyObject *args);
PyObject *engine_execute(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *engine_bind(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *engine_reset(PyObject *self, PyObject *const *args, Py_ssize_t count);
void engine_choose(const char *name);
int engine_any_dot8(void);

#endif
