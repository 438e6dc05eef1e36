// Vectors of int32 for the kind of processor that the file is compiled for, and the products that it is good at.

#ifndef ZAHLEN_VECTOR_H
#define ZAHLEN_VECTOR_H

#include <stdint.h>
#include <string.h>

#if defined(_MSC_VER) && !defined(__clang__)
#define INLINE static __forceinline
#else
#define INLINE static inline __attribute__((always_inline))
#endif

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#elif defined(ZAHLEN_NEON)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
// --------------------------------------------------------------------------------------------------------- 512 bits
typedef __m512i vi;
#define LANES 16
#define PANEL 2  // vectors side by side: so much of a large product's weights stays in the nearest cache
INLINE vi load(const int32_t *p) { return _mm512_loadu_si512(p); }
INLINE void store(int32_t *p, vi v) { _mm512_storeu_si512(p, v); }
INLINE vi fill(int32_t x) { return _mm512_set1_epi32(x); }
INLINE vi add(vi a, vi b) { return _mm512_add_epi32(a, b); }
INLINE vi greater(vi a, vi b) { return _mm512_max_epi32(a, b); }
INLINE vi lesser(vi a, vi b) { return _mm512_min_epi32(a, b); }
INLINE vi load_u8(const uint8_t *p) { return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)); }
INLINE vi load_s16(const int16_t *p) { return _mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)p)); }
INLINE void store_s16(int16_t *p, vi v) { _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(v)); }
// of 16 bits each, the first not negative
INLINE vi product16(vi a, vi b) { return _mm512_madd_epi16(a, b); }
#define OWN_CODES
// count + 1 where a >= t
INLINE vi count_if(vi count, vi a, vi t) {
    return _mm512_mask_add_epi32(count, _mm512_cmpge_epi32_mask(a, t), count, _mm512_set1_epi32(1));
}
INLINE vi gather(const int32_t *table, vi index) { return _mm512_i32gather_epi32(index, table, 4); }
INLINE vi shift_right(vi a, int bits) { return _mm512_srav_epi32(a, fill(bits)); }
INLINE vi subtract(vi a, vi b) { return _mm512_sub_epi32(a, b); }
INLINE vi shift_left(vi a, int bits) { return _mm512_sllv_epi32(a, fill(bits)); }
INLINE vi times(vi a, int32_t b) { return b == 2 ? _mm512_add_epi32(a, a) : _mm512_mullo_epi32(a, fill(b)); }
INLINE void store_bytes(uint8_t *to, vi v, int64_t count) {
    const __m128i bytes = _mm512_cvtepi32_epi8(v);
    if (count >= 16) {
        _mm_storeu_si128((__m128i *)to, bytes);
    } else {
        _mm_mask_storeu_epi8(to, (__mmask16)((1u << count) - 1), bytes);
    }
}
INLINE void store_some(int32_t *to, vi v, int64_t count) {
    _mm512_mask_storeu_epi32(to, count >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << count) - 1), v);
}
#if defined(__AVX512VNNI__)
// gcc 12 spills the accumulators of the intrinsic
INLINE vi dot8(vi sum, vi x, vi w) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "vm"(w));
    return sum;
}
INLINE vi dot16(vi sum, vi x, vi w) {
    __asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(x), "vm"(w));
    return sum;
}
#define ANY_DOT8 1
#else
// only where two products fit into 16 bits
INLINE vi dot8(vi sum, vi x, vi w) {
    return add(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(x, w), _mm512_set1_epi16(1)));
}
INLINE vi dot16(vi sum, vi x, vi w) { return add(sum, _mm512_madd_epi16(x, w)); }
#endif
INLINE vi dot32(vi sum, vi x, vi w) { return add(sum, _mm512_mullo_epi32(x, w)); }
// bits that both have
INLINE vi dot1(vi sum, vi x, vi w) {
    const __m512i both = _mm512_and_si512(x, w);
#if defined(__AVX512VPOPCNTDQ__)
    return add(sum, _mm512_popcnt_epi32(both));
#else
    const __m512i low = _mm512_set1_epi8(15);
    const __m512i count = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const __m512i bytes = _mm512_add_epi8(
        _mm512_shuffle_epi8(count, _mm512_and_si512(both, low)),
        _mm512_shuffle_epi8(count, _mm512_and_si512(_mm512_srli_epi16(both, 4), low)));
    return add(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(bytes, _mm512_set1_epi8(1)), _mm512_set1_epi16(1)));
