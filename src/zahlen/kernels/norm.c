// Batch normalisation in training, of rows of channels: sums over rows, and what becomes of each element.

#include "norm.h"

#include "numbers.h"

#define CHANNELS 64  // that are summed at a time
#define WORTH 4096   // elements that are worth a thread's while

// Of z / 2^down, rounded down, and of its squares.
void JOIN(moments, VARIANT)(const int32_t *z, int64_t rows, int64_t channels, int64_t down, int64_t *sums,
                            int64_t *squares) {
    for (int64_t first = 0; first < channels; first += CHANNELS) {
        const int64_t width = channels - first < CHANNELS ? channels - first : CHANNELS;
        int64_t sum[CHANNELS] = {0}, square[CHANNELS] = {0};
        for (int64_t r = 0; r < rows; r++) {
            const int32_t *from = z + r * channels + first;
            for (int64_t j = 0; j < width; j++) {
                const int64_t part = from[j] >> down;
                sum[j] += part;
                square[j] += part * part;
            }
        }
        memcpy(sums + first, sum, (size_t)width * 8);
        memcpy(squares + first, square, (size_t)width * 8);
    }
}

// x = (z - mean) factor / 2^shift, rounded and clamped; y = gamma x + beta.
int64_t JOIN(normalise, VARIANT)(const Norm *p, const int32_t *z, int64_t rows, int64_t channels, int16_t *x,
                                 int32_t *y) {
    int64_t clamps = 0;
#pragma omp parallel for schedule(static) reduction(+ : clamps) if (rows * channels >= WORTH)
    for (int64_t r = 0; r < rows; r++) {
        const int64_t at = r * channels;
        for (int64_t j = 0; j < channels; j++) {
            const int64_t near = scaled(z[at + j] - p->mean[j], (Scale){p->factor[j], p->shift[j]});
            const int32_t inside = clamped(near, 32767, &clamps);
            x[at + j] = (int16_t)inside;
            y[at + j] = (int32_t)(p->gamma[j] * inside + p->beta[j]);
        }
    }
    return clamps;
}

// Of d, and of d x.
void JOIN(dots, VARIANT)(const int16_t *d, const int16_t *x, int64_t rows, int64_t channels, int64_t *sums,
                         int64_t *dots) {
    for (int64_t first = 0; first < channels; first += CHANNELS) {
        const int64_t width = channels - first < CHANNELS ? channels - first : CHANNELS;
        int64_t sum[CHANNELS] = {0}, dot[CHANNELS] = {0};
        for (int64_t r = 0; r < rows; r++) {
            const int64_t at = r * channels + first;
            for (int64_t j = 0; j < width; j++) {
                sum[j] += d[at + j];
                dot[j] += d[at + j] * x[at + j];
            }
        }
        memcpy(sums + first, sum, (size_t)width * 8);
        memcpy(dots + first, dot, (size_t)width * 8);
    }
}

int64_t JOIN(norm_back, VARIANT)(const NormBack *p, const int16_t *d, const int16_t *x, int64_t rows, int64_t channels,
                                 int16_t *out) {
    int64_t clamps = 0;
#pragma omp parallel for schedule(static) reduction(+ : clamps) if (rows * channels >= WORTH)
    for (int64_t r = 0; r < rows; r++) {
        const int64_t at = r * channels;
        for (int64_t j = 0; j < channels; j++) {
            const int64_t share = (x[at + j] * p->slope[j] + (1 << 17)) >> 18;
            const int64_t fine = d[at + j] * 256 - p->mean[j] - share;
            out[at + j] = (int16_t)clamped(scaled(fine, (Scale){p->factor[j], p->shift[j]}), 32767, &clamps);
        }
    }
    return clamps;
}
