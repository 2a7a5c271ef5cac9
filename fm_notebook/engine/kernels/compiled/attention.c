// Attention within each text of a packed row.
//
// A product takes words, each two bf16 that follow each other along what is summed over: A is [m][words], B is [words][n].

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vectors.h"

#define BLOCK 32  // queries at a time: their scores stay in the first caches

static inline long up_to(long n, long multiple) { return (n + multiple - 1) / multiple * multiple; }

// c[m][n] (+)= a[m][words] b[words][n], n a multiple of 16.
#define TILE(ROWS, COLUMNS)                                                                                                        \
    {                                                                                                                              \
        vec sums[ROWS][COLUMNS];                                                                                                   \
        for (int r = 0; r < ROWS; r++)                                                                                             \
            for (int k = 0; k < COLUMNS; k++) sums[r][k] = more ? load(c + (i + r) * n + j + 16 * k) : all(0.f);                   \
        for (long p = 0; p < words; p++) {                                                                                         \
            __m512i right[COLUMNS];                                                                                                \
            for (int k = 0; k < COLUMNS; k++) right[k] = _mm512_loadu_si512(b + p * n + j + 16 * k);                               \
            for (int r = 0; r < ROWS; r++) {                                                                                       \
                __m512i left = _mm512_set1_epi32((int)a[(i + r) * words + p]);                                                     \
                for (int k = 0; k < COLUMNS; k++) sums[r][k] = _mm512_dpbf16_ps(sums[r][k], (__m512bh)left, (__m512bh)right[k]);   \
            }                                                                                                                      \
        }                                                                                                                          \
        for (int r = 0; r < ROWS; r++)                                                                                             \
            for (int k = 0; k < COLUMNS; k++) store(c + (i + r) * n + j + 16 * k, sums[r][k]);                                     \
    }

static void product(long m, long n, long words, const uint32_t *a, const uint32_t *b, float *c, int more) {
    for (long j = 0; j < n; j += n - j >= 32 ? 32 : 16) {
        long i = 0;
        if (n - j >= 32) {
            for (; i + 6 <= m; i += 6) TILE(6, 2)
            for (; i < m; i++) TILE(1, 2)
        } else {
            for (; i + 6 <= m; i += 6) TILE(6, 1)
            for (; i < m; i++) TILE(1, 1)
        }
    }
}

// to[c][r] = from[r][c], 32 bits each; rows of `to` are `height` long, 0 beyond `rows`.
static void transpose(long rows, long columns, const uint32_t *from, long stride, uint32_t *to, long height) {
    for (long c = 0; c < columns; c++) {
        long r = 0;
        for (; r < rows; r++) to[c * height + r] = from[r * stride + c];
        for (; r < height; r++) to[c * height + r] = 0;
    }
}

// Two rows that follow each other as one row of words: to[r / 2][c] = (row r at c, row r + 1 at c); 0 where there is no row.
static void interleave(long rows, long columns, const half *from, long stride, uint32_t *to) {
    for (long r = 0; r < rows; r += 2) {
        const half *first = from + r * stride, *second = first + stride;
        for (long c = 0; c < columns; c += 16) {
            __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(first + c))), high = _mm512_setzero_si512();
            if (r + 1 < rows) high = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(second + c)));
            _mm512_storeu_si512(to + r / 2 * columns + c, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
        }
    }
}

// A head's part of the rows of a text, as words that follow each other within a row.
static void gather(long rows, long depth, const half *from, long stride, uint32_t *to) {
    for (long r = 0; r < rows; r++) memcpy(to + r * depth / 2, from + r * stride, depth * sizeof(half));
}

// scores -> weights that sum to 1 over the first `length` of `n` columns, 0 in the others.
static void softmax(float *scores, long length, long n, float scale) {
    vec most = all(-INFINITY), sum = all(0.f);
    for (long c = 0; c < n; c += 16) {
        __mmask16 real = length - c >= 16 ? 0xffff : (__mmask16)((1u << (length - c)) - 1);
        vec at = _mm512_mask_mul_ps(all(-INFINITY), real, load(scores + c), all(scale));
        most = _mm512_max_ps(most, at);
        store(scores + c, at);
    }
    const vec top = all(_mm512_reduce_max_ps(most));
    for (long c = 0; c < n; c += 16) {
        vec at = load(scores + c), weight = exponential(_mm512_sub_ps(at, top));
        weight = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(at, all(-INFINITY), _CMP_NEQ_UQ), weight);
        sum = _mm512_add_ps(sum, weight);
        store(scores + c, weight);
    }
    const vec share = all(1.f / _mm512_reduce_add_ps(sum));
    for (long c = 0; c < n; c += 16) store(scores + c, _mm512_mul_ps(load(scores + c), share));
}

