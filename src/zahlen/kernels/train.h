// Training in integers: products of 16-bit factors, staircases and their slopes, losses, updates, recurrent cells.
//
// There is no floating point in any of it. Sums that may leave 32 bits are carried in 64; what is stored in fewer bits
// than it may need is clamped, and each clamped value is counted.

#ifndef ZAHLEN_TRAIN_H
#define ZAHLEN_TRAIN_H

#include <stdint.h>

#include "program.h"
#include "recurrent.h"

// round(x * factor / 2^shift), halves up.
typedef struct {
    int64_t factor, shift;
} Scale;

// A matrix of int16 whose element (i, j) is at[rows[i] + j], or, where `steps` are given, pairs (2p, 2p + 1) of row i
// stand at at[rows[i] + steps[p]].
typedef struct {
    const int16_t *at;
    const int32_t *rows, *steps;
    int64_t count, pairs;
} Rows;

// Factors on the right, (2 pairs, columns), as the products read them: panels of PANEL vectors, filled up with zeros.
typedef struct {
    int32_t *at;
    int64_t pairs, columns;
} Packed;

enum { PUT32, ADD32, ADD64, PUT16 };  // what becomes of sums

typedef struct {
    void *at;             // (rows, columns)
    int64_t kind;
    int64_t depth;        // ADD64, PUT16: sums of so many pairs stay within 32 bits
    Scale scale;          // PUT16: clamped to +-32767
    const int32_t *start; // PUT32: what is added to each row, or NULL
} Sums;

// Windows over images (height, width, channels), `rows` x `columns` of them.
typedef struct {
    int64_t height, width, channels, rows, columns;
    int64_t size[2], stride[2], padding[2];
} Windows;

// Buckets of 2^shift integers from `lo` on.
typedef struct {
    int64_t lo, shift, count;
} Buckets;

// Of each channel: (z - mean) factor / 2^shift, times gamma, plus beta.
typedef struct {
    const int64_t *mean, *factor, *shift, *gamma, *beta;
} Norm;

// Of each channel: (d - mean / 2^8 - x slope / 2^26) factor 2^8 / 2^shift.
typedef struct {
    const int64_t *mean, *slope, *factor, *shift;
} NormBack;

typedef struct {
    int64_t factor;        // (greatest - logit) * factor >> 24 is a place in `powers`
    int64_t bits;          // a probability of 1 is 2^bits
    const int32_t *powers; // 65536 exp(-k / 256), 4096 of them
    const int32_t *logs;   // 65536 log2(1 + k / 1024), 1024 of them
} Softmax;

typedef struct {
    int64_t down;          // gradients are shifted right by so much,
    int64_t clip;          // and multiplied by clip / 2^16
    int64_t decay;         // momentum loses its 2^decay-th part
    Scale step;            // momentum to a step of latent weights
    int64_t weight_decay;  // latent weights lose their 2^weight_decay-th part; 0: nothing
    int64_t fraction;      // bits of a latent weight's fraction
    int64_t lo, hi, grain; // of the weights; grain is a power of two
    int64_t random, seed;  // whether steps are rounded by chance
} Update;

// Steps of a recurrent layer; time comes first. `places` of its functions has room for rows + 2 units + 1.
typedef struct {
    int64_t time, rows, units;
    int32_t *share;          // what the input adds: (time, rows, gates units), written to; or a row for each symbol
    const int32_t *symbols;  // (time, rows), or none
    int32_t *z;              // room for one step
    int32_t *across;         // recurrent weights, packed; on the way back their transpose
    int16_t *h, *c;          // (time + 1, rows, units), the state before the first step in front
    int16_t *kept;
} Unroll;

typedef struct {
    int64_t candidate, squash; // a tanh's slope falls no more beyond these
    int64_t fraction;          // bits of the cell's fraction
    Scale state;               // what comes back through the recurrent weights
} LstmBack;