#endif
}
#define OWN_BITS
INLINE uint32_t bits_of(const uint8_t *x) {  // of 32 bytes: which are not zero
    const __m256i v = _mm256_loadu_si256((const __m256i *)x);
    return _mm256_test_epi8_mask(v, v);
}

#elif defined(__AVX2__)
// --------------------------------------------------------------------------------------------------------- 256 bits
typedef __m256i vi;
#define LANES 8
#define PANEL 2
INLINE vi load(const int32_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
INLINE void store(int32_t *p, vi v) { _mm256_storeu_si256((__m256i *)p, v); }
INLINE vi fill(int32_t x) { return _mm256_set1_epi32(x); }
INLINE vi add(vi a, vi b) { return _mm256_add_epi32(a, b); }
INLINE vi greater(vi a, vi b) { return _mm256_max_epi32(a, b); }
INLINE vi lesser(vi a, vi b) { return _mm256_min_epi32(a, b); }
INLINE vi load_u8(const uint8_t *p) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)); }
INLINE vi load_s16(const int16_t *p) { return _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)p)); }
INLINE void store_s16(int16_t *p, vi v) {
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi32(v, v), 0x08);
    _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(packed));
}
// of 16 bits each, the first not negative
INLINE vi product16(vi a, vi b) { return _mm256_madd_epi16(a, b); }
#define OWN_CODES
// a >= t is not (t > a)
INLINE vi count_if(vi count, vi a, vi t) {
    return _mm256_add_epi32(_mm256_add_epi32(count, _mm256_set1_epi32(1)), _mm256_cmpgt_epi32(t, a));
}
#define COUNTS_TOGETHER 1  // thresholds meet several vectors at once
// count - 1 where a < t
INLINE vi count_unless(vi count, vi a, vi t) { return _mm256_add_epi32(count, _mm256_cmpgt_epi32(t, a)); }
INLINE vi gather(const int32_t *table, vi index) { return _mm256_i32gather_epi32(table, index, 4); }
INLINE vi shift_right(vi a, int bits) { return _mm256_sra_epi32(a, _mm_cvtsi32_si128(bits)); }
INLINE vi subtract(vi a, vi b) { return _mm256_sub_epi32(a, b); }
INLINE vi shift_left(vi a, int bits) { return _mm256_sll_epi32(a, _mm_cvtsi32_si128(bits)); }
INLINE vi times(vi a, int32_t b) { return b == 2 ? _mm256_add_epi32(a, a) : _mm256_mullo_epi32(a, fill(b)); }
INLINE void store_bytes(uint8_t *to, vi v, int64_t count) {
    const __m256i order = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4, 8, 12, -1,
                                           -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m256i bytes = _mm256_shuffle_epi8(v, order);
    const uint64_t low = (uint32_t)_mm256_extract_epi32(bytes, 0), high = (uint32_t)_mm256_extract_epi32(bytes, 4);
    const uint64_t all = low | high << 32;
    memcpy(to, &all, count >= 8 ? 8 : (size_t)count);
}
INLINE void store_some(int32_t *to, vi v, int64_t count) {
    if (count >= 8) {
        store(to, v);
    } else {
        int32_t all[8];
        store(all, v);
        memcpy(to, all, (size_t)count * 4);
    }
}
#if defined(__AVXVNNI__)
INLINE vi dot8(vi sum, vi x, vi w) {
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(x), "xm"(w));
    return sum;
}
INLINE vi dot16(vi sum, vi x, vi w) {
    __asm__("%{vex%} vpdpwssd %2, %1, %0" : "+x"(sum) : "x"(x), "xm"(w));
    return sum;
}
#define ANY_DOT8 1
#else
// only where two products fit into 16 bits
INLINE vi dot8(vi sum, vi x, vi w) {
    return add(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(x, w), _mm256_set1_epi16(1)));
}
// sums of 16 bits, where so many products fit
#define DEEP
#define IN_MEMORY(v) __asm__("" : "+m"(v))  // so that registers are left for what is more urgent
INLINE vi dot_deep(vi part, vi x, vi w) {
    const vi pairs = _mm256_maddubs_epi16(x, w);
    __asm__("vpaddw %1, %0, %0" : "+x"(part) : "x"(pairs));  // gcc 12 spills what the intrinsic adds to
    return part;
}
INLINE vi widened(vi sum, vi part) { return add(sum, _mm256_madd_epi16(part, _mm256_set1_epi16(1))); }
INLINE vi dot16(vi sum, vi x, vi w) { return add(sum, _mm256_madd_epi16(x, w)); }
#endif
INLINE vi dot32(vi sum, vi x, vi w) { return add(sum, _mm256_mullo_epi32(x, w)); }
// bits that both have
INLINE vi dot1(vi sum, vi x, vi w) {
    const __m256i both = _mm256_and_si256(x, w), low = _mm256_set1_epi8(15);
    const __m256i count = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2,
                                           3, 2, 3, 3, 4);
    const __m256i bytes = _mm256_add_epi8(
        _mm256_shuffle_epi8(count, _mm256_and_si256(both, low)),
        _mm256_shuffle_epi8(count, _mm256_and_si256(_mm256_srli_epi16(both, 4), low)));
    return add(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(bytes, _mm256_set1_epi8(1)), _mm256_set1_epi16(1)));
}
#define OWN_BITS
INLINE uint32_t bits_of(const uint8_t *x) {  // of 32 bytes: which are not zero
    const __m256i v = _mm256_loadu_si256((const __m256i *)x);
    return ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(v, _mm256_setzero_si256()));
}

