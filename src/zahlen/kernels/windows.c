// Training's pools: maxima and sums over windows of images whose channels lie last, and the way back of gradients.

#include "windows.h"

#include "numbers.h"

#define CHANNELS 64  // that are summed at a time
#define WORTH 4096   // elements that are worth a thread's while

// Windows from *first to *last (exclusive) have position `at` of an axis inside.
static void windows_over(const Windows *w, int axis, int64_t at, int64_t *first, int64_t *last) {
    const int32_t size = (int32_t)w->size[axis], stride = (int32_t)w->stride[axis];
    const int32_t place = (int32_t)(at + w->padding[axis]), count = (int32_t)(axis == 0 ? w->rows : w->columns);
    *first = place < size ? 0 : (place - size) / stride + 1;
    *last = place / stride < count ? place / stride + 1 : count;
}

// Places of window `k` from *first to *last (exclusive) lie inside an axis.
static void places_of(const Windows *w, int axis, int64_t k, int64_t *first, int64_t *last) {
    const int64_t start = k * w->stride[axis] - w->padding[axis], length = axis == 0 ? w->height : w->width;
    *first = start < 0 ? -start : 0;
    *last = length - start < w->size[axis] ? length - start : w->size[axis];
}

static const int16_t *element(const Windows *w, const int16_t *image, int64_t row, int64_t column, int64_t y, int64_t x) {
    const int64_t at_y = row * w->stride[0] - w->padding[0] + y, at_x = column * w->stride[1] - w->padding[1] + x;
    return image + (at_y * w->width + at_x) * w->channels;
}

// `which` is the first place of the window that has the maximum, counted row by row.
void JOIN(maxpool, VARIANT)(const Windows *w, int64_t count, const int16_t *x, int16_t *y, int16_t *which) {
    const int64_t channels = w->channels, size = w->height * w->width * channels;
#pragma omp parallel for schedule(static) collapse(2) if (count * size >= 4 * WORTH)
    for (int64_t n = 0; n < count; n++) {
        for (int64_t row = 0; row < w->rows; row++) {
            int64_t top, bottom, left, right;
            places_of(w, 0, row, &top, &bottom);
            for (int64_t column = 0; column < w->columns; column++) {
                places_of(w, 1, column, &left, &right);
                const int64_t at = ((n * w->rows + row) * w->columns + column) * channels;
                int16_t *restrict best = y + at, *restrict place = which + at;
                const int16_t *start = element(w, x + n * size, row, column, top, left);
                for (int64_t j = 0; j < channels; j++) {
                    best[j] = start[j];
                    place[j] = (int16_t)(top * w->size[1] + left);
                }
                for (int64_t i = top; i < bottom; i++) {
                    for (int64_t k = left + (i == top); k < right; k++) {
                        const int16_t *restrict from = element(w, x + n * size, row, column, i, k);
                        const int16_t here = (int16_t)(i * w->size[1] + k);
                        for (int64_t j = 0; j < channels; j++) {
                            const int more = from[j] > best[j];
                            best[j] = more ? from[j] : best[j];
                            place[j] = more ? here : place[j];
                        }
                    }
                }
            }
        }
    }
}

void JOIN(sumpool, VARIANT)(const Windows *w, int64_t count, const int16_t *x, int32_t *y) {
    const int64_t channels = w->channels, size = w->height * w->width * channels;
#pragma omp parallel for schedule(static) collapse(2) if (count * size >= 4 * WORTH)
    for (int64_t n = 0; n < count; n++) {
        for (int64_t row = 0; row < w->rows; row++) {
            int64_t top, bottom, left, right;
            places_of(w, 0, row, &top, &bottom);
            for (int64_t column = 0; column < w->columns; column++) {
                places_of(w, 1, column, &left, &right);
                int32_t *restrict sum = y + ((n * w->rows + row) * w->columns + column) * channels;
                memset(sum, 0, (size_t)channels * 4);
                for (int64_t i = top; i < bottom; i++) {
                    for (int64_t k = left; k < right; k++) {
                        const int16_t *restrict from = element(w, x + n * size, row, column, i, k);
                        for (int64_t j = 0; j < channels; j++) {
                            sum[j] += from[j];
                        }
                    }
                }
            }
        }
    }
}

