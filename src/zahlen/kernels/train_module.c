// Training's kernels for Python: every buffer and every place in it is checked before a kernel sees it.

#include "call.h"

#include <stdlib.h>

#include "dispatch.h"

static const Train *train;

void train_choose(const char *name) { train = variant_train(name); }

// Whether all places, `beyond` elements further too, are inside.
static int inside(const int32_t *places, int64_t count, int64_t beyond, int64_t elements) {
    for (int64_t k = 0; k < count; k++) {
        if (places[k] < 0 || places[k] + beyond >= elements) {
            return 0;
        }
    }
    return 1;
}

static int64_t most_of(const int32_t *places, int64_t count) {
    int64_t most = 0;
    for (int64_t k = 0; k < count; k++) {
        if (places[k] < 0) {
            return INT32_MAX;
        }
        most = places[k] > most ? places[k] : most;
    }
    return most;
}

static int is_scale(Scale s) { return s.factor >= 0 && s.factor <= 1LL << 31 && s.shift >= 0 && s.shift <= 62; }

// What a scale makes of 32 bits fits in 32 bits.
static int is_part(Scale s) { return is_scale(s) && s.shift <= 32 && s.factor <= 1LL << s.shift; }

// ---------------------------------------------------------------------------------------------------------------------
// Products.

static PyObject *packed_size(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    if (!begin(&call, args, "", 2)) {
        return NULL;
    }
    if (call.number[0] < 1 || call.number[1] < 1 || call.number[0] > INT32_MAX || call.number[1] > INT32_MAX) {
        return unfit(&call, "packed_size: not a matrix");
    }
    return PyLong_FromLongLong(train->packed_size(call.number[0], call.number[1]));
}

static PyObject *pack_rows(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    if (!begin(&call, args, "hiiI", 0)) {
        return NULL;
    }
    const int64_t rows = COUNT(1), columns = COUNT(2);
    Packed out = {AT(3), (rows + 1) / 2, columns};
    if (rows < 1 || columns < 1 || COUNT(3) < train->packed_size(out.pairs, columns) ||
        most_of(AT(1), rows) + most_of(AT(2), columns) >= COUNT(0)) {
        return unfit(&call, "pack_rows: the places are outside");
    }
    RUN(train->pack_rows(AT(0), AT(1), AT(2), rows, &out));
    Py_RETURN_NONE;
}

static PyObject *pack_columns(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    if (!begin(&call, args, "hI", 2)) {
        return NULL;
    }
    const int64_t count = call.number[0], columns = call.number[1];
    if (count < 1 || columns < 1 || count > COUNT(0) || columns > COUNT(0) / count ||
        COUNT(1) < train->packed_size((count + 1) / 2, columns)) {
        return unfit(&call, "pack_columns: the matrix is outside");
    }
    Packed out = {AT(1), (count + 1) / 2, columns};
    RUN(train->pack_columns(AT(0), count, count, &out));
    Py_RETURN_NONE;
}

static PyObject *interleave(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    if (!begin(&call, args, "hiI", 1)) {
        return NULL;
    }
    const int64_t rows = COUNT(1), width = call.number[0];
    if (rows < 1 || width < 1 || !inside(AT(1), rows, width - 1, COUNT(0)) || COUNT(2) / width < (rows + 1) / 2) {
        return unfit(&call, "interleave: the rows are outside");
    }
    RUN(train->interleave(AT(0), AT(1), rows, width, AT(2)));
    Py_RETURN_NONE;
}

// (a, rows, steps, packed, out, start, columns, kind, depth, factor, shift): see train.h
static PyObject *product(PyObject *args, const char *letters) {
    Call call;
    if (!begin(&call, args, letters, 5)) {
        return NULL;
    }
    const Rows a = {AT(0), AT(1), AT(2), COUNT(1), COUNT(2)};
    const Packed b = {AT(3), COUNT(2), call.number[0]};
    const int32_t *start = COUNT(5) > 0 ? AT(5) : NULL;
    const Sums out = {AT(4), call.number[1], call.number[2], {call.number[3], call.number[4]}, start};
    static const char kinds[] = {'I', 'I', 'Q', 'H'};
    if (a.count < 1 || a.pairs < 1 || b.columns < 1 || out.kind < PUT32 || out.kind > PUT16 ||
        kinds[out.kind] != letters[4] || out.depth < 1 || !is_scale(out.scale) ||
        most_of(a.rows, a.count) + most_of(a.steps, a.pairs) + 1 >= COUNT(0) ||
        COUNT(3) < train->packed_size(b.pairs, b.columns) || COUNT(4) / b.columns < a.count ||
        (start != NULL && COUNT(5) != b.columns)) {
        return unfit(&call, "product: the matrices do not fit");
    }
    int64_t clamps;
    RUN(clamps = train->product(&a, &b, &out));
    return PyLong_FromLongLong(clamps);
}

