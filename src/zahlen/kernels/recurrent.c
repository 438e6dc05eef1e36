// Recurrent cells, element by element: what comes between the matrix products of one step.
//
// Forward passes compute integers (carried in floats that hold them exactly). Backward passes compute in single
// precision, one rounding per operation in the order that zahlen.nn.cells states: both return its bits.

#include "levels.h"
#include "recurrent.h"

// Compiled once for each kind of processor; dispatch.c chooses when the module is loaded.
#define JOINED(name, variant) name##_##variant
#define EXPANDED(name, variant) JOINED(name, variant)
#define IN_VARIANT(name) EXPANDED(name, VARIANT)

// Threads are worth their start from some thousand elements on.
#define ROWS _Pragma("omp parallel for schedule(static) if (rows * n >= 4096)")
#define IVDEP _Pragma("GCC ivdep")

INLINE float bounded(float x, float least, float most) {
    return x < least ? least : x > most ? most : x;
}

// ---------------------------------------------------------------------------------------------------------------------
// LSTM: z (rows, 4 units) in the order i, f, g, o; kept (rows, 5 units) is i, f, g, o, t.

INLINE int32_t lstm_cell(const Lstm *p, int32_t i, int32_t f, int32_t g, int32_t c) {
    return (f * c * p->old_factor + i * g * p->new_factor + p->half) >> p->shift;
}

static void lstm_forward_row(const Lstm *p, const float *z, const float *c, float *h_next, float *c_next,
                                      int16_t *kept, int64_t n) {
    const Stairs gate = p->gate, candidate = p->candidate, squash = p->squash, output = p->output;
    const int32_t limit = p->limit;
    IVDEP
    for (int64_t j = 0; j < n; j++) {
        const int32_t i = value(&gate, (int32_t)z[j]);
        const int32_t f = value(&gate, (int32_t)z[n + j]);
        const int32_t g = value(&candidate, (int32_t)z[2 * n + j]);
        const int32_t o = value(&gate, (int32_t)z[3 * n + j]);
        int32_t next = lstm_cell(p, i, f, g, (int32_t)c[j]);
        next = next < -limit ? -limit : next > limit ? limit : next;
        const int32_t t = value(&squash, next);
        kept[j] = (int16_t)i;
        kept[n + j] = (int16_t)f;
        kept[2 * n + j] = (int16_t)g;
        kept[3 * n + j] = (int16_t)o;
        kept[4 * n + j] = (int16_t)t;
        c_next[j] = (float)next;
        h_next[j] = (float)value(&output, o * t);
    }
}

static void lstm_forward(const Lstm *p, int64_t rows, int64_t n, const float *z, const float *c, float *h_next, float *c_next,
                  int16_t *kept) {
    ROWS
    for (int64_t r = 0; r < rows; r++) {
        lstm_forward_row(p, z + 4 * n * r, c + n * r, h_next + n * r, c_next + n * r, kept + 5 * n * r, n);
    }
}

static void lstm_backward_row(const Lstm *p, const Slopes *q, const float *dh, const float *c,
                                       const int16_t *kept, float *dc, float *dz, int64_t n) {
    const int32_t limit = p->limit;
    IVDEP
    for (int64_t j = 0; j < n; j++) {
        const int32_t vi = kept[j], vf = kept[n + j], vg = kept[2 * n + j];
        const int32_t next = lstm_cell(p, vi, vf, vg, (int32_t)c[j]);
        const float open = next < -limit || next > limit ? 0.0f : 1.0f;
        const float i = (float)vi / 256, f = (float)vf / 256, g = (float)vg / 128;
        const float o = (float)kept[3 * n + j] / 256, t = (float)kept[4 * n + j] / 128;
        const float sg = bounded(g, -q->candidate, q->candidate), st = bounded(t, -q->squash, q->squash);
        const float d = dh[j] * q->gain;
        const float cell = (dc[j] + d * o * (1 - st * st)) * open;
        dz[j] = cell * g * (i * (1 - i)) * q->fall;
        dz[n + j] = cell * (c[j] * q->grain) * (f * (1 - f)) * q->fall;
        dz[2 * n + j] = cell * i * (1 - sg * sg) * q->fall;
        dz[3 * n + j] = d * t * (o * (1 - o)) * q->fall;
        dc[j] = cell * f;
    }
}

