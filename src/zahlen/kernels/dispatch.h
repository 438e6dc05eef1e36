// Which variants of the kernels run on this processor: see dispatch.c.

#ifndef ZAHLEN_DISPATCH_H
#define ZAHLEN_DISPATCH_H

#include "program.h"
#include "recurrent.h"
#include "train.h"

// The k-th name, the fastest last; NULL behind the last.
const char *variant_name(int k);

// The kernels of that name; NULL if there are none that run here.
const Recurrent *variant_recurrent(const char *name);
const Engine *variant_engine(const char *name);
const Train *variant_train(const char *name);

#endif
