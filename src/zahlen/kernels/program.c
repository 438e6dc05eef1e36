// Reads a packed program, and believes nothing: every index that a kernel will follow is checked here, once.

#include "program.h"

#include <stdlib.h>
#include <string.h>

#define MAGIC 0x5a50524f47524d31  // "ZPROGRM1"
#define LIMIT ((int64_t)1 << 40)  // more bytes than any machine has

static const int type_size[TYPES] = {1, 2, 4, 8};

typedef struct {
    const int64_t *at, *end;
    const uint8_t *data;
    int64_t bytes;
    int section;  // of the instruction that is read
    const char *reason;
} Reader;

static int fail(Reader *r, const char *reason) {
    if (r->reason == NULL) {
        r->reason = reason;
    }
    return 0;
}

static int64_t word(Reader *r, int64_t least, int64_t most) {
    if (r->at == r->end) {
        fail(r, "it ends too early");
        return least;
    }
    const int64_t value = *r->at++;
    if (value < least || value > most) {
        fail(r, "a number is out of range");
        return least;
    }
    return value;
}

// `count` constants of `size` bytes; NULL with count 0 if there are none.
static const void *constants(Reader *r, int64_t count, int64_t size) {
    const int64_t offset = word(r, -1, LIMIT);
    if (offset == -1 && count == 0) {
        return NULL;
    }
    if (r->reason != NULL || count < 1 || count > LIMIT / size || offset < 0 || offset % 8 != 0 ||
        offset > r->bytes || count * size > r->bytes - offset) {
        fail(r, "constants lie outside the data");
        return NULL;
    }
    return r->data + offset;
}

// Places within a row: base + what the table says, and `after` elements from there on.
static const int32_t *places(Reader *r, int64_t count, int64_t least, int64_t room, int32_t *greatest) {
    const int32_t *table = constants(r, count, 4);
    if (greatest != NULL) {
        *greatest = 0;
    }
    for (int64_t k = 0; table != NULL && k < count; k++) {
        if (table[k] < least || table[k] >= room) {
            fail(r, "a place lies outside its row");
            return table;
        }
        if (greatest != NULL && table[k] > *greatest) {
            *greatest = table[k];
        }
    }
    return table;
}

// States have rows for one time only.
static const Slot *reachable(Reader *r, const Slot *s) {
    if (s->home == STATE && (r->section == BEFORE || r->section == AFTER)) {
        fail(r, "a state is used at all times at once");
    }
    return s;
}

static const Slot *slot(Reader *r, const Program *p, int32_t *index) {
    *index = (int32_t)word(r, 0, p->slots - 1);
    return reachable(r, &p->slot[*index]);
}

// What an instruction reads row by row, and where it writes: never the same memory.
static void pair(Reader *r, const Program *p, int32_t *x, int32_t *out, const Slot **from, const Slot **to) {
    const Slot *a = *from = slot(r, p, x), *b = *to = slot(r, p, out);
    if (a->home == b->home && a->offset < b->offset + b->stride && b->offset < a->offset + a->stride) {
        fail(r, "an instruction writes where it reads");
    }
}

// ---------------------------------------------------------------------------------------------------------------------

static void read_staircase(Reader *r, Staircase *s) {
    s->form = (int32_t)word(r, LINEAR, BUCKETS);
    s->count = (int32_t)word(r, 0, 1 << 24);
    const int64_t entries = s->form == LINEAR && s->count < 31 ? 32 : s->count + (int64_t)1;
    s->thresholds = constants(r, entries, 4);
    s->values = constants(r, entries, 4);
    s->lo = (int32_t)word(r, INT32_MIN, INT32_MAX);
    s->hi = (int32_t)word(r, s->lo, INT32_MAX);
    s->shift = (int32_t)word(r, 0, 30);
    const int64_t buckets = word(r, 0, 1 << 24);
    s->base = constants(r, buckets, 4);
    if (r->reason != NULL) {
        return;
    }
    if (s->form == LINEAR) {
        if (buckets != 0 && (buckets != NEAR_BUCKETS + 2 || s->count > 15)) {
            fail(r, "compared thresholds have other buckets");
        }
        return;
    }
    if ((int64_t)s->hi - s->lo > INT32_MAX || ((s->hi - s->lo) >> s->shift) >= buckets) {
        fail(r, "a staircase has too few buckets");
        return;
    }
    for (int64_t k = 0; k < buckets; k++) {
        if (s->base[k] < 0 || s->base[k] > s->count) {
            fail(r, "a bucket counts thresholds that are not there");
        }
    }
    if (s->thresholds[s->count] != INT32_MAX) {
        fail(r, "a staircase has no end");
    }
}

