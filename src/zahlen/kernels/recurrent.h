// Recurrent cells: see recurrent.c.

#ifndef ZAHLEN_RECURRENT_H
#define ZAHLEN_RECURRENT_H

#include <stdint.h>

// y = values[number of thresholds at or below z]; `thresholds` ends with one that nothing reaches.
typedef struct {
    int32_t lo, hi, shift, levels, buckets;
    const int32_t *base, *thresholds, *values;
} Stairs;

// Cell: (f c old_factor + i g new_factor + half) >> shift, clamped to +-limit.
typedef struct {
    Stairs gate, candidate, squash, output;
    int32_t old_factor, new_factor, half, shift, limit;
} Lstm;

typedef struct {
    Stairs gate, candidate, output;
} Gru;

// What turns integers into the real values that gradients are about, and where slopes of tanh stop falling.
typedef struct {
    float gain;       // integer steps of h per 1.0
    float fall;       // 1 / integer steps of z per 1.0
    float grain;      // 1 / integer steps of the state per 1.0
    float candidate, squash;
} Slopes;

// The kernels of one kind of processor.
typedef struct {
    void (*lstm_forward)(const Lstm *p, int64_t rows, int64_t n, const float *z, const float *c, float *h_next,
                         float *c_next, int16_t *kept);
    void (*lstm_backward)(const Lstm *p, const Slopes *q, int64_t rows, int64_t n, const float *dh, const float *c,
                          const int16_t *kept, float *dc, float *dz);
    void (*gru_forward)(const Gru *p, int64_t rows, int64_t n, const float *x, const float *y, const float *c,
                        float *h_next, float *c_next, int16_t *kept);
    void (*gru_backward)(const Slopes *q, int64_t rows, int64_t n, const float *dh, const float *y, const float *c,
                         const int16_t *kept, float *dc, float *dx, float *dy);
    void (*rnn_forward)(const Stairs *stairs, int64_t rows, int64_t n, const float *z, float *h_next);
    void (*rnn_backward)(const Slopes *q, int64_t rows, int64_t n, const float *dh, const float *h_next, float *dz);
} Recurrent;

extern const Recurrent recurrent_portable, recurrent_avx2, recurrent_avx512;

#endif
