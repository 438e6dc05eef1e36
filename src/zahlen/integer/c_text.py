"""The parts of an emitted trainer that are the same for every network, as templates.

``train_`` and ``TRAIN_`` stand for the name that a program gets.
"""

HEADER = """\
// Latent weights to their initial values, all else to zero.
void train_init(train_state *s$start_seed);

// Learn from one sample, of $inputs; the weights change only with the next update.
// label: 0 to $last, or negative where there is none.
// Returns the class that the network takes it for; or -1, and does nothing, if no update came for TRAIN_BATCH samples
// or the label is too great. Every x must be in its range: that is not checked.
int32_t train_sample(train_state *s, const $element x[$size], int32_t label);

// Change the weights by what was learnt since the last update, at left / steps of the first rate. A linear schedule
// counts `left` down from `steps` to 1; both are below 2^31. Gradients are means over TRAIN_BATCH samples: after fewer
// of them the step is as much smaller.$seeded
void train_update(train_state *s, uint32_t left, uint32_t steps$rounding_seed);

// The class, the lowest among equals.
int32_t train_predict(train_state *s, const $element x[$size]);

// Epoch 0, 1, .. of `epochs` over `count` samples that lie one behind the other, TRAIN_BATCH to 65536 of them, in a
// random order, for which `order` is room. Returns how many labels were named right.
// zahlen.integer.fit(.., batch_size=TRAIN_BATCH, validation=0) does the same; the generator begins with its seed.
uint32_t train_epoch(train_state *s, const $element *x, const $label *labels, uint16_t *order, uint32_t count,
                     uint32_t epoch, uint32_t epochs, uint64_t *generator);

// Of all latent weights and momenta, to compare with another computer's: FNV-1a over 32-bit words.
uint32_t train_hash(const train_state *s);

// The next of SplitMix64's numbers.
uint64_t train_random(uint64_t *generator);

// 0 to count - 1 in random order; count is at most 65536. The generator goes on by as many numbers.
void train_shuffle(uint64_t *generator, uint16_t *order, uint32_t count);"""

SHIFTED = """\
// floor(a / 2^s); only values >= 0 are shifted, since C leaves the others open.
static int64_t shifted(int64_t a, int32_t s) {
    return a >= 0 ? a >> s : ~(~a >> s);
}"""

SCALED = """\
// floor(a factor / 2^shift + 1/2)
static int64_t scaled(int64_t a, int64_t factor, int32_t shift) {
    return shifted(a * factor + (((int64_t)1 << shift) >> 1), shift);
}"""

CLAMPED = """\
// What has to be brought within its limits is counted.
static int32_t clamped(train_state *s, int64_t a, int32_t least, int32_t most) {
    s->clamps += a < least || a > most;
    return a < least ? least : a > most ? most : (int32_t)a;
}"""

PARAMETER = """\
// A weight is lo + step floor((v - least) / 2^bits), the element of its grid that is nearest to its latent weight v.
// It is computed where it is needed and stored nowhere. Updates take rate / per of the momentum from v.
typedef struct {
    int32_t first, count;  // in `latent` and `momentum`
    int32_t lo, step, bits;
    int32_t least, most;  // of v
$more    uint32_t rate, per;
} parameter;

static int32_t weight(const parameter *p, int32_t v) {
    return p->lo + p->step * (int32_t)(((uint32_t)v - (uint32_t)p->least) >> p->bits);
}"""

MORE = """\
    int32_t down;  // bits that gradients lose
"""