static void read_product(Reader *r, const Program *g, Product *p) {
    static const int type_of[DOTS] = {U8, U8, S16, S32, S64, U8};
    const Slot *x, *out;
    pair(r, g, &p->x, &p->out, &x, &out);
    p->init = (int32_t)word(r, -1, g->slots - 1);
    p->shift = word(r, 0, 31);
    p->dot = (int32_t)word(r, DOT8, DOTS - 1);
    p->epilogue = (int32_t)word(r, STORE_SUMS, STORE_CODES_PER_CHANNEL);
    p->segments = word(r, 1, 1 << 20);
    p->length = word(r, 1, 1 << 28);
    p->segment = places(r, p->segments, 0, x->elements, NULL);
    p->positions = word(r, 1, 1 << 28);
    p->group = word(r, 1, 4);
    p->channels = word(r, 1, 1 << 28);
    if (r->reason != NULL || (p->group != 1 && p->group != 4) || p->positions % p->group != 0) {
        fail(r, "positions do not form groups");
        return;
    }
    int32_t last = 0, last_segment = 0;
    for (int64_t s = 0; s < p->segments; s++) {
        last_segment = p->segment[s] > last_segment ? p->segment[s] : last_segment;
    }
    p->from = places(r, p->positions, 0, x->elements, &last);
    if ((int64_t)last + last_segment + p->length > x->elements) {
        fail(r, "a position lies outside its row");
    }
    p->to = places(r, p->positions / p->group, 0, out->elements - p->channels + 1, NULL);
    if (p->segments > LIMIT / p->length || p->channels > LIMIT / (p->segments * p->length)) {
        fail(r, "a product is too large");
        return;
    }
    const int64_t terms = p->segments * p->length, size = type_size[type_of[p->dot]];
    p->weights = constants(r, p->channels * terms, size);
    p->bias = constants(r, p->channels, p->dot == DOT64 ? 8 : 4);
    p->depth = word(r, 1, 1 << 20);
    p->scale = word(r, INT32_MIN, INT32_MAX);
    p->ones = word(r, INT32_MIN, INT32_MAX);
    if (p->dot == DOT1 && (p->segments > 1 || p->length % 4 != 0 || p->group > 1 || p->init >= 0 || p->shift > 0 ||
                           (int64_t)last + p->length + 4 > x->elements)) {
        fail(r, "bits do not fit their row");
    }
    p->thresholds = word(r, 0, 1 << 16);
    p->stairs = constants(r, p->epilogue == STORE_CODES_PER_CHANNEL ? p->thresholds * p->channels : 0, 4);
    if (p->epilogue == STORE_CODES) {
        read_staircase(r, &p->shared);
        p->thresholds = p->shared.count;
    }
    p->spacing = word(r, p->epilogue == STORE_CODES ? 0 : 1, 255);
    p->offset = word(r, INT32_MIN, INT32_MAX);
    if (p->epilogue != STORE_SUMS && p->thresholds > 255) {
        fail(r, "more steps than codes");
    }
    if (x->type != type_of[p->dot] || out->type != (p->epilogue != STORE_SUMS ? U8 : p->dot == DOT64 ? S64 : S32) ||
        (p->dot == DOT64 && (p->epilogue != STORE_SUMS || p->init >= 0 || p->shift > 0 || p->group > 1))) {
        fail(r, "a product does not fit its rows");
    }
    if (p->init >= 0 && (reachable(r, &g->slot[p->init])->type != S32 || g->slot[p->init].elements < p->channels)) {
        fail(r, "a product starts from rows that do not fit");
    }
}