#elif defined(ZAHLEN_NEON)
// --------------------------------------------------------------------------------------------------------- 128 bits
// Asked for by name: every aarch64 has NEON, and its portable kernels are to be plain C all the same.
typedef int32x4_t vi;
#define LANES 4
#define PANEL 2
INLINE vi load(const int32_t *p) { return vld1q_s32(p); }
INLINE void store(int32_t *p, vi v) { vst1q_s32(p, v); }
INLINE vi fill(int32_t x) { return vdupq_n_s32(x); }
INLINE vi add(vi a, vi b) { return vaddq_s32(a, b); }
INLINE vi greater(vi a, vi b) { return vmaxq_s32(a, b); }
INLINE vi lesser(vi a, vi b) { return vminq_s32(a, b); }
// a comparison that holds is -1
INLINE vi count_if(vi count, vi a, vi t) { return vsubq_s32(count, vreinterpretq_s32_u32(vcgeq_s32(a, t))); }
INLINE vi gather(const int32_t *table, vi index) {
    const int32_t all[4] = {table[vgetq_lane_s32(index, 0)], table[vgetq_lane_s32(index, 1)],
                            table[vgetq_lane_s32(index, 2)], table[vgetq_lane_s32(index, 3)]};
    return load(all);
}
INLINE vi shift_right(vi a, int bits) { return vshlq_s32(a, vdupq_n_s32(-bits)); }
INLINE vi shift_left(vi a, int bits) { return vshlq_s32(a, vdupq_n_s32(bits)); }
INLINE vi subtract(vi a, vi b) { return vsubq_s32(a, b); }
INLINE vi times(vi a, int32_t b) { return vmulq_n_s32(a, b); }
INLINE void store_bytes(uint8_t *to, vi v, int64_t count) {
    const uint16x4_t halves = vmovn_u32(vreinterpretq_u32_s32(v));
    const uint32_t all = vget_lane_u32(vreinterpret_u32_u8(vmovn_u16(vcombine_u16(halves, halves))), 0);
    memcpy(to, &all, count >= 4 ? 4 : (size_t)count);
}
INLINE void store_some(int32_t *to, vi v, int64_t count) {
    int32_t all[4];
    store(all, v);
    memcpy(to, all, count >= 4 ? 16 : (size_t)count * 4);
}
// bytes without a sign times bytes with one
INLINE vi dot8(vi sum, vi x, vi w) {
    const uint8x16_t xs = vreinterpretq_u8_s32(x);
    const int8x16_t ws = vreinterpretq_s8_s32(w);
#if defined(__ARM_FEATURE_MATMUL_INT8)
    return vusdotq_s32(sum, xs, ws);
#elif defined(__ARM_FEATURE_DOTPROD)
    const int8x16_t half = vreinterpretq_s8_u8(vshrq_n_u8(xs, 1)), odd = vreinterpretq_s8_u8(vandq_u8(xs, vdupq_n_u8(1)));
    return vaddq_s32(vdotq_s32(sum, odd, ws), vshlq_n_s32(vdotq_s32(vdupq_n_s32(0), half, ws), 1));
#else
    const int16x8_t x0 = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(xs))), w0 = vmovl_s8(vget_low_s8(ws));
    const int16x8_t x1 = vreinterpretq_s16_u16(vmovl_high_u8(xs)), w1 = vmovl_high_s8(ws);
    const int32x4_t low = vpaddq_s32(vmull_s16(vget_low_s16(x0), vget_low_s16(w0)), vmull_high_s16(x0, w0));
    const int32x4_t high = vpaddq_s32(vmull_s16(vget_low_s16(x1), vget_low_s16(w1)), vmull_high_s16(x1, w1));
    return vaddq_s32(sum, vpaddq_s32(low, high));