LINEAR = """\
typedef struct {
    int32_t in, out;
    parameter weight, bias;  // (in, out) in row-major order; (out), or none
    int32_t back, shift;     // one over the layer's scale is back / 2^shift
} linear;

// z = x W + b
static void forward(const train_state *s, const linear *a, const int16_t *x, int32_t *z) {
    const int32_t *v = s->latent + a->weight.first, *b = s->latent + a->bias.first, out = a->out;
    for (int32_t j = 0; j < out; j++) {
        int32_t sum = a->bias.count > 0 ? weight(&a->bias, b[j]) : 0;
        for (int32_t i = 0; i < a->in; i++) {
            sum += weight(&a->weight, v[i * out + j]) * x[i];
        }
        z[j] = sum;
    }
}

// The gradients of one sample, added to the others of the batch: dW += x d, db += d.
static void learn(train_state *s, const linear *a, const int16_t *x, const int16_t *d) {
    $sum *g = s->$sums + a->weight.first, *b = s->$sums + a->bias.first;
    const int32_t in = a->in, out = a->out;
    for (int32_t i = 0; i < in; i++) {
        for (int32_t j = 0; j < out; j++) {
            *g++ += (int32_t)x[i] * d[j];
        }
    }
    for (int32_t j = 0; j < a->bias.count; j++) {
        b[j] += d[j];
    }
}"""

BACKWARD = """\
// The gradient by x: d W over the layer's scale.
static void backward(train_state *s, const linear *a, const int16_t *d, int16_t *dx) {
    const int32_t *v = s->latent + a->weight.first;
    for (int32_t i = 0; i < a->in; i++) {
        $back sum = 0;
        for (int32_t j = 0; j < a->out; j++) {
            sum += weight(&a->weight, *v++) * d[j];
        }
        dx[i] = (int16_t)clamped(s, scaled(sum, a->back, a->shift), -32767, 32767);
    }
}"""

STAIRCASE = """\
// Levels lo, lo + step, ..: one further for every threshold that z reaches. From `left` to `right` there is one slope,
// 4096 being 1.0, for every 2^shift integers; beyond them the last counts.
typedef struct {
    int32_t count, lo, step;
    int32_t left, right, shift;
    const int32_t *threshold;
    const int16_t *slope;
} staircase;

static int32_t reached(const int32_t *threshold, int32_t count, int32_t z) {
    int32_t first = 0;
    while (count > 0) {
        const int32_t half = count / 2;
        if (threshold[first + half] <= z) {
            first += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return first;
}

static void levels(const staircase *a, int32_t n, const int32_t *z, int16_t *y) {
    for (int32_t i = 0; i < n; i++) {
        y[i] = (int16_t)(a->lo + a->step * reached(a->threshold, a->count, z[i]));
    }
}

// The gradient by the level becomes that by z.
static void slopes(const staircase *a, int32_t n, const int32_t *z, int16_t *d) {
    for (int32_t i = 0; i < n; i++) {
        const int32_t near = z[i] < a->left ? a->left : z[i] > a->right ? a->right : z[i];
        d[i] = (int16_t)scaled(d[i], a->slope[((uint32_t)near - (uint32_t)a->left) >> a->shift], 12);
    }
}"""

STANDARDISED = """\
// The integer nearest to $grain (x - m) / deviation, halves up, within +-$limit.
static int16_t standardised(int64_t x, int64_t m, int64_t d) {
    const int64_t a = 2 * $grain * (x - m) + d, b = 2 * d, level = a / b - (a % b < 0);
    return (int16_t)(level < -$limit ? -$limit : level > $limit ? $limit : level);
}"""

SOFTMAX = """\
// How far a logit is behind the greatest, in steps of 1/256.
static uint64_t behind(int32_t top, int32_t z) {
    return (uint64_t)((int64_t)top - z) * ${places}u >> 24;
}

// round(65536 exp(-place / 256))
static uint64_t power(uint64_t place) {
    return place < sizeof less / sizeof *less ? (uint64_t)less[place] + 1 : 0;
}

// 65536 log2(x), for x from 1024 on
static int64_t log2_of(uint64_t x) {
    int32_t whole = 10;
    while (x >> whole > 1) {
        whole++;
    }
    return ((int64_t)whole << 16) + logs[(x >> (whole - 10)) - 1024];
}

// The first of the greatest.
static int32_t greatest(const int32_t *z) {
    int32_t best = 0;
    for (int32_t j = 1; j < TRAIN_CLASSES; j++) {
        best = z[j] > z[best] ? j : best;
    }
    return best;
}

// The cross-entropy of the softmax p of logits z is added to the loss; d = p, less 1 at the label, 2^$bits being 1.0.
static void cross_entropy(train_state *s, const int32_t *z, int32_t top, int32_t label, int16_t *d) {
    uint64_t sum = 0;
    for (int32_t j = 0; j < TRAIN_CLASSES; j++) {
        sum += power(behind(top, z[j]));
    }
    const uint64_t inverse = ((uint64_t)1 << 40) / sum;
    for (int32_t j = 0; j < TRAIN_CLASSES; j++) {
        d[j] = (int16_t)((power(behind(top, z[j])) * inverse + ((uint64_t)1 << $half)) >> $down);
    }
    d[label] = (int16_t)(d[label] - (1 << $bits));
    // log2(e) is 94548 / 65536
    s->loss += log2_of(sum) - ((int64_t)16 << 16) + (int64_t)((behind(top, z[label]) * 94548 + 128) >> 8);
}"""