static void read_work(Reader *r, const Program *g, const Elementwise *e, Work *w) {
    w->kind = (int32_t)word(r, 0, WORK_KINDS - 1);
    w->to = (int32_t)word(r, 0, e->registers - 1);
    w->a = (int32_t)word(r, 0, e->registers - 1);
    w->b = (int32_t)word(r, 0, e->registers - 1);
    const int64_t size = e->wide ? 8 : 4, bits = e->wide ? 63 : 31;
    switch (w->kind) {
    case LOAD:
    case SAVE: {
        const Slot *s = slot(r, g, &w->slot);
        w->p = word(r, 0, LIMIT);
        w->q = word(r, INT64_MIN, INT64_MAX);
        w->r = word(r, 0, bits);
        if (w->p > s->elements - e->elements || (!e->wide && s->type == S64)) {
            fail(r, "elementwise work leaves its row");
        }
        if (e->whole && (s->stride != e->elements * type_size[s->type] || w->p != 0)) {
            fail(r, "rows do not lie side by side");
        }
        break;
    }
    case CONSTANT:
        w->table = constants(r, e->elements, size);
        if (e->whole) {
            fail(r, "rows with constants are no whole");
        }
        break;
    case FILL:
        w->p = word(r, INT64_MIN, INT64_MAX);
        break;
    case CLAMP:
        w->p = word(r, INT64_MIN, INT64_MAX);
        w->q = word(r, INT64_MIN, INT64_MAX);
        break;
    case RIGHT:
    case LEFT:
        w->p = word(r, 0, bits);
        break;
    case HALF_UP:
        w->p = word(r, 1, bits);
        break;
    case STAIRS:
        if (!e->wide) {
            read_staircase(r, &w->stairs);
        } else {
            w->count = word(r, 0, 1 << 24);
            w->table = constants(r, 2 * w->count + 1, 8);
        }
        break;
    case STAIRS_PER_CHANNEL:
        w->count = word(r, 0, 1 << 24);
        w->table = constants(r, (2 * w->count + 1) * e->elements, size);
        if (e->whole) {
            fail(r, "rows with constants are no whole");
        }
        break;
    case LOOKUP:
        w->p = word(r, INT64_MIN, INT64_MAX);
        w->q = word(r, 1, e->wide ? INT64_MAX : INT32_MAX);
        w->count = word(r, 1, INT32_MAX);
        w->table = constants(r, w->count, size);
        break;
    case LOOKUP2:
        w->p = word(r, INT64_MIN, INT64_MAX);
        w->q = word(r, 1, e->wide ? INT64_MAX : INT32_MAX);
        w->r = word(r, INT64_MIN, INT64_MAX);
        w->b_step = word(r, 1, e->wide ? INT64_MAX : INT32_MAX);
        w->columns = word(r, 1, INT32_MAX);
        w->count = word(r, 1, INT32_MAX);
        w->table = constants(r, w->count, size);
        break;
    default:
        break;
    }
}

static void read_elementwise(Reader *r, Program *g, Elementwise *e) {
    e->elements = word(r, 1, 1 << 30);
    e->registers = word(r, 1, 256);
    e->wide = word(r, 0, 1);
    e->whole = word(r, 0, 1);
    e->works = word(r, 1, 1 << 20);
    if (r->reason != NULL || e->works > r->end - r->at) {
        fail(r, "it ends too early");
        return;
    }
    e->work = calloc((size_t)e->works, sizeof(Work));
    if (e->work == NULL) {
        fail(r, "no memory");
        return;
    }
    for (int64_t k = 0; k < e->works && r->reason == NULL; k++) {
        read_work(r, g, e, &e->work[k]);
    }
    const int64_t strips = e->registers * 256 * 8;
    g->strips = strips > g->strips ? strips : g->strips;
}