#endif
}
INLINE vi dot16(vi sum, vi x, vi w) {
    const int16x8_t xs = vreinterpretq_s16_s32(x), ws = vreinterpretq_s16_s32(w);
    return vaddq_s32(sum, vpaddq_s32(vmull_s16(vget_low_s16(xs), vget_low_s16(ws)), vmull_high_s16(xs, ws)));
}
INLINE vi dot32(vi sum, vi x, vi w) { return vmlaq_s32(sum, x, w); }
#define ANY_DOT8 1
// bits that both have
INLINE vi dot1(vi sum, vi x, vi w) {
    const uint8x16_t count = vcntq_u8(vreinterpretq_u8_s32(vandq_s32(x, w)));
    return vaddq_s32(sum, vreinterpretq_s32_u32(vpaddlq_u16(vpaddlq_u8(count))));
}
#define OWN_BITS
INLINE uint32_t bits_of(const uint8_t *x) {  // of 32 bytes: which are not zero
    static const uint8_t power[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint32_t bits = 0;
    for (int k = 0; k < 2; k++) {
        const uint8x16_t v = vld1q_u8(x + 16 * k), set = vandq_u8(vtstq_u8(v, v), vld1q_u8(power));
        bits |= ((uint32_t)vaddv_u8(vget_low_u8(set)) | (uint32_t)vaddv_u8(vget_high_u8(set)) << 8) << 16 * k;
    }
    return bits;
}

#else
// --------------------------------------------------------------------------------------------------------- plain C
typedef struct {
    int32_t v[4];
} vi;
#define LANES 4
#define PANEL 2
#define EACH_LANE for (int l = 0; l < 4; l++)
INLINE vi load(const int32_t *p) {
    vi r;
    memcpy(&r, p, sizeof r);
    return r;
}
INLINE void store(int32_t *p, vi v) { memcpy(p, &v, sizeof v); }
INLINE vi fill(int32_t x) { return (vi){{x, x, x, x}}; }
// sums wrap as they do in vectors; what is proven is the whole
INLINE int32_t plus(int32_t a, int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); }
INLINE vi add(vi a, vi b) {
    EACH_LANE a.v[l] = plus(a.v[l], b.v[l]);
    return a;
}
INLINE vi greater(vi a, vi b) {
    EACH_LANE a.v[l] = a.v[l] > b.v[l] ? a.v[l] : b.v[l];
    return a;
}
INLINE vi lesser(vi a, vi b) {
    EACH_LANE a.v[l] = a.v[l] < b.v[l] ? a.v[l] : b.v[l];
    return a;
}
INLINE vi count_if(vi count, vi a, vi t) {
    EACH_LANE count.v[l] += a.v[l] >= t.v[l];
    return count;
}
INLINE vi gather(const int32_t *table, vi index) {
    EACH_LANE index.v[l] = table[index.v[l]];
    return index;
}
INLINE vi shift_right(vi a, int bits) {
    EACH_LANE a.v[l] >>= bits;
    return a;
}
INLINE vi subtract(vi a, vi b) {
    EACH_LANE a.v[l] = (int32_t)((uint32_t)a.v[l] - (uint32_t)b.v[l]);
    return a;
}
INLINE vi shift_left(vi a, int bits) {
    EACH_LANE a.v[l] = (int32_t)((uint32_t)a.v[l] << bits);
    return a;
}
INLINE vi times(vi a, int32_t b) {
    EACH_LANE a.v[l] = (int32_t)((uint32_t)a.v[l] * (uint32_t)b);
    return a;
}
INLINE void store_bytes(uint8_t *to, vi v, int64_t count) {
    for (int l = 0; l < 4 && l < count; l++) {
        to[l] = (uint8_t)v.v[l];
    }
}
INLINE void store_some(int32_t *to, vi v, int64_t count) { memcpy(to, &v, count >= 4 ? 16 : (size_t)count * 4); }
INLINE vi dot8(vi sum, vi x, vi w) {
    uint8_t xs[16];
    int8_t ws[16];
    memcpy(xs, &x, 16);
    memcpy(ws, &w, 16);
    EACH_LANE sum.v[l] = plus(sum.v[l], xs[4 * l] * ws[4 * l] + xs[4 * l + 1] * ws[4 * l + 1] +
                                            xs[4 * l + 2] * ws[4 * l + 2] + xs[4 * l + 3] * ws[4 * l + 3]);
    return sum;
}
INLINE vi dot16(vi sum, vi x, vi w) {
    int16_t xs[8], ws[8];
    memcpy(xs, &x, 16);
    memcpy(ws, &w, 16);
    EACH_LANE sum.v[l] = plus(plus(sum.v[l], xs[2 * l] * ws[2 * l]), xs[2 * l + 1] * ws[2 * l + 1]);
    return sum;
}
INLINE vi dot32(vi sum, vi x, vi w) {
    EACH_LANE sum.v[l] = (int32_t)((uint32_t)sum.v[l] + (uint32_t)x.v[l] * (uint32_t)w.v[l]);
    return sum;
}
#define ANY_DOT8 1
#endif