static PyObject *product32(PyObject *self, PyObject *args) { return (void)self, product(args, "hiiiIi"); }
static PyObject *product64(PyObject *self, PyObject *args) { return (void)self, product(args, "hiiiQi"); }
static PyObject *product16(PyObject *self, PyObject *args) { return (void)self, product(args, "hiiiHi"); }

// ---------------------------------------------------------------------------------------------------------------------
// Pools: (.., height, width, channels, and of both axes size, stride, padding)

static int read_windows(Windows *w, const int64_t *n) {
    *w = (Windows){n[0], n[1], n[2], 0, 0, {n[3], n[4]}, {n[5], n[6]}, {n[7], n[8]}};
    int64_t lengths[2] = {w->height, w->width}, *counts[2] = {&w->rows, &w->columns};
    for (int axis = 0; axis < 2; axis++) {
        const int64_t length = lengths[axis], size = w->size[axis], pad = w->padding[axis];
        if (length < 1 || length > 1 << 24 || size < 1 || size > INT16_MAX || w->stride[axis] < 1 ||
            w->stride[axis] > 1 << 24 || pad < 0 || 2 * pad > size || length + 2 * pad < size) {
            return 0;
        }
        *counts[axis] = (length + 2 * pad - size) / w->stride[axis] + 1;
    }
    return w->channels >= 1 && w->channels <= 1 << 24 && w->size[0] * w->size[1] <= INT16_MAX &&
           w->height * w->width <= INT64_MAX / w->channels / 4;
}

// How many images there are, if so many elements stand before the windows and so many behind; else -1.
static int64_t images(const Windows *w, int64_t before, int64_t behind) {
    const int64_t size = w->height * w->width * w->channels, count = before / size;
    return count * size == before && behind % w->channels == 0 &&
                   behind / w->channels == count * w->rows * w->columns
               ? count
               : -1;
}

static PyObject *maxpool(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    if (!begin(&call, args, "hHH", 9)) {
        return NULL;
    }
    Windows w;
    if (!read_windows(&w, call.number) || images(&w, COUNT(0), COUNT(1)) < 0 || COUNT(2) != COUNT(1)) {
        return unfit(&call, "maxpool: not windows, or arrays of other lengths");
    }
    RUN(train->maxpool(&w, images(&w, COUNT(0), COUNT(1)), AT(0), AT(1), AT(2)));
    Py_RETURN_NONE;
}

static PyObject *sumpool(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    if (!begin(&call, args, "hI", 9)) {
        return NULL;
    }
    Windows w;
    if (!read_windows(&w, call.number) || images(&w, COUNT(0), COUNT(1)) < 0) {
        return unfit(&call, "sumpool: not windows, or arrays of other lengths");
    }
    RUN(train->sumpool(&w, images(&w, COUNT(0), COUNT(1)), AT(0), AT(1)));
    Py_RETURN_NONE;
}

static PyObject *pool_back(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    if (!begin(&call, args, "hhH", 11)) {
        return NULL;
    }
    Windows w;
    const Scale scale = {call.number[9], call.number[10]};
    if (!read_windows(&w, call.number) || images(&w, COUNT(2), COUNT(0)) < 0 || !is_scale(scale) ||
        (COUNT(1) != 0 && COUNT(1) != COUNT(0))) {
        return unfit(&call, "pool_back: not windows, or arrays of other lengths");
    }
    const int16_t *which = COUNT(1) > 0 ? AT(1) : NULL;
    int64_t clamps;
    RUN(clamps = train->pool_back(&w, images(&w, COUNT(2), COUNT(0)), AT(0), which, scale, AT(2)));
    return PyLong_FromLongLong(clamps);
}