static void read_pool(Reader *r, const Program *g, Pool *p) {
    const Slot *x, *out;
    pair(r, g, &p->x, &p->out, &x, &out);
    p->channels = word(r, 1, 1 << 28);
    p->windows = word(r, 1, 1 << 28);
    p->size = word(r, 1, 1 << 20);
    p->sum = (int32_t)word(r, 0, 1);
    if (p->windows > LIMIT / p->size) {
        fail(r, "a pool is too large");
        return;
    }
    p->window = places(r, p->windows * p->size, -1, x->elements - p->channels + 1, NULL);
    p->to = places(r, p->windows, 0, out->elements - p->channels + 1, NULL);
    for (int64_t w = 0; w < p->windows && r->reason == NULL; w++) {
        int inside = 0;
        for (int64_t k = 0; k < p->size; k++) {
            inside |= p->window[w * p->size + k] >= 0;
        }
        if (!inside) {
            fail(r, "a window holds nothing");
        }
    }
    if (p->sum ? out->type < S32 : out->type != x->type) {
        fail(r, "a pool does not fit its rows");
    }
}

static void read_move(Reader *r, const Program *g, Move *m) {
    const Slot *x, *out;
    pair(r, g, &m->x, &m->out, &x, &out);
    m->count = word(r, 1, 1 << 30);
    m->fill = word(r, INT64_MIN, INT64_MAX);
    m->from = places(r, m->count, -1, x->elements, NULL);
    m->to = places(r, m->count, 0, out->elements, NULL);
    if (x->type != out->type) {
        fail(r, "a move changes the type");
    }
}

static void read_embedding(Reader *r, const Program *g, Embedding *m) {
    const Slot *x, *out;
    pair(r, g, &m->x, &m->out, &x, &out);
    m->symbols = word(r, 1, 1 << 30);
    m->width = word(r, 1, 1 << 28);
    m->indices = word(r, 1, 1 << 28);
    if (m->indices > x->elements || m->indices * m->width > out->elements || m->symbols > LIMIT / m->width) {
        fail(r, "an embedding does not fit its rows");
        return;
    }
    m->table = constants(r, m->symbols * m->width, type_size[out->type]);
}

static void read_along(Reader *r, const Program *g, Along *a, int sum) {
    const Slot *x, *out;
    pair(r, g, &a->x, &a->out, &x, &out);
    a->outer = word(r, 1, 1 << 28);
    a->length = word(r, 1, 1 << 28);
    a->inner = word(r, 1, 1 << 28);
    if (a->outer > LIMIT / a->length || a->outer * a->length > LIMIT / a->inner ||
        a->outer * a->length * a->inner > x->elements || a->outer * a->inner > out->elements ||
        (sum && out->type < S32)) {
        fail(r, "a reduction does not fit its rows");
    }
}

static void read_lstm(Reader *r, const Program *g, LstmCell *p) {
    const Slot *z = slot(r, g, &p->z), *c = slot(r, g, &p->c), *c_next = slot(r, g, &p->c_next);
    const Slot *h_next = slot(r, g, &p->h_next);
    p->alone = (int32_t)word(r, 0, 1);
    p->units = word(r, 1, 1 << 28);
    for (int k = 0; k < 4; k++) {
        p->gate[k] = word(r, 0, z->elements - p->units);
    }
    p->old_shift = word(r, 0, 16);
    p->new_shift = word(r, 0, 16);
    p->right = word(r, 1, 30);
    p->lo = word(r, INT16_MIN, INT16_MAX);
    p->hi = word(r, p->lo, INT16_MAX);
    read_staircase(r, &p->open);
    read_staircase(r, &p->candidate);
    read_staircase(r, &p->squash);
    read_staircase(r, &p->output);
    if (z->type != S32 || c->type > S16 || c_next->type > S16 || h_next->type > S16 || c->elements < p->units ||
        c_next->elements < p->units || h_next->elements < p->units) {
        fail(r, "a cell does not fit its rows");
    }
}

static int apart(const Slot *a, const Slot *b) {
    return a->home != b->home || a->offset >= b->offset + b->stride || b->offset >= a->offset + a->stride;
}