typedef struct {
    int64_t candidate;         // a tanh's slope falls no more beyond this
    Scale state;               // what comes back through the recurrent weights
    Scale share;               // the state's share of a pre-activation, 1.0 to 4096
    Scale square;              // limit^2 to 4096
    Scale cell;                // limit to 4096
} GruBack;

typedef struct {
    int64_t edge, limit;       // a tanh's slope falls no more beyond `edge`; `limit` is worth 1.0
    Scale state, square;       // as in GruBack
} RnnBack;

// The kernels of one kind of processor. What returns a number returns how many values were clamped.
typedef struct {
    int64_t (*packed_size)(int64_t pairs, int64_t columns);
    void (*pack_rows)(const int16_t *b, const int32_t *rows, const int32_t *columns, int64_t count, Packed *out);
    void (*pack_columns)(const int16_t *b, int64_t stride, int64_t count, Packed *out);
    void (*interleave)(const int16_t *a, const int32_t *rows, int64_t count, int64_t width, int32_t *out);
    int64_t (*product)(const Rows *a, const Packed *b, const Sums *out);
    void (*stairs)(const Stairs *s, const int32_t *z, int64_t count, int16_t *out);
    void (*buckets)(const Buckets *b, const int32_t *z, int64_t count, int16_t *out);
    // table: slopes of an activation, 1.0 being 4096; of 16 bits, but wider ones are gathered faster
    void (*slopes)(const int32_t *table, int64_t buckets, const int16_t *d, const int16_t *places, int64_t count,
                   int16_t *out);
    void (*softmax)(const Softmax *s, const int32_t *logits, const int32_t *labels, int64_t rows, int64_t classes,
                    int16_t *delta, int64_t *result);
    int64_t (*update)(const Update *u, int64_t count, void *gradient, int wide, int32_t *momentum,
                      int32_t *latent, void *weights, int long_weights);
    void (*column_sums)(const int16_t *d, int64_t rows, int64_t columns, int64_t *sums);
    void (*lstm_forward_steps)(const Lstm *p, const Unroll *u, int32_t *places);
    int64_t (*lstm_backward_steps)(const Lstm *p, const LstmBack *q, const Unroll *u, const int16_t *dh, int16_t *dc,
                                   int16_t *dz, int32_t *places);
    void (*gru_forward)(const Gru *p, int64_t rows, int64_t n, const int32_t *x, const int32_t *y, const int16_t *c,
                        int16_t *h_next, int16_t *c_next, int16_t *kept);
    int64_t (*gru_backward)(const GruBack *q, int64_t limit, int64_t rows, int64_t n, const int16_t *dh,
                            const int32_t *through, const int32_t *y, const int16_t *c, const int16_t *kept, int16_t *dc,
                            int16_t *dx, int16_t *dy);
    int64_t (*rnn_backward)(const RnnBack *q, int64_t count, const int16_t *dh, const int32_t *through,
                            const int16_t *h_next, int16_t *dz);
    void (*moments)(const int32_t *z, int64_t rows, int64_t channels, int64_t down, int64_t *sums, int64_t *squares);
    int64_t (*normalise)(const Norm *p, const int32_t *z, int64_t rows, int64_t channels, int16_t *x, int32_t *y);
    void (*dots)(const int16_t *d, const int16_t *x, int64_t rows, int64_t channels, int64_t *sums, int64_t *dots);
    int64_t (*norm_back)(const NormBack *p, const int16_t *d, const int16_t *x, int64_t rows, int64_t channels,
                         int16_t *out);
    void (*maxpool)(const Windows *w, int64_t count, const int16_t *x, int16_t *y, int16_t *which);
    void (*sumpool)(const Windows *w, int64_t count, const int16_t *x, int32_t *y);
    int64_t (*pool_back)(const Windows *w, int64_t count, const int16_t *d, const int16_t *which, Scale scale,
                         int16_t *out);
    void (*add_rows)(const int16_t *d, const int32_t *index, int64_t rows, int64_t columns, int64_t *out);
} Train;

extern const Train train_portable, train_avx2, train_avxvnni, train_vnni, train_neon;

#endif