// ---------------------------------------------------------------------------------------------------------------------
// Batch normalisation: (.., constants), the constants being rows of a matrix, one column for each channel.

// Rows of so many channels in buffer 0, or -1 if it, or one of the others of the same length, has no such rows.
static int64_t rows_of(const Call *call, int64_t channels, int others) {
    const int64_t count = call->buffer[0].len / call->buffer[0].itemsize;
    int fits = channels >= 1 && count % channels == 0;
    for (int k = 1; fits && k <= others; k++) {
        fits = call->buffer[k].len / call->buffer[k].itemsize == count;
    }
    return fits ? count / channels : -1;
}

static int are_scales(const int64_t *factors, const int64_t *shifts, int64_t count) {
    int fine = 1;
    for (int64_t k = 0; k < count; k++) {
        fine &= is_scale((Scale){factors[k], shifts[k]});
    }
    return fine;
}

static PyObject *moments(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    if (!begin(&call, args, "iQQ", 1)) {
        return NULL;
    }
    const int64_t channels = COUNT(1), rows = rows_of(&call, channels, 0);
    if (rows < 0 || COUNT(2) != channels || call.number[0] < 0 || call.number[0] > 31) {
        return unfit(&call, "moments: arrays of other lengths");
    }
    RUN(train->moments(AT(0), rows, channels, call.number[0], AT(1), AT(2)));
    Py_RETURN_NONE;
}

static PyObject *normalise(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    if (!begin(&call, args, "iHIq", 0)) {
        return NULL;
    }
    const int64_t n = COUNT(3) / 5, rows = rows_of(&call, n, 2);
    const int64_t *at = AT(3);
    if (rows < 0 || COUNT(3) != 5 * n || !are_scales(at + n, at + 2 * n, n)) {
        return unfit(&call, "normalise: not a norm, or arrays of other lengths");
    }
    const Norm p = {at, at + n, at + 2 * n, at + 3 * n, at + 4 * n};
    int64_t clamps;
    RUN(clamps = train->normalise(&p, AT(0), rows, n, AT(1), AT(2)));
    return PyLong_FromLongLong(clamps);
}

static PyObject *dots(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    if (!begin(&call, args, "hhQQ", 0)) {
        return NULL;
    }
    const int64_t channels = COUNT(2), rows = rows_of(&call, channels, 1);
    if (rows < 0 || COUNT(3) != channels) {
        return unfit(&call, "dots: arrays of other lengths");
    }
    RUN(train->dots(AT(0), AT(1), rows, channels, AT(2), AT(3)));
    Py_RETURN_NONE;
}

static PyObject *norm_back(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    if (!begin(&call, args, "hhHq", 0)) {
        return NULL;
    }
    const int64_t n = COUNT(3) / 4, rows = rows_of(&call, n, 2);
    const int64_t *at = AT(3);
    if (rows < 0 || COUNT(3) != 4 * n || !are_scales(at + 2 * n, at + 3 * n, n)) {
        return unfit(&call, "norm_back: not a norm, or arrays of other lengths");
    }
    const NormBack p = {at, at + n, at + 2 * n, at + 3 * n};
    int64_t clamps;
    RUN(clamps = train->norm_back(&p, AT(0), AT(1), rows, n, AT(2)));
    return PyLong_FromLongLong(clamps);
}

// ---------------------------------------------------------------------------------------------------------------------
// Activations, loss, update.

static int read_stairs(Stairs *s, const int32_t *at, int64_t count) {
    const int32_t *end = at + count;
    return stairs_read(s, &at, end) && at == end;
}

static PyObject *stairs(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    if (!begin(&call, args, "iiH", 0)) {
        return NULL;
    }
    Stairs s;
    if (!read_stairs(&s, AT(0), COUNT(0)) || COUNT(1) != COUNT(2)) {
        return unfit(&call, "stairs: not a staircase, or arrays of other lengths");
    }
    RUN(train->stairs(&s, AT(1), COUNT(1), AT(2)));
    Py_RETURN_NONE;
}