// A cell that alone reads a product's sums may be done with them, units by units: then it must not write what the
// product still reads.
static int together(const Program *g, const Product *p, const LstmCell *cell) {
    int found = 0;  // each quarter of the channels is a gate
    for (int k = 0; k < 4; k++) {
        if (cell->gate[k] % cell->units != 0) {
            return 0;
        }
        found |= cell->gate[k] < 4 * cell->units ? 1 << cell->gate[k] / cell->units : 0;
    }
    const int32_t read[2] = {p->x, p->init < 0 ? p->x : p->init}, written[2] = {cell->c_next, cell->h_next};
    for (int k = 0; k < 4; k++) {
        if (!apart(&g->slot[read[k & 1]], &g->slot[written[k >> 1]])) {
            return 0;
        }
    }
    return found == 15 && cell->alone && cell->z == p->out && (p->dot == DOT8 || p->dot == DOT8_PAIRS) &&
           p->epilogue == STORE_SUMS && p->segments == 1 && p->positions == 1 && p->group == 1 && p->to[0] == 0 &&
           p->channels == 4 * cell->units;
}

static void join_cells(Program *g) {
    for (int64_t k = 0; k + 1 < g->first[END]; k++) {
        Instruction *i = &g->instruction[k], *behind = i + 1;
        const int same = k + 1 != g->first[BEFORE] && k + 1 != g->first[EACH] && k + 1 != g->first[AFTER];
        if (same && i->op == PRODUCT && behind->op == LSTM_CELL && together(g, &i->product, &behind->lstm)) {
            i->product.cell = &behind->lstm;
        }
    }
}

static void read_bits(Reader *r, const Program *g, Bits *b) {
    const Slot *x, *out;
    pair(r, g, &b->x, &b->out, &x, &out);
    b->positions = word(r, 1, 1 << 28);
    b->length = word(r, 1, 1 << 28);
    const int64_t bytes = (b->length + 31) / 32 * 4 + 4;
    b->from = places(r, b->positions, 0, x->elements - b->length + 1, NULL);
    b->to = places(r, b->positions, 0, out->elements - bytes + 1, NULL);
    if (x->type != U8 || out->type != U8) {
        fail(r, "bits are of bytes, in bytes");
    }
}

// 64 neighbouring bytes of a row, for all of which rows have room.
static void read_chunk(Reader *r, const Program *g, int32_t *index, int64_t *first) {
    const Slot *s = slot(r, g, index);
    *first = word(r, 0, s->elements - 1);
    if (s->type != U8 || *first % 64 != 0) {
        fail(r, "bits are of bytes, 64 together");
    }
}

// A block of rows is written when all that it needs was read: slots may lie as they like.
static void read_gates(Reader *r, Program *g, Gates *p) {
    p->words = word(r, 1, 1 << 24);
    p->inputs = word(r, 0, 1 << 24);
    p->outputs = word(r, 1, 1 << 24);
    p->gates = word(r, 0, 1 << 28);
    p->gate = constants(r, p->gates * 4, 4);
    if (r->reason != NULL || p->inputs + p->outputs > r->end - r->at) {
        fail(r, "it ends too early");
        return;
    }
    for (int64_t k = 0; k < p->gates; k++) {
        const Gate *q = &p->gate[k];
        if (q->to < 0 || q->to >= p->words || q->a < 0 || q->a >= p->words || q->b < 0 || q->b >= p->words ||
            q->kind < 0 || q->kind >= GATE_KINDS) {
            fail(r, "a gate lies outside its network");
            return;
        }
    }
    p->input = calloc((size_t)p->inputs + 1, sizeof(Taken));
    p->output = calloc((size_t)p->outputs, sizeof(Given));
    if (p->input == NULL || p->output == NULL) {
        fail(r, "no memory");
        return;
    }
    for (int64_t k = 0; k < p->inputs && r->reason == NULL; k++) {
        Taken *t = &p->input[k];
        read_chunk(r, g, &t->slot, &t->first);
        t->low = (int32_t)word(r, 0, 255);
        t->place = places(r, 64, -1, p->words, NULL);
    }
    for (int64_t k = 0; k < p->outputs && r->reason == NULL; k++) {
        Given *t = &p->output[k];
        read_chunk(r, g, &t->slot, &t->first);
        t->place = places(r, 64, 0, p->words, NULL);
        t->codes = constants(r, 128, 1);
    }
    const int64_t bytes = p->words * (GATE_ROWS / 8);
    g->strips = bytes > g->strips ? bytes : g->strips;
}

