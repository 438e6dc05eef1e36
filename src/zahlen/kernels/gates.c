// Boolean networks: the same bit of 512 rows is a word, and a gate a few operations on words.

#include <string.h>

#include "program.h"

#if defined(_MSC_VER) && !defined(__clang__)
#define INLINE static __forceinline
#else
#define INLINE static inline __attribute__((always_inline))
#endif

#if defined(__AVX512BW__) || defined(__AVX2__)
#include <immintrin.h>
#endif

// A word of 512 bits is some vectors of the width that registers have.
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX2__)
#define BYTES 32
#else
#define BYTES 16
#endif
#if defined(__GNUC__)
typedef uint64_t Vector __attribute__((vector_size(BYTES)));
#else
#undef BYTES
#define BYTES 8
typedef uint64_t Vector;
#endif
#define PARTS (64 / BYTES)

typedef union {
    Vector part[PARTS];
    uint64_t lane[8];
} Word;

// ---------------------------------------------------------------------------------------------------------------------
// 64 bytes of a row to the bits that they stand for, and back.

#if defined(__AVX512BW__)
INLINE uint64_t bits_of(const uint8_t *x, uint8_t low) {
    return _mm512_cmpneq_epi8_mask(_mm512_loadu_si512(x), _mm512_set1_epi8((char)low));
}
INLINE void bytes_of(uint8_t *to, uint64_t bits, const uint8_t *low, const uint8_t *flip) {
    const __m512i set = _mm512_maskz_loadu_epi8(bits, flip);
    _mm512_storeu_si512(to, _mm512_xor_si512(_mm512_loadu_si512(low), set));
}
#elif defined(__AVX2__)
INLINE uint32_t half_of(const uint8_t *x, uint8_t low) {
    const __m256i v = _mm256_loadu_si256((const __m256i *)x);
    return ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(v, _mm256_set1_epi8((char)low)));
}
INLINE uint64_t bits_of(const uint8_t *x, uint8_t low) {
    return half_of(x, low) | (uint64_t)half_of(x + 32, low) << 32;
}
INLINE void bytes_of(uint8_t *to, uint64_t bits, const uint8_t *low, const uint8_t *flip) {
    // each byte gets the one of four that holds its bit
    const __m256i spread = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3,
                                            3, 3, 3, 3, 3);
    const __m256i own = _mm256_set1_epi64x((long long)0x8040201008040201u);
    for (int k = 0; k < 64; k += 32) {
        const __m256i four = _mm256_shuffle_epi8(_mm256_set1_epi32((int32_t)(uint32_t)(bits >> k)), spread);
        const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(four, own), own);
        const __m256i v = _mm256_and_si256(set, _mm256_loadu_si256((const __m256i *)(flip + k)));
        _mm256_storeu_si256((__m256i *)(to + k), _mm256_xor_si256(v, _mm256_loadu_si256((const __m256i *)(low + k))));
    }
}
#else
INLINE uint64_t eight(const uint8_t *x) {  // the first lowest
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint64_t v;
    memcpy(&v, x, 8);
#else
    uint64_t v = 0;
    for (int b = 0; b < 8; b++) {
        v |= (uint64_t)x[b] << 8 * b;
    }
#endif
    return v;
}
// 1 for each byte that is not zero
INLINE uint64_t some(uint64_t v) { return (((v & 0x7f7f7f7f7f7f7f7f) + 0x7f7f7f7f7f7f7f7f) | v) >> 7 & 0x0101010101010101; }
INLINE uint64_t bits_of(const uint8_t *x, uint8_t low) {
    uint64_t bits = 0;
    for (int k = 0; k < 64; k += 8) {
        bits |= some(eight(x + k) ^ low * 0x0101010101010101u) * 0x0102040810204080 >> 56 << k;
    }
    return bits;
}
INLINE void bytes_of(uint8_t *to, uint64_t bits, const uint8_t *low, const uint8_t *flip) {
    for (int k = 0; k < 64; k += 8) {
        const uint64_t set = some((bits >> k & 255) * 0x0101010101010101 & 0x8040201008040201) * 255;
        const uint64_t v = eight(low + k) ^ (eight(flip + k) & set);
        for (int b = 0; b < 8; b++) {
            to[k + b] = (uint8_t)(v >> 8 * b);
        }
    }
}
#endif

INLINE void exchange(Vector *a, Vector *b, int j, uint64_t mask) {
    const Vector t = ((*a >> j) ^ *b) & mask;
    *a ^= t << j, *b ^= t;
}

