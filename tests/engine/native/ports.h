// What replay.c and fuzz.c share with engine_module.c: which instruction hands each array in or out, and packing.

#ifndef ZAHLEN_TEST_PORTS_H
#define ZAHLEN_TEST_PORTS_H

#include <stdlib.h>

#include "program.h"

typedef struct {
    const Port **input, **output, **state;  // by number
} Ports;

static inline void free_ports(Ports *s) { free(s->input), free(s->output), free(s->state); }

// 0 if an array has no port, or two.
static inline int find_ports(const Program *p, Ports *s) {
    s->input = calloc((size_t)p->inputs + 1, sizeof(Port *));
    s->output = calloc((size_t)p->outputs + 1, sizeof(Port *));
    s->state = calloc((size_t)p->register_count + 1, sizeof(Port *));
    if (s->input == NULL || s->output == NULL || s->state == NULL) {
        return 0;
    }
    for (int64_t k = 0; k < p->instructions; k++) {
        const Instruction *i = &p->instruction[k];
        if (i->op > PORT_OUT) {
            continue;
        }
        const Port **at = i->port.state         ? &s->state[i->port.number]
                          : i->op == PORT_OUT ? &s->output[i->port.number]
                                              : &s->input[i->port.number];
        if (*at != NULL && (!i->port.state || (*at)->elements != i->port.elements)) {
            return 0;
        }
        *at = &i->port;
    }
    int all = 1;
    for (int64_t k = 0; k < p->inputs; k++) {
        all &= s->input[k] != NULL;
    }
    for (int64_t k = 0; k < p->outputs; k++) {
        all &= s->output[k] != NULL;
    }
    for (int64_t k = 0; k < p->register_count; k++) {
        all &= s->state[k] != NULL;
    }
    return all;
}

// 0 if this kind of processor has no kernel for a product.
static inline int pack_products(Program *p, const Engine *e) {
    for (int64_t k = 0; k < p->instructions; k++) {
        Instruction *i = &p->instruction[k];
        if (i->op == PRODUCT && ((i->product.dot == DOT8 && !e->any_dot8) || !e->pack(&i->product))) {
            return 0;
        }
    }
    return 1;
}

#endif