#ifndef OWN_CODES
INLINE vi load_u8(const uint8_t *p) {
    int32_t all[LANES];
    for (int l = 0; l < LANES; l++) {
        all[l] = p[l];
    }
    return load(all);
}
INLINE vi load_s16(const int16_t *p) {
    int32_t all[LANES];
    for (int l = 0; l < LANES; l++) {
        all[l] = p[l];
    }
    return load(all);
}
INLINE void store_s16(int16_t *p, vi v) {
    int32_t all[LANES];
    store(all, v);
    for (int l = 0; l < LANES; l++) {
        p[l] = (int16_t)all[l];
    }
}
// of 16 bits each, the first not negative
INLINE vi product16(vi a, vi b) { return dot32(fill(0), a, b); }
#endif
INLINE uint32_t ones(uint32_t x) {
    x -= x >> 1 & 0x55555555;
    x = (x & 0x33333333) + (x >> 2 & 0x33333333);
    return ((x + (x >> 4)) & 0x0f0f0f0f) * 0x01010101 >> 24;
}
#ifndef OWN_BITS
// bits that both have
INLINE vi dot1(vi sum, vi x, vi w) {
    int32_t sums[LANES], xs[LANES], ws[LANES];
    store(sums, sum), store(xs, x), store(ws, w);
    for (int l = 0; l < LANES; l++) {
        sums[l] += (int32_t)ones((uint32_t)xs[l] & (uint32_t)ws[l]);
    }
    return load(sums);
}
INLINE uint32_t bits_of(const uint8_t *x) {  // of 32 bytes: which are not zero
    uint32_t bits = 0;
    for (int k = 0; k < 32; k++) {
        bits |= (uint32_t)(x[k] != 0) << k;
    }
    return bits;
}
#endif

#ifndef ANY_DOT8
#define ANY_DOT8 0
#endif
#ifndef COUNTS_TOGETHER
#define COUNTS_TOGETHER 0
INLINE vi count_unless(vi count, vi a, vi t) { return subtract(count_if(count, a, t), fill(1)); }
#endif
#ifdef DEEP
#undef DEEP
#define DEEP 1
#else
#define DEEP 0
#define IN_MEMORY(v) (void)(v)
INLINE vi dot_deep(vi part, vi x, vi w) { return dot8(part, x, w); }
INLINE vi widened(vi sum, vi part) { return add(sum, part); }
#endif

#endif