// Three steps of a transposition, on eight words `step` apart.
INLINE void exchanged(Word *words, int step, int part, int j, uint64_t wide, uint64_t middle, uint64_t narrow) {
#define AT(k) words[(k) * step].part[part]
    Vector a = AT(0), b = AT(1), c = AT(2), d = AT(3), e = AT(4), f = AT(5), g = AT(6), h = AT(7);
    exchange(&a, &e, 4 * j, wide), exchange(&b, &f, 4 * j, wide);
    exchange(&c, &g, 4 * j, wide), exchange(&d, &h, 4 * j, wide);
    exchange(&a, &c, 2 * j, middle), exchange(&b, &d, 2 * j, middle);
    exchange(&e, &g, 2 * j, middle), exchange(&f, &h, 2 * j, middle);
    exchange(&a, &b, j, narrow), exchange(&c, &d, j, narrow);
    exchange(&e, &f, j, narrow), exchange(&g, &h, j, narrow);
    AT(0) = a, AT(1) = b, AT(2) = c, AT(3) = d, AT(4) = e, AT(5) = f, AT(6) = g, AT(7) = h;
#undef AT
}

// Bit c of word r and bit r of word c change places, in each lane.
static void transposed(Word *words) {
    for (int part = 0; part < PARTS; part++) {
        for (int r = 0; r < 8; r++) {
            exchanged(words + r, 8, part, 8, 0x00000000ffffffff, 0x0000ffff0000ffff, 0x00ff00ff00ff00ff);
        }
        for (int r = 0; r < 64; r += 8) {
            exchanged(words + r, 1, part, 1, 0x0f0f0f0f0f0f0f0f, 0x3333333333333333, 0x5555555555555555);
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------

static void taken(const Context *c, const Taken *p, int64_t first, int64_t rows, Word *node) {
    const Slot *s = &c->program->slot[p->slot];
    Word words[64];
    if (rows < GATE_ROWS) {
        memset(words, 0, sizeof words);
    }
    const uint8_t *at = row_of(c, s, first) + p->first;
    for (int64_t r = 0; r < rows; r++, at += s->stride) {
        words[r % 64].lane[r / 64] = bits_of(at, p->low);
    }
    transposed(words);
    for (int k = 0; k < 64; k++) {
        if (p->place[k] >= 0) {
            node[p->place[k]] = words[k];
        }
    }
}

static void given(const Context *c, const Given *p, int64_t first, int64_t rows, const Word *node) {
    const Slot *s = &c->program->slot[p->slot];
    Word words[64];
    for (int k = 0; k < 64; k++) {
        words[k] = node[p->place[k]];
    }
    transposed(words);
    uint8_t *at = row_of(c, s, first) + p->first;
    for (int64_t r = 0; r < rows; r++, at += s->stride) {
        bytes_of(at, words[r % 64].lane[r / 64], p->codes, p->codes + 64);
    }
}

void JOIN(gates, VARIANT)(const Context *c, const Gates *p, int64_t rows) {
    // a gate is a polynomial: whether a, b and a b are in the sum. One form for all kinds costs less than to foresee
    // which comes next
    static const int has[GATE_KINDS][3] = {[AND] = {0, 0, 1}, [AND_NOT] = {1, 0, 1}, [OR] = {1, 1, 1}, [XOR] = {1, 1, 0}};
    Word terms[GATE_KINDS][4];
    for (int kind = 0; kind < GATE_KINDS; kind++) {
        for (int k = 0; k < 3; k++) {
            memset(&terms[kind][k], has[kind][k] ? 255 : 0, sizeof(Word));
        }
    }
    Word *node = (Word *)c->strips;
    for (int64_t first = 0; first < rows; first += GATE_ROWS) {
        const int64_t n = rows - first < GATE_ROWS ? rows - first : GATE_ROWS;
        for (int64_t k = 0; k < p->inputs; k++) {
            taken(c, &p->input[k], first, n, node);
        }
        for (int64_t k = 0; k < p->gates; k++) {
            const Gate *g = &p->gate[k];
            const Word *term = terms[g->kind];
            for (int v = 0; v < PARTS; v++) {
                const Vector a = node[g->a].part[v], b = node[g->b].part[v];
                node[g->to].part[v] = (a & term[0].part[v]) ^ (b & term[1].part[v]) ^ (a & b & term[2].part[v]);
            }
        }
        for (int64_t k = 0; k < p->outputs; k++) {
            given(c, &p->output[k], first, n, node);
        }
    }
}