static void read_port(Reader *r, const Program *g, Port *p) {
    const Slot *s = slot(r, g, &p->slot);
    p->state = (int32_t)word(r, 0, 1);
    p->number = (int32_t)word(r, 0, 1 << 20);
    p->lo = word(r, INT64_MIN, INT64_MAX);
    p->hi = word(r, p->lo, INT64_MAX);
    p->step = word(r, 1, INT64_MAX);
    p->elements = word(r, 1, s->elements);
    const int64_t placed = word(r, 0, 1);
    p->run = word(r, 1, p->elements);
    if (p->elements % p->run != 0 || (!placed && p->run != p->elements)) {
        fail(r, "runs do not divide a row");
        return;
    }
    p->place = places(r, placed ? p->elements / p->run : 0, 0, s->elements - p->run + 1, NULL);
}

static void read_instruction(Reader *r, Program *g, Instruction *i) {
    i->op = (int32_t)word(r, 0, OPS - 1);
    switch (i->op) {
    case PORT_IN:
    case PORT_OUT:
        read_port(r, g, &i->port);
        if (i->port.number >= (i->port.state ? g->register_count : i->op == PORT_IN ? g->inputs : g->outputs)) {
            fail(r, "a port has no array");
        }
        // only there are states handed over, and nothing else
        if (i->port.state != (r->section == START || r->section == END) ||
            (i->port.state && (i->op == PORT_IN) != (r->section == START))) {
            fail(r, "a port is due at another time");
        }
        break;
    case PRODUCT:
        read_product(r, g, &i->product);
        break;
    case ELEMENTWISE:
        read_elementwise(r, g, &i->elementwise);
        break;
    case POOL:
        read_pool(r, g, &i->pool);
        break;
    case MOVE:
        read_move(r, g, &i->move);
        break;
    case EMBEDDING:
        read_embedding(r, g, &i->embedding);
        break;
    case ARGMAX:
    case SUM:
        read_along(r, g, &i->along, i->op == SUM);
        break;
    case LSTM_CELL:
        read_lstm(r, g, &i->lstm);
        break;
    case BITS:
        read_bits(r, g, &i->bits);
        break;
    case GATES:
        read_gates(r, g, &i->gates);
        break;
    default: {
        const Slot *out = slot(r, g, &i->constant.out);
        i->constant.bytes = out->elements * type_size[out->type];
        i->constant.rows = constants(r, i->constant.bytes, 1);
    }
    }
}

static void read_slot(Reader *r, const Program *g, Slot *s) {
    s->type = (int32_t)word(r, 0, TYPES - 1);
    s->home = (int32_t)word(r, 0, HOMES - 1);
    s->elements = word(r, 1, 1 << 30);
    s->stride = word(r, 64, LIMIT);
    s->offset = word(r, 0, LIMIT);
    s->base = word(r, s->type == U8 ? -LIMIT : 0, s->type == U8 ? LIMIT : 0);
    s->step = word(r, 1, 1);
    if (s->offset % 64 != 0 || s->stride != (s->elements * type_size[s->type] + 63) / 64 * 64 ||
        s->offset + s->stride > g->row_bytes[s->home]) {
        fail(r, "a slot lies outside its home");
    }
}