static PyObject *buckets(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    if (!begin(&call, args, "iH", 3)) {
        return NULL;
    }
    const Buckets b = {call.number[0], call.number[1], call.number[2]};
    if (b.count < 1 || b.count > INT16_MAX || b.shift < 0 || b.shift > 30 || b.lo < INT32_MIN || b.lo > INT32_MAX ||
        b.count > INT32_MAX >> b.shift || b.lo + (b.count << b.shift) > INT32_MAX || COUNT(0) != COUNT(1)) {
        return unfit(&call, "buckets: not buckets, or arrays of other lengths");
    }
    RUN(train->buckets(&b, AT(0), COUNT(0), AT(1)));
    Py_RETURN_NONE;
}

static PyObject *slopes(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    if (!begin(&call, args, "ihhH", 0)) {
        return NULL;
    }
    const int32_t *table = AT(0);
    int fits = COUNT(0) >= 1 && COUNT(0) <= INT16_MAX && COUNT(1) == COUNT(2) && COUNT(1) == COUNT(3);
    for (int64_t k = 0; fits && k < COUNT(0); k++) {
        fits = table[k] >= -INT16_MAX && table[k] <= INT16_MAX;
    }
    if (!fits) {
        return unfit(&call, "slopes: not a table of slopes, or arrays of other lengths");
    }
    RUN(train->slopes(table, COUNT(0), AT(1), AT(2), COUNT(1), AT(3)));
    Py_RETURN_NONE;
}

static PyObject *softmax(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    if (!begin(&call, args, "iiiiH", 2)) {
        return NULL;
    }
    const Softmax s = {call.number[0], call.number[1], AT(0), AT(1)};
    const int64_t rows = COUNT(3), classes = rows > 0 ? COUNT(2) / rows : 0;
    int fits = COUNT(0) == 4096 && COUNT(1) == 1024 && classes > 0 && classes <= 1 << 16 && rows * classes == COUNT(2) &&
               COUNT(4) == COUNT(2) && s.factor >= 0 && s.factor <= INT32_MAX && s.bits >= 1 && s.bits <= 14;
    const int32_t *powers = AT(0), *labels = AT(3);
    for (int64_t k = 0; fits && k < 4096; k++) {
        fits = powers[k] >= 0 && powers[k] <= 1 << 16;
    }
    for (int64_t k = 0; fits && k < rows; k++) {
        fits = labels[k] < classes;
    }
    if (!fits || powers[0] < 1) {
        return unfit(&call, "softmax: not its tables, or arrays of other lengths");
    }
    int64_t result[2];
    RUN(train->softmax(&s, AT(2), AT(3), rows, classes, AT(4), result));
    return Py_BuildValue("LL", (long long)result[0], (long long)result[1]);
}

static PyObject *update(PyObject *args, const char *letters) {
    Call call;
    if (!begin(&call, args, letters, 12)) {
        return NULL;
    }
    const int64_t *n = call.number;
    const Update u = {n[0], n[1], n[2], {n[3], n[4]}, n[5], n[6], n[7], n[8], n[9], n[10], n[11]};
    if (u.down < 0 || u.down > 30 || u.clip < 0 || u.clip > 1 << 16 || u.decay < 0 || u.decay > 31 ||
        !is_scale(u.step) || u.step.shift > 32 || u.weight_decay < 0 || u.weight_decay > 31 || u.fraction < 0 ||
        u.fraction > 24 || (u.grain != 1 && u.grain != 2) || u.lo > u.hi || u.lo < INT32_MIN / 2 ||
        u.hi > INT32_MAX / 2 || (letters[3] == 'H' && (u.lo < -32768 || u.hi > 32767)) ||
        (u.hi + 2) << u.fraction > INT32_MAX || (u.lo - 2) << u.fraction < INT32_MIN || COUNT(0) != COUNT(1) ||
        COUNT(1) != COUNT(2) || COUNT(2) != COUNT(3)) {
        return unfit(&call, "update: not a rule, or arrays of other lengths");
    }
    int64_t clamps;
    RUN(clamps = train->update(&u, COUNT(0), AT(0), letters[0] == 'Q', AT(1), AT(2), AT(3), letters[3] == 'I'));
    return PyLong_FromLongLong(clamps);
}

