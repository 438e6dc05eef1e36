// Pools of training: see windows.c.

#ifndef ZAHLEN_WINDOWS_H
#define ZAHLEN_WINDOWS_H

#include "train.h"

void JOIN(maxpool, VARIANT)(const Windows *w, int64_t count, const int16_t *x, int16_t *y, int16_t *which);
void JOIN(sumpool, VARIANT)(const Windows *w, int64_t count, const int16_t *x, int32_t *y);
int64_t JOIN(pool_back, VARIANT)(const Windows *w, int64_t count, const int16_t *d, const int16_t *which, Scale scale,
                                 int16_t *out);

#endif