static void read_all(Reader *r, Program *g) {
    int64_t needed[HOMES] = {0};
    if (word(r, INT64_MIN, INT64_MAX) != MAGIC) {
        fail(r, "it is none");
        return;
    }
    g->slots = word(r, 1, 1 << 24);
    g->instructions = word(r, 1, 1 << 24);
    g->register_count = word(r, 0, 1 << 20);
    g->inputs = word(r, 0, 1 << 20);
    g->outputs = word(r, 0, 1 << 20);
    g->operations = word(r, 0, LIMIT);
    g->rows = word(r, 1, 1 << 20);
    for (int h = 0; h < HOMES; h++) {
        g->row_bytes[h] = word(r, 0, LIMIT / g->rows);
    }
    for (int s = 0; s <= SECTIONS; s++) {
        g->first[s] = word(r, s == 0 ? 0 : g->first[s - 1], s == SECTIONS ? INT64_MAX : g->instructions);
    }
    if (r->reason != NULL || g->first[0] != 0 || g->first[SECTIONS] != g->instructions ||
        g->slots + g->instructions + g->register_count > r->end - r->at) {
        fail(r, "it ends too early");
        return;
    }
    g->slot = calloc((size_t)g->slots, sizeof(Slot));
    g->instruction = calloc((size_t)g->instructions, sizeof(Instruction));
    g->registers = calloc((size_t)g->register_count + 1, sizeof(Register));
    if (g->slot == NULL || g->instruction == NULL || g->registers == NULL) {
        fail(r, "no memory");
        return;
    }
    for (int64_t k = 0; k < g->slots && r->reason == NULL; k++) {
        read_slot(r, g, &g->slot[k]);
        const Slot *s = &g->slot[k];
        const int64_t end = s->offset + s->stride;
        needed[s->home] = end > needed[s->home] ? end : needed[s->home];
    }
    for (int h = 0; h < HOMES; h++) {
        if (g->row_bytes[h] != needed[h]) {
            fail(r, "a home is larger than what lies in it");
        }
    }
    r->section = EACH;  // registers take their successors at the end of a step
    for (int64_t k = 0; k < g->register_count && r->reason == NULL; k++) {
        Register *q = &g->registers[k];
        const Slot *state = slot(r, g, &q->state), *next = slot(r, g, &q->next);
        q->bytes = state->elements * type_size[state->type];
        q->initial = constants(r, q->bytes, 1);
        if (state->home != STATE || next->home == STATE || next->type != state->type || next->elements != state->elements ||
            next->stride != state->stride) {
            fail(r, "a register's successor does not fit");
        }
    }
    for (int64_t k = 0; k < g->instructions && r->reason == NULL; k++) {
        for (r->section = START; g->first[r->section + 1] <= k;) {
            r->section++;
        }
        read_instruction(r, g, &g->instruction[k]);
    }
    if (r->reason == NULL && r->at != r->end) {
        fail(r, "more follows");
    }
    if (r->reason == NULL) {
        join_cells(g);
    }
}

Program *program_read(const int64_t *words, int64_t count, const uint8_t *data, int64_t bytes, const char **reason) {
    Program *g = calloc(1, sizeof(Program));
    int64_t *own = malloc((size_t)count * 8 + 8);
    uint8_t *constants_ = malloc((size_t)bytes + 64);
    if (g == NULL || own == NULL || constants_ == NULL) {
        free(g), free(own), free(constants_);
        *reason = "no memory";
        return NULL;
    }
    memcpy(own, words, (size_t)count * 8);
    memcpy(constants_, data, (size_t)bytes);
    g->words = own, g->data = constants_;
    Reader r = {.at = own, .end = own + count, .data = constants_, .bytes = bytes};
    read_all(&r, g);
    if (r.reason != NULL) {
        *reason = r.reason;
        program_free(g);
        return NULL;
    }
    return g;
}

void program_free(Program *g) {
    for (int64_t k = 0; g->instruction != NULL && k < g->instructions; k++) {
        Instruction *i = &g->instruction[k];
        if (i->op == ELEMENTWISE) {
            free(i->elementwise.work);
        } else if (i->op == GATES) {
            free(i->gates.input), free(i->gates.output);
        } else if (i->op == PRODUCT) {
            free(i->product.packed), free(i->product.packed_bias), free(i->product.packed_stairs), free(i->product.step), free(i->product.late_bias);
        }
    }
    free(g->slot), free(g->instruction), free(g->registers), free(g->words), free(g->data);
    free(g);
}