// Windows that do not overlap.
static int64_t apart_back(const Windows *w, int64_t count, const int16_t *d, const int16_t *which, Scale scale,
                          int16_t *out) {
    const int64_t channels = w->channels, size = w->height * w->width * channels;
    int64_t clamps = 0;
#pragma omp parallel for schedule(static) reduction(+ : clamps) if (count * size >= 4 * WORTH)
    for (int64_t n = 0; n < count; n++) {
        memset(out + n * size, 0, (size_t)size * 2);
        for (int64_t row = 0; row < w->rows; row++) {
            int64_t top, bottom, left, right;
            places_of(w, 0, row, &top, &bottom);
            for (int64_t column = 0; column < w->columns; column++) {
                places_of(w, 1, column, &left, &right);
                const int64_t at = ((n * w->rows + row) * w->columns + column) * channels;
                const int16_t *restrict from = d + at;
                for (int64_t i = top; i < bottom; i++) {
                    for (int64_t k = left; k < right; k++) {
                        int16_t *restrict to = out + (element(w, out + n * size, row, column, i, k) - out);
                        if (which == NULL) {
                            for (int64_t j = 0; j < channels; j++) {
                                to[j] = (int16_t)clamped(scaled(from[j], scale), 32767, &clamps);
                            }
                            continue;
                        }
                        const int16_t *restrict place = which + at, here = (int16_t)(i * w->size[1] + k);
                        for (int64_t j = 0; j < channels; j++) {
                            to[j] = place[j] == here ? from[j] : 0;
                        }
                    }
                }
            }
        }
    }
    return clamps;
}

// What windows pass back to each element: of a maximum (where `which` is given) to its place only.
int64_t JOIN(pool_back, VARIANT)(const Windows *w, int64_t count, const int16_t *d, const int16_t *which, Scale scale,
                                 int16_t *out) {
    if (w->size[0] <= w->stride[0] && w->size[1] <= w->stride[1] &&
        (which == NULL || (scale.factor == 1 && scale.shift == 0))) {
        return apart_back(w, count, d, which, scale, out);
    }
    const int64_t channels = w->channels, outputs = w->rows * w->columns * channels;
    int64_t clamps = 0;
#pragma omp parallel for schedule(static) collapse(2) reduction(+ : clamps) if (count * outputs >= WORTH)
    for (int64_t n = 0; n < count; n++) {
        for (int64_t y = 0; y < w->height; y++) {
            int64_t top, bottom, left, right;
            windows_over(w, 0, y, &top, &bottom);
            int16_t *to = out + (n * w->height + y) * w->width * channels;
            for (int64_t x = 0; x < w->width; x++, to += channels) {
                windows_over(w, 1, x, &left, &right);
                for (int64_t first = 0; first < channels; first += CHANNELS) {
                    const int64_t width = channels - first < CHANNELS ? channels - first : CHANNELS;
                    int32_t sum[CHANNELS] = {0};
                    for (int64_t row = top; row < bottom; row++) {
                        for (int64_t column = left; column < right; column++) {
                            const int64_t at = n * outputs + (row * w->columns + column) * channels + first;
                            const int64_t i = y + w->padding[0] - row * w->stride[0];
                            const int16_t here = (int16_t)(i * w->size[1] + x + w->padding[1] - column * w->stride[1]);
                            for (int64_t j = 0; j < width; j++) {
                                sum[j] += which == NULL || which[at + j] == here ? d[at + j] : 0;
                            }
                        }
                    }
                    for (int64_t j = 0; j < width; j++) {
                        to[first + j] = (int16_t)clamped(scaled(sum[j], scale), 32767, &clamps);
                    }
                }
            }
        }
    }
    return clamps;
}