typedef struct {  // scratch of one thread, for a text of `wide` tokens and a head of `depth` numbers, `words` words, a token
    uint32_t *query, *grad;                              // [BLOCK][words]
    uint32_t *key_across, *value_across;                 // [words][wide]
    uint32_t *key_along, *value_along;                   // [wide / 2][depth]
    float *scores, *slopes;                              // [BLOCK][wide]
    uint32_t *weights;                                   // [BLOCK][wide / 2]
    uint32_t *query_along, *grad_along, *pairs, *turned;  // [BLOCK / 2][depth], the same, [BLOCK / 2][wide], [wide][BLOCK / 2]
    float *mixed, *dkey, *dvalue;                        // [BLOCK][depth], [wide][depth], the same
} Head;

static void *room(char **place, long bytes) {
    void *found = *place;
    *place += up_to(bytes, 64);
    return found;
}

// Where all of it lies from `place` on; `bytes` (of a layout from NULL on) says how much room it takes.
static Head lay_out(char *place, long longest, long depth, long *bytes) {
    const long wide = up_to(longest, 16), words = depth / 2;
    char *const begin = place;
    Head h;
    h.query = room(&place, 4 * BLOCK * words);
    h.grad = room(&place, 4 * BLOCK * words);
    h.key_across = room(&place, 4 * words * wide);
    h.value_across = room(&place, 4 * words * wide);
    h.value_along = room(&place, 4 * wide / 2 * depth);
    h.key_along = room(&place, 4 * wide / 2 * depth);
    h.scores = room(&place, 4 * BLOCK * wide);
    h.slopes = room(&place, 4 * BLOCK * wide);
    h.weights = room(&place, 4 * BLOCK * wide / 2);
    h.query_along = room(&place, 4 * BLOCK / 2 * depth);
    h.grad_along = room(&place, 4 * BLOCK / 2 * depth);
    h.pairs = room(&place, 4 * BLOCK / 2 * wide);
    h.turned = room(&place, 4 * wide * BLOCK / 2);
    h.mixed = room(&place, 4 * BLOCK * depth);
    h.dkey = room(&place, 4 * wide * depth);
    h.dvalue = room(&place, 4 * wide * depth);
    *bytes = place - begin;
    return h;
}

static Head make_room(char **memory, long longest, long depth) {
    long bytes;
    lay_out(NULL, longest, depth, &bytes);
    *memory = aligned_alloc(64, bytes);
    if (!*memory) abort();  // less than a page a token
    return lay_out(*memory, longest, depth, &bytes);
}

static inline uint32_t key_of_weights(Drop drop, long heads, long token, long head) { return key_of(drop, token * heads + head); }

// softmax(query key^T / sqrt(D)) with dropout times value, within each of `texts` texts; qkv is [T][3 H], out [T][H].
void attend(long texts, const int32_t *bounds, long heads, long depth, const half *qkv, double rate, uint64_t seed, long longest,
            half *out) {
    const long width = heads * depth, stride = 3 * width;
    const float scale = 1.f / sqrtf((float)depth);
    Drop drop = dropout(rate, seed);
#pragma omp parallel
    {
        char *memory;
        const Head h = make_room(&memory, longest, depth);
#pragma omp for schedule(dynamic, 4)
        for (long task = 0; task < texts * heads; task++) {
            const long text = task / heads, head = task % heads, start = bounds[text], length = bounds[text + 1] - start;
            const long wide = up_to(length, 16), even = up_to(length, 2);
            const half *query = qkv + start * stride + head * depth, *key = query + width, *value = key + width;
            transpose(length, depth / 2, (const uint32_t *)key, stride / 2, h.key_across, wide);
            interleave(length, depth, value, stride, h.value_along);
            for (long first = 0; first < length; first += BLOCK) {
                const long rows = length - first < BLOCK ? length - first : BLOCK;
                gather(rows, depth, query + first * stride, stride, h.query);
                product(rows, wide, depth / 2, h.query, h.key_across, h.scores, 0);
                for (long r = 0; r < rows; r++) {
                    softmax(h.scores + r * wide, length, wide, scale);
                    const uint32_t row_key = key_of_weights(drop, heads, start + first + r, head);
                    half line[16];
                    for (long c = 0; c < wide; c += 16) {
                        vec weight = load(h.scores + r * wide + c);
                        narrow(line, drop.limit ? dropped(weight, drop, row_key, c) : weight);
                        memcpy((half *)(h.weights + r * (even / 2)) + c, line, 2 * (even - c < 16 ? even - c : 16));
                    }
                }
                product(rows, depth, even / 2, h.weights, h.value_along, h.mixed, 0);
                for (long r = 0; r < rows; r++)
                    for (long c = 0; c < depth; c += 16) narrow(out + (start + first + r) * width + head * depth + c, load(h.mixed + r * depth + c));
            }
        }
        free(memory);
    }
}