static PyObject *update32(PyObject *self, PyObject *args) { return (void)self, update(args, "IIIH"); }
static PyObject *update64(PyObject *self, PyObject *args) { return (void)self, update(args, "QIIH"); }
static PyObject *update32_long(PyObject *self, PyObject *args) { return (void)self, update(args, "IIII"); }
static PyObject *update64_long(PyObject *self, PyObject *args) { return (void)self, update(args, "QIII"); }

static PyObject *column_sums(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    if (!begin(&call, args, "hQ", 0)) {
        return NULL;
    }
    const int64_t columns = COUNT(1), rows = columns > 0 ? COUNT(0) / columns : 0;
    if (columns < 1 || rows * columns != COUNT(0)) {
        return unfit(&call, "column_sums: arrays of other lengths");
    }
    RUN(train->column_sums(AT(0), rows, columns, AT(1)));
    Py_RETURN_NONE;
}

// ---------------------------------------------------------------------------------------------------------------------
// Recurrent cells: (plan, ..)

// The rest of the arguments behind the plan of a cell.
static const Plan *begin_cell(Call *call, PyObject *args, int kind, const char *letters, int numbers) {
    const Plan *plan = plan_of(PyTuple_Size(args) > 0 ? PyTuple_GetItem(args, 0) : NULL, kind);
    PyObject *rest = plan == NULL ? NULL : PyTuple_GetSlice(args, 1, PyTuple_Size(args));
    const int fine = rest != NULL && begin(call, rest, letters, numbers);
    Py_XDECREF(rest);
    return fine ? plan : NULL;
}

// Buffer k has so many elements for each row and unit, `widths` says.
static int cell_fits(const Call *call, int64_t rows, int64_t n, const char *widths) {
    int fits = rows >= 1 && n >= 1 && n <= 1 << 24 && rows <= 1 << 24;
    for (int k = 0; fits && widths[k] != 0; k++) {
        fits = call->buffer[k].len / call->buffer[k].itemsize == (widths[k] - '0') * rows * n;
    }
    return fits;
}

// (plan, share, symbols, z, across, h, c, kept, time, rows, units)
static PyObject *lstm_forward_steps(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    const Plan *p = begin_cell(&call, args, LSTM, "IiIiHHH", 3);
    if (p == NULL) {
        return NULL;
    }
    const int64_t time = call.number[0], rows = call.number[1], n = call.number[2];
    const int few = time >= 1 && rows >= 1 && n >= 1 && time <= 1 << 24 && rows <= 1 << 20 && n <= 1 << 16;
    const int64_t state = few ? rows * n : 0, symbols = COUNT(1), table = few ? COUNT(0) / (4 * n) : 0;
    int fits = few && rows * 4 * n <= INT32_MAX && COUNT(3) >= train->packed_size((n + 1) / 2, 4 * n) &&
               COUNT(4) == (time + 1) * state && COUNT(5) == COUNT(4) && COUNT(6) == 5 * time * state &&
               (symbols == 0 ? COUNT(0) == 4 * time * state : symbols == time * rows && COUNT(2) == 4 * state);
    for (int64_t k = 0; fits && k < symbols; k++) {
        fits = ((const int32_t *)AT(1))[k] >= 0 && ((const int32_t *)AT(1))[k] < table;
    }
    int32_t *places = fits ? malloc(4 * (size_t)(rows + 2 * n + 1)) : NULL;
    if (places == NULL) {
        return unfit(&call, "lstm_forward_steps: arrays of other lengths");
    }
    const Unroll u = {time, rows, n, AT(0), symbols > 0 ? AT(1) : NULL, AT(2), AT(3), AT(4), AT(5), AT(6)};
    Py_BEGIN_ALLOW_THREADS train->lstm_forward_steps(&p->lstm, &u, places);
    free(places);
    Py_END_ALLOW_THREADS done(&call);
    Py_RETURN_NONE;
}

