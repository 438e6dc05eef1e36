// Batch normalisation in training: see norm.c.

#ifndef ZAHLEN_NORM_H
#define ZAHLEN_NORM_H

#include "train.h"

void JOIN(moments, VARIANT)(const int32_t *z, int64_t rows, int64_t channels, int64_t down, int64_t *sums,
                            int64_t *squares);
int64_t JOIN(normalise, VARIANT)(const Norm *p, const int32_t *z, int64_t rows, int64_t channels, int16_t *x, int32_t *y);
void JOIN(dots, VARIANT)(const int16_t *d, const int16_t *x, int64_t rows, int64_t channels, int64_t *sums,
                         int64_t *dots);
int64_t JOIN(norm_back, VARIANT)(const NormBack *p, const int16_t *d, const int16_t *x, int64_t rows, int64_t channels,
                                 int16_t *out);

#endif