// Two rows of fp32 as one row of words.
static inline void pair(const float *first, const float *second, long n, uint32_t *to) {
    for (long c = 0; c < n; c += 16) {
        __m512i low = _mm512_cvtepu16_epi32(rounded(load(first + c)));
        __m512i high = second ? _mm512_slli_epi32(_mm512_cvtepu16_epi32(rounded(load(second + c))), 16) : _mm512_setzero_si512();
        _mm512_storeu_si512(to + c, _mm512_or_si512(low, high));
    }
}

// Adds what `rows` queries tell: to[length][depth] += x^T along, x [rows][wide] in fp32, `along` their other side as words.
static void add_across(const Head *h, long rows, long length, long wide, long depth, const float *x, const uint32_t *along, float *to) {
    const long pairs = (rows + 1) / 2;
    for (long r = 0; r < rows; r += 2) pair(x + r * wide, r + 1 < rows ? x + (r + 1) * wide : 0, wide, h->pairs + r / 2 * wide);
    transpose(pairs, length, h->pairs, wide, h->turned, pairs);
    product(length, depth, pairs, h->turned, along, to, 1);
}

// The gradient of `attend`: dqkv [T][3 H] from that of its output, [T][H]. The weights are computed again.
void attend_backward(long texts, const int32_t *bounds, long heads, long depth, const half *qkv, const half *dout, double rate,
                     uint64_t seed, long longest, half *dqkv) {
    const long width = heads * depth, stride = 3 * width;
    const float scale = 1.f / sqrtf((float)depth);
    Drop drop = dropout(rate, seed);
#pragma omp parallel
    {
        char *memory;
        const Head h = make_room(&memory, longest, depth);
#pragma omp for schedule(dynamic, 4)
        for (long task = 0; task < texts * heads; task++) {
            const long text = task / heads, head = task % heads, start = bounds[text], length = bounds[text + 1] - start;
            const long wide = up_to(length, 16), even = up_to(length, 2);
            const half *query = qkv + start * stride + head * depth, *key = query + width, *value = key + width;
            half *to = dqkv + start * stride + head * depth;
            transpose(length, depth / 2, (const uint32_t *)key, stride / 2, h.key_across, wide);
            transpose(length, depth / 2, (const uint32_t *)value, stride / 2, h.value_across, wide);
            interleave(length, depth, key, stride, h.key_along);
            memset(h.dkey, 0, 4 * length * depth);
            memset(h.dvalue, 0, 4 * length * depth);
            for (long first = 0; first < length; first += BLOCK) {
                const long rows = length - first < BLOCK ? length - first : BLOCK;
                const half *grad = dout + (start + first) * width + head * depth;
                gather(rows, depth, query + first * stride, stride, h.query);
                gather(rows, depth, grad, width, h.grad);
                interleave(rows, depth, query + first * stride, stride, h.query_along);
                interleave(rows, depth, grad, width, h.grad_along);
                product(rows, wide, depth / 2, h.query, h.key_across, h.scores, 0);
                product(rows, wide, depth / 2, h.grad, h.value_across, h.slopes, 0);
                for (long r = 0; r < rows; r++) {
                    float *weights = h.scores + r * wide, *slopes = h.slopes + r * wide;
                    const uint32_t row_key = key_of_weights(drop, heads, start + first + r, head);
                    vec sum = all(0.f);
                    softmax(weights, length, wide, scale);
                    for (long c = 0; c < wide; c += 16) {
                        vec slope = load(slopes + c);
                        if (drop.limit) store(slopes + c, slope = dropped(slope, drop, row_key, c));
                        sum = plus_product(load(weights + c), slope, sum);
                    }
                    const vec mean = all(_mm512_reduce_add_ps(sum));
                    half line[16];
                    for (long c = 0; c < wide; c += 16) {
                        vec weight = load(weights + c);
                        vec score = _mm512_mul_ps(_mm512_mul_ps(weight, _mm512_sub_ps(load(slopes + c), mean)), all(scale));
                        store(slopes + c, score);
                        if (drop.limit) store(weights + c, dropped(weight, drop, row_key, c));
                        narrow(line, score);
                        memcpy((half *)(h.weights + r * (even / 2)) + c, line, 2 * (even - c < 16 ? even - c : 16));
                    }
                }
                product(rows, depth, even / 2, h.weights, h.key_along, h.mixed, 0);
                for (long r = 0; r < rows; r++)
                    for (long c = 0; c < depth; c += 16) narrow(to + (first + r) * stride + c, load(h.mixed + r * depth + c));
                add_across(&h, rows, length, wide, depth, h.scores, h.grad_along, h.dvalue);
                add_across(&h, rows, length, wide, depth, h.slopes, h.query_along, h.dkey);
            }
            for (long r = 0; r < length; r++)
                for (long c = 0; c < depth; c += 16) {
                    narrow(to + r * stride + width + c, load(h.dkey + r * depth + c));
                    narrow(to + r * stride + 2 * width + c, load(h.dvalue + r * depth + c));
                }
        }
        free(memory);
    }
}