// (plan, dh, z, across, c, kept, dc, dz, time, rows, units, candidate, squash, fraction, factor, shift); dz has the step
// behind at its end.
static PyObject *lstm_backward_steps(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    const Plan *p = begin_cell(&call, args, LSTM, "hIihhHH", 8);
    if (p == NULL) {
        return NULL;
    }
    const int64_t *m = call.number, time = m[0], rows = m[1], n = m[2];
    const LstmBack q = {m[3], m[4], m[5], {m[6], m[7]}};
    const int few = time >= 1 && rows >= 1 && n >= 1 && time <= 1 << 24 && rows <= 1 << 20 && n <= 1 << 16;
    const int64_t state = few ? rows * n : 0;
    const int fits = few && rows * 4 * n <= INT32_MAX && COUNT(0) == time * state && COUNT(1) == state &&
                     COUNT(2) >= train->packed_size(2 * n, n) && COUNT(3) >= time * state &&
                     COUNT(4) == 5 * time * state && COUNT(5) == state && COUNT(6) == 4 * (time + 1) * state &&
                     q.candidate >= 0 && q.candidate <= 128 && q.squash >= 0 && q.squash <= 128 && q.fraction >= 0 &&
                     q.fraction <= 15 && is_part(q.state);
    int32_t *places = fits ? malloc(4 * (size_t)(rows + 2 * n + 1)) : NULL;
    if (places == NULL) {
        return unfit(&call, "lstm_backward_steps: not a rule, or arrays of other lengths");
    }
    const Unroll u = {time, rows, n, NULL, NULL, AT(1), AT(2), NULL, AT(3), AT(4)};
    int64_t clamps;
    Py_BEGIN_ALLOW_THREADS clamps = train->lstm_backward_steps(&p->lstm, &q, &u, AT(0), AT(5), AT(6), places);
    free(places);
    Py_END_ALLOW_THREADS done(&call);
    return PyLong_FromLongLong(clamps);
}

static PyObject *gru_forward(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    const Plan *p = begin_cell(&call, args, GRU, "iihHHH", 2);
    if (p == NULL) {
        return NULL;
    }
    const int64_t rows = call.number[0], n = call.number[1];
    if (!cell_fits(&call, rows, n, "331113")) {
        return unfit(&call, "gru_forward: arrays of other lengths");
    }
    RUN(train->gru_forward(&p->gru, rows, n, AT(0), AT(1), AT(2), AT(3), AT(4), AT(5)));
    Py_RETURN_NONE;
}

static PyObject *gru_backward(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    if (!begin(&call, args, "hiihhHHH", 12)) {
        return NULL;
    }
    const int64_t *m = call.number, rows = m[0], n = m[1], limit = m[2];
    const GruBack q = {m[3], {m[4], m[5]}, {m[6], m[7]}, {m[8], m[9]}, {m[10], m[11]}};
    if (!cell_fits(&call, rows, n, "11313133") || limit < 1 || limit > 32767 || q.candidate < 0 || q.candidate > limit ||
        !is_part(q.state) || !is_scale(q.share) || q.share.shift > 32 || q.share.factor >= 1 << 30 ||
        !is_scale(q.square) || q.square.shift > 32 || q.square.factor * limit * limit > 8192LL << q.square.shift ||
        !is_scale(q.cell) || q.cell.shift > 32 || q.cell.factor * limit > 8192LL << q.cell.shift) {
        return unfit(&call, "gru_backward: not a rule, or arrays of other lengths");
    }
    int64_t clamps;
    RUN(clamps = train->gru_backward(&q, limit, rows, n, AT(0), AT(1), AT(2), AT(3), AT(4), AT(5), AT(6), AT(7)));
    return PyLong_FromLongLong(clamps);
}

static PyObject *rnn_backward(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    if (!begin(&call, args, "hihH", 6)) {
        return NULL;
    }
    const int64_t *m = call.number, count = COUNT(0);
    const RnnBack q = {m[0], m[1], {m[2], m[3]}, {m[4], m[5]}};
    if (COUNT(1) != count || COUNT(2) != count || COUNT(3) != count || q.limit < 1 || q.limit > 32767 || q.edge < 0 ||
        q.edge > q.limit || !is_part(q.state) || !is_scale(q.square) || q.square.shift > 32 ||
        q.square.factor * q.limit * q.limit > 8192LL << q.square.shift) {
        return unfit(&call, "rnn_backward: not a rule, or arrays of other lengths");
    }
    int64_t clamps;
    RUN(clamps = train->rnn_backward(&q, count, AT(0), AT(1), AT(2), AT(3)));
    return PyLong_FromLongLong(clamps);
}