static void lstm_backward(const Lstm *p, const Slopes *q, int64_t rows, int64_t n, const float *dh, const float *c,
                   const int16_t *kept, float *dc, float *dz) {
    ROWS
    for (int64_t r = 0; r < rows; r++) {
        lstm_backward_row(p, q, dh + n * r, c + n * r, kept + 5 * n * r, dc + n * r, dz + 4 * n * r, n);
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// GRU: x and y (rows, 3 units), the input's and the state's share, in the order r, u, n; kept (rows, 3 units) likewise.

static void gru_forward_row(const Gru *p, const float *x, const float *y, const float *c, float *h_next,
                                     float *c_next, int16_t *kept, int64_t n) {
    const Stairs gate = p->gate, candidate = p->candidate, output = p->output;
    for (int64_t j = 0; j < n; j++) {
        const int32_t r = value(&gate, (int32_t)(x[j] + y[j]));
        const int32_t u = value(&gate, (int32_t)(x[n + j] + y[n + j]));
        const int32_t reset = (int32_t)(((int64_t)r * (int64_t)y[2 * n + j] + 128) >> 8);
        const int32_t g = value(&candidate, (int32_t)x[2 * n + j] + reset);
        const int32_t next = (u * (int32_t)c[j] + (256 - u) * g + 128) >> 8;
        kept[j] = (int16_t)r;
        kept[n + j] = (int16_t)u;
        kept[2 * n + j] = (int16_t)g;
        c_next[j] = (float)next;
        h_next[j] = (float)value(&output, next);
    }
}

static void gru_forward(const Gru *p, int64_t rows, int64_t n, const float *x, const float *y, const float *c, float *h_next,
                 float *c_next, int16_t *kept) {
    ROWS
    for (int64_t r = 0; r < rows; r++) {
        gru_forward_row(p, x + 3 * n * r, y + 3 * n * r, c + n * r, h_next + n * r, c_next + n * r, kept + 3 * n * r, n);
    }
}

static void gru_backward_row(const Slopes *q, const float *dh, const float *y, const float *c,
                                      const int16_t *kept, float *dc, float *dx, float *dy, int64_t n) {
    IVDEP
    for (int64_t j = 0; j < n; j++) {
        const float r = (float)kept[j] / 256, u = (float)kept[n + j] / 256, g = (float)kept[2 * n + j] * q->grain;
        const float sg = bounded(g, -q->candidate, q->candidate);
        const float cell = dc[j] + dh[j] * q->gain;
        const float dn = cell * (1 - u) * (1 - sg * sg) * q->fall;
        const float dr = dn * (y[2 * n + j] * q->fall) * (r * (1 - r));
        const float du = cell * (c[j] * q->grain - g) * (u * (1 - u)) * q->fall;
        dx[j] = dr;
        dx[n + j] = du;
        dx[2 * n + j] = dn;
        dy[j] = dr;
        dy[n + j] = du;
        dy[2 * n + j] = dn * r;
        dc[j] = cell * u;
    }
}

static void gru_backward(const Slopes *q, int64_t rows, int64_t n, const float *dh, const float *y, const float *c,
                  const int16_t *kept, float *dc, float *dx, float *dy) {
    ROWS
    for (int64_t r = 0; r < rows; r++) {
        gru_backward_row(q, dh + n * r, y + 3 * n * r, c + n * r, kept + 3 * n * r, dc + n * r, dx + 3 * n * r,
                         dy + 3 * n * r, n);
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// RNN: z (rows, units).

static void rnn_forward_row(const Stairs *stairs, const float *z, float *h_next, int64_t n) {
    const Stairs s = *stairs;
    IVDEP
    for (int64_t j = 0; j < n; j++) {
        h_next[j] = (float)value(&s, (int32_t)z[j]);
    }
}

static void rnn_forward(const Stairs *stairs, int64_t rows, int64_t n, const float *z, float *h_next) {
    ROWS
    for (int64_t r = 0; r < rows; r++) {
        rnn_forward_row(stairs, z + n * r, h_next + n * r, n);
    }
}

static void rnn_backward_row(const Slopes *q, const float *dh, const float *h_next, float *dz, int64_t n) {
    IVDEP
    for (int64_t j = 0; j < n; j++) {
        const float t = bounded(h_next[j] * q->grain, -q->squash, q->squash);
        dz[j] = dh[j] * q->gain * (1 - t * t) * q->fall;
    }
}

static void rnn_backward(const Slopes *q, int64_t rows, int64_t n, const float *dh, const float *h_next, float *dz) {
    ROWS
    for (int64_t r = 0; r < rows; r++) {
        rnn_backward_row(q, dh + n * r, h_next + n * r, dz + n * r, n);
    }
}

const Recurrent IN_VARIANT(recurrent) = {lstm_forward, lstm_backward, gru_forward,
                                         gru_backward, rnn_forward,   rnn_backward};