BEGIN_WITHIN = """\
// Before the first sample of a step: M <- M - M / 2^$decay. The gradients of $batch samples cannot bring the momentum
// beyond 32 bits, whatever they are, so they are added to it at once.
static void begin(train_state *s) {
    for (int32_t k = 0; k < TRAIN_PARAMETERS; k++) {
        s->momentum[k] -= (int32_t)shifted(s->momentum[k], $decay);
    }
}"""

BEGIN_BESIDE = """\
// Before the first sample of a step.
static void begin(train_state *s) {
    memset(s->gradient, 0, sizeof s->gradient);
}"""

RATE = """\
typedef struct {
    uint32_t factor;
    int32_t shift;
} fraction;

// The factor / 2^shift nearest to a / b, with at most 31 bits of the one and 32 of the other: long division in base 2.
static fraction nearest(uint64_t a, uint64_t b) {
    uint64_t whole = a / b, rest = a % b;
    int32_t shift = 0;
    while (shift < 32) {
        const uint64_t digit = 2 * rest >= b;
        if (2 * whole + digit > 0x7fffffffu) {
            break;
        }
        whole = 2 * whole + digit;
        rest = 2 * rest - (digit ? b : 0);
        shift++;
    }
    whole += 2 * rest >= b;
    while (whole != 0 && whole % 2 == 0 && shift > 0) {
        whole /= 2;
        shift--;
    }
    return (fraction){(uint32_t)whole, shift};
}"""

CHANCE = """\
// Wellons' low-bias hash: https://nullprogram.com/blog/2018/07/31/
static uint32_t scrambled(uint32_t x) {
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ x >> 16;
}"""

RANDOM = """\
// SplitMix64 (Steele, Lea and Flood, 2014): a counter, scrambled.
static uint64_t mixed(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

uint64_t train_random(uint64_t *generator) {
    return mixed(*generator += 0x9E3779B97F4A7C15u);
}

// Each sample has a random word, by which all are sorted. It is no more work to compute it anew than to keep it.
static uint64_t word(uint64_t generator, uint16_t sample) {
    return mixed(generator + ((uint64_t)sample + 1) * 0x9E3779B97F4A7C15u);
}

// A heap whose root alone may be out of place.
static void sift(uint64_t generator, uint16_t *order, uint32_t root, uint32_t count) {
    for (uint32_t child = 2 * root + 1; child < count; root = child, child = 2 * root + 1) {
        if (child + 1 < count && word(generator, order[child]) < word(generator, order[child + 1])) {
            child++;
        }
        const uint16_t above = order[root];
        if (word(generator, above) > word(generator, order[child])) {
            return;
        }
        order[root] = order[child];
        order[child] = above;
    }
}

void train_shuffle(uint64_t *generator, uint16_t *order, uint32_t count) {
    for (uint32_t k = 0; k < count; k++) {
        order[k] = (uint16_t)k;
    }
    for (uint32_t k = count / 2; k > 0; k--) {
        sift(*generator, order, k - 1, count);
    }
    for (uint32_t k = count; k > 1; k--) {
        const uint16_t greatest_word = order[0];
        order[0] = order[k - 1];
        order[k - 1] = greatest_word;
        sift(*generator, order, 0, k - 1);
    }
    *generator += count * (uint64_t)0x9E3779B97F4A7C15u;
}"""