static PyObject *add_rows(PyObject *self, PyObject *args) {
    (void)self;
    Call call;
    if (!begin(&call, args, "hiQ", 1)) {
        return NULL;
    }
    const int64_t rows = COUNT(1), columns = call.number[0];
    if (columns < 1 || COUNT(0) != rows * columns || !inside(AT(1), rows, 0, COUNT(2) / columns)) {
        return unfit(&call, "add_rows: arrays of other lengths, or rows outside");
    }
    RUN(train->add_rows(AT(0), AT(1), rows, columns, AT(2)));
    Py_RETURN_NONE;
}

// ---------------------------------------------------------------------------------------------------------------------

static PyMethodDef methods[] = {
    {"packed_size", packed_size, METH_VARARGS, "packed_size(pairs, columns): int32 that a packed matrix takes"},
    {"pack_rows", pack_rows, METH_VARARGS, "pack_rows(b, rows, columns, packed)"},
    {"pack_columns", pack_columns, METH_VARARGS, "pack_columns(b, packed, count, columns)"},
    {"interleave", interleave, METH_VARARGS, "interleave(a, rows, out, width)"},
    {"product32", product32, METH_VARARGS, "product32(a, rows, steps, packed, out, start, columns, kind, depth, factor, shift)"},
    {"product64", product64, METH_VARARGS, "product64(..as product32)"},
    {"product16", product16, METH_VARARGS, "product16(..as product32): how many sums were clamped"},
    {"moments", moments, METH_VARARGS, "moments(z, sums, squares, down)"},
    {"normalise", normalise, METH_VARARGS, "normalise(z, x, y, constants): how many were clamped"},
    {"dots", dots, METH_VARARGS, "dots(d, x, sums, dots)"},
    {"norm_back", norm_back, METH_VARARGS, "norm_back(d, x, out, constants): how many were clamped"},
    {"maxpool", maxpool, METH_VARARGS, "maxpool(x, out, which, ..)"},
    {"sumpool", sumpool, METH_VARARGS, "sumpool(x, out, ..)"},
    {"pool_back", pool_back, METH_VARARGS, "pool_back(d, which, out, .., factor, shift): how many were clamped"},
    {"stairs", stairs, METH_VARARGS, "stairs(numbers, z, out)"},
    {"buckets", buckets, METH_VARARGS, "buckets(z, out, lo, shift, count)"},
    {"slopes", slopes, METH_VARARGS, "slopes(table, d, places, out)"},
    {"softmax", softmax, METH_VARARGS, "softmax(powers, logs, logits, labels, delta, factor, bits): loss, right"},
    {"update32", update32, METH_VARARGS, "update32(gradient, momentum, latent, weights, ..)"},
    {"update64", update64, METH_VARARGS, "update64(gradient, momentum, latent, weights, ..)"},
    {"update32_long", update32_long, METH_VARARGS, "update32_long(..as update32, with weights of 32 bits)"},
    {"update64_long", update64_long, METH_VARARGS, "update64_long(..as update64, with weights of 32 bits)"},
    {"column_sums", column_sums, METH_VARARGS, "column_sums(d, sums)"},
    {"lstm_forward_steps", lstm_forward_steps, METH_VARARGS, "lstm_forward_steps(plan, share, symbols, z, across, ..)"},
    {"lstm_backward_steps", lstm_backward_steps, METH_VARARGS, "lstm_backward_steps(plan, dh, z, across, c, ..)"},
    {"gru_forward", gru_forward, METH_VARARGS, "gru_forward(plan, x, y, c, h_next, c_next, kept, rows, units)"},
    {"gru_backward", gru_backward, METH_VARARGS, "gru_backward(dh, through, y, c, kept, dc, dx, dy, ..)"},
    {"rnn_backward", rnn_backward, METH_VARARGS, "rnn_backward(dh, through, h_next, dz, ..)"},
    {"add_rows", add_rows, METH_VARARGS, "add_rows(d, index, out, columns)"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "zahlen.kernels._native.train", "Training's kernels.", -1,
                                    methods, 0, 0, 0, 0};

PyObject *train_module(void) { return PyModule_Create(&module); }
