// Sixteen numbers at a time, for CPUs that multiply bf16 (AVX512-BF16).
//
// What lies between the matrix products of a transformer layer is in `rows.c` and `attention.c`. Rows are tokens. Every function
// shares its rows, texts or columns out over OpenMP's threads and adds nothing up across them, so the same input gives the same
// bits whatever their number. bf16 is kept as 16 bits, and read as pairs in 32-bit words where products want them. Widths are
// multiples of 16. Dropout is a function of (seed, row, column): nothing is stored.

#pragma once

#include <immintrin.h>
#include <stdint.h>

typedef uint16_t half;  // the bits of a bf16
typedef __m512 vec;     // 16 numbers in fp32

static inline vec widen(const half *x) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)x)), 16));
}
static inline __m256i rounded(vec x) { return (__m256i)_mm512_cvtneps_pbh(x); }
static inline void narrow(half *to, vec x) { _mm256_storeu_si256((__m256i *)to, rounded(x)); }
static inline vec load(const float *x) { return _mm512_loadu_ps(x); }
static inline void store(float *to, vec x) { _mm512_storeu_ps(to, x); }
static inline vec all(float x) { return _mm512_set1_ps(x); }
static inline vec plus_product(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }

// exp to 2e-7, relative: 2^n times a polynomial on half an octave either way (Cephes' expf).
static inline vec exponential(vec x) {
    x = _mm512_max_ps(all(-87.f), x);  // of the two, the second if either is no number
    vec n = _mm512_roundscale_ps(_mm512_mul_ps(x, all(1.44269504f)), 0);
    vec r = plus_product(n, all(2.12194440e-4f), plus_product(n, all(-0.693359375f), x));
    vec p = all(1.9875691500e-4f);
    p = plus_product(p, r, all(1.3981999507e-3f));
    p = plus_product(p, r, all(8.3334519073e-3f));
    p = plus_product(p, r, all(4.1665795894e-2f));
    p = plus_product(p, r, all(1.6666665459e-1f));
    p = plus_product(p, r, all(5.0000001201e-1f));
    p = plus_product(p, _mm512_mul_ps(r, r), _mm512_add_ps(r, all(1.f)));
    return _mm512_scalef_ps(p, n);
}

typedef struct {
    uint32_t limit;  // of a draw of 32 bits: below it a number is dropped
    float scale;     // of what is kept
    uint64_t seed;
} Drop;

static inline Drop dropout(double rate, uint64_t seed) {
    Drop drop = {(uint32_t)(rate * 4294967296.0), (float)(1.0 / (1.0 - rate)), seed};
    return drop;
}

static inline uint32_t key_of(Drop drop, uint64_t row) {  // splitmix64
    uint64_t x = drop.seed + (row + 1) * 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)(x ^ (x >> 31));
}

// Sixteen numbers of the row with this key, from `column` on, kept and scaled or 0 (a 32-bit mixer by C. Wellons).
static inline vec dropped(vec x, Drop drop, uint32_t key, int column) {
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i h = _mm512_mullo_epi32(_mm512_add_epi32(lanes, _mm512_set1_epi32(column)), _mm512_set1_epi32((int)0x9e3779b9u));
    h = _mm512_xor_si512(h, _mm512_set1_epi32((int)key));
    h = _mm512_mullo_epi32(_mm512_xor_si512(h, _mm512_srli_epi32(h, 16)), _mm512_set1_epi32(0x21f0aaad));
    h = _mm512_mullo_epi32(_mm512_xor_si512(h, _mm512_srli_epi32(h, 15)), _mm512_set1_epi32((int)0xd35a2d97u));
    h = _mm512_xor_si512(h, _mm512_srli_epi32(h, 15));
    __mmask16 kept = _mm512_cmpge_epu32_mask(h, _mm512_set1_epi32((int)drop.limit));
    return _mm512_maskz_mul_ps(kept, x, all(drop.scale));
}