DRAW = """\
// Latent weights within +-bound, each as likely as the others; those beyond the grid go to its ends.
static void draw(train_state *s, const parameter *p, uint64_t *generator, int64_t bound, int32_t lo, int32_t hi) {
    for (int32_t k = p->first; k < p->first + p->count; k++) {
        const int64_t v = (int64_t)((train_random(generator) >> 32) * (uint64_t)(2 * bound + 1) >> 32) - bound;
        s->latent[k] = v < lo ? lo : v > hi ? hi : (int32_t)v;
    }
}"""

NETWORK = """\
static void compute(train_state *s, const $element x[$size]) {
    for (int32_t i = 0; i < $size; i++) {
        s->x1[i] = $entered;
    }
$forward}

int32_t train_predict(train_state *s, const $element x[$size]) {
    compute(s, x);
    return greatest(s->z$layers);
}

int32_t train_sample(train_state *s, const $element x[$size], int32_t label) {
    if (s->samples == TRAIN_BATCH || label >= TRAIN_CLASSES) {
        return -1;
    }
    if (s->samples++ == 0) {
        begin(s);
    }
    compute(s, x);
    const int32_t best = greatest(s->z$layers);
    if (label < 0) {
        return best;
    }
    cross_entropy(s, s->z$layers, s->z$layers[best], label, s->d$layers);
$backward    return best;
}

void train_update(train_state *s, uint32_t left, uint32_t steps$rounding_seed) {
    if (s->samples == 0) {
        return;
    }
$updates    s->samples = 0;
}"""

EPOCH = """\
uint32_t train_epoch(train_state *s, const $element *x, const $label *labels, uint16_t *order, uint32_t count,
                     uint32_t epoch, uint32_t epochs, uint64_t *generator) {
    const uint32_t steps = (count + TRAIN_BATCH - 1) / TRAIN_BATCH;
    uint32_t left = (epochs - epoch) * steps, right = 0;
$words    // two for each step: of dropout and of random rounding
    *generator += 2 * steps * (uint64_t)0x9E3779B97F4A7C15u;
    train_shuffle(generator, order, count);
    for (uint32_t k = 0; k < count; k++) {
        const uint32_t n = order[k];
        right += train_sample(s, x + n * (uint32_t)$size, labels[n]) == labels[n];
        if (s->samples == TRAIN_BATCH || k + 1 == count) {
$word            train_update(s, left--, epochs * steps$drawn_seed);
        }
    }
    return right;
}"""

HASH = """\
uint32_t train_hash(const train_state *s) {
    uint32_t hash = 0x811c9dc5u;
    for (int32_t k = 0; k < TRAIN_PARAMETERS; k++) {
        hash = (hash ^ (uint32_t)s->latent[k]) * 0x01000193u;
    }
    for (int32_t k = 0; k < TRAIN_PARAMETERS; k++) {
        hash = (hash ^ (uint32_t)s->momentum[k]) * 0x01000193u;
    }
    return hash;
}"""

SELFTEST = """\
#ifdef TRAIN_SELFTEST
#include <stdio.h>

int main(void) {
    static const uint32_t expected[] = {$expected};
    static train_state s;
    uint64_t generator = 0;
    train_init(&s$zero);
    for (uint32_t t = 0; t < $steps; t++) {
        for (int32_t n = 0; n < $samples; n++) {
            $element x[$size];
            for (int32_t i = 0; i < $size; i++) {
                x[i] = ($element)($drawn);
            }
            train_sample(&s, x, (int32_t)(train_random(&generator) % TRAIN_CLASSES));
        }
        train_update(&s, $steps - t, $steps$seed);
        printf("%08lx\\n", (unsigned long)train_hash(&s));
        if (train_hash(&s) != expected[t]) {
            printf("%08lx was expected\\n", (unsigned long)expected[t]);
            return 1;
        }
    }
    printf("ok\\n");
    return 0;
}
#endif"""
