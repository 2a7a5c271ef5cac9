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
#define TILE(ROWS, COLUMNS)                                                                                                     \
    {                                                                                                                           \
        vec sums[ROWS][COLUMNS];                                                                                                \
        for (int r = 0; r < ROWS; r++)                                                                                          \
            for (int k = 0; k < COLUMNS; k++) sums[r][k] = more ? load(c + (i + r) * n + j + 16 * k) : all(0.f);                \
        for (long p = 0; p < words; p++) {                                                                                      \
            __m512i right[COLUMNS];                                                                                             \
            for (int k = 0; k < COLUMNS; k++) right[k] = _mm512_loadu_si512(b + p * n + j + 16 * k);                            \
            for (int r = 0; r < ROWS; r++) {                                                                                    \
                __m512i left = _mm512_set1_epi32((int)a[(i + r) * words + p]);                                                  \
                for (int k = 0; k < COLUMNS; k++) sums[r][k] = _mm512_dpbf16_ps(sums[r][k], (__m512bh)left, (__m512bh)right[k]);\
            }                                                                                                                   \
        }                                                                                                                       \
        for (int r = 0; r < ROWS; r++)                                                                                          \
            for (int k = 0; k < COLUMNS; k++) store(c + (i + r) * n + j + 16 * k, sums[r][k]);                                  \
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

// The way back, rounded.
static void scatter(long rows, long depth, const float *from, half *to, long stride) {
    for (long r = 0; r < rows; r++)
        for (long c = 0; c < depth; c += 16) narrow(to + r * stride + c, load(from + r * depth + c));
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
} Scratch;

static void *room(char **place, long bytes) {
    void *found = *place;
    *place += up_to(bytes, 64);
    return found;
}

// Where all of it lies from `place` on; `bytes` (of a layout from NULL on) says how much room it takes.
static Scratch lay_out(char *place, long longest, long depth, long *bytes) {
    const long wide = up_to(longest, 16), words = depth / 2;
    char *const begin = place;
    Scratch h;
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

static Scratch make_room(char **memory, long longest, long depth) {
    long bytes;
    lay_out(NULL, longest, depth, &bytes);
    *memory = aligned_alloc(64, bytes);
    if (!*memory) abort();  // less than a page a token
    return lay_out(*memory, longest, depth, &bytes);
}

typedef struct {  // how the numbers of all heads lie, and how their weights are scaled and dropped
    long heads, depth, width, stride;  // width: of a row of the result; stride: of a row of queries, keys and values
    float scale;
    Drop drop;
} Shape;

typedef struct {  // one head of one text; wide and even: its length up to a multiple of 16 and of 2
    long start, head, length, wide, even;
    const half *query, *key, *value;
} Part;

static Shape shape_of(long heads, long depth, double rate, uint64_t seed) {
    const Shape s = {heads, depth, heads * depth, 3 * heads * depth, 1.f / sqrtf((float)depth), dropout(rate, seed)};
    return s;
}

static Part part_of(const Shape *s, long task, const int32_t *bounds, const half *qkv) {
    const long text = task / s->heads, head = task % s->heads, start = bounds[text], length = bounds[text + 1] - start;
    const half *query = qkv + start * s->stride + head * s->depth;
    const Part t = {start, head, length, up_to(length, 16), up_to(length, 2), query, query + s->width, query + 2 * s->width};
    return t;
}

static inline uint32_t key_of_weights(const Shape *s, const Part *t, long row) {
    return key_of(s->drop, (t->start + row) * s->heads + t->head);
}

static inline long rows_from(const Part *t, long first) { return t->length - first < BLOCK ? t->length - first : BLOCK; }

// Sixteen weights or slopes of a row, from `column` on, as words of a row of `even` numbers.
static inline void put(uint32_t *row, long column, long even, vec x) {
    half line[16];
    narrow(line, x);
    memcpy((half *)row + column, line, 2 * (even - column < 16 ? even - column : 16));
}

static void attend_part(const Shape *s, const Part *t, const Scratch *h, half *out) {
    const long depth = s->depth, words = depth / 2, wide = t->wide;
    transpose(t->length, words, (const uint32_t *)t->key, s->stride / 2, h->key_across, wide);
    interleave(t->length, depth, t->value, s->stride, h->value_along);
    for (long first = 0; first < t->length; first += BLOCK) {
        const long rows = rows_from(t, first);
        gather(rows, depth, t->query + first * s->stride, s->stride, h->query);
        product(rows, wide, words, h->query, h->key_across, h->scores, 0);
        for (long r = 0; r < rows; r++) {
            const uint32_t key = key_of_weights(s, t, first + r);
            softmax(h->scores + r * wide, t->length, wide, s->scale);
            for (long c = 0; c < wide; c += 16) {
                vec weight = load(h->scores + r * wide + c);
                put(h->weights + r * (t->even / 2), c, t->even, s->drop.limit ? dropped(weight, s->drop, key, c) : weight);
            }
        }
        product(rows, depth, t->even / 2, h->weights, h->value_along, h->mixed, 0);
        scatter(rows, depth, h->mixed, out + (t->start + first) * s->width + t->head * depth, s->width);
    }
}

// softmax(query key^T / sqrt(D)) with dropout times value, within each of `texts` texts; qkv is [T][3 H], out [T][H].
void attend(long texts, const int32_t *bounds, long heads, long depth, const half *qkv, double rate, uint64_t seed, long longest,
            half *out) {
    const Shape s = shape_of(heads, depth, rate, seed);
#pragma omp parallel
    {
        char *memory;
        const Scratch h = make_room(&memory, longest, depth);
#pragma omp for schedule(dynamic, 4)
        for (long task = 0; task < texts * heads; task++) {
            const Part t = part_of(&s, task, bounds, qkv);
            attend_part(&s, &t, &h, out);
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
static void add_across(const Scratch *h, long rows, long length, long wide, long depth, const float *x, const uint32_t *along,
                       float *to) {
    const long pairs = (rows + 1) / 2;
    for (long r = 0; r < rows; r += 2) pair(x + r * wide, r + 1 < rows ? x + (r + 1) * wide : 0, wide, h->pairs + r / 2 * wide);
    transpose(pairs, length, h->pairs, wide, h->turned, pairs);
    product(length, depth, pairs, h->turned, along, to, 1);
}

// Weights and their gradient, row by row: scores become dropped weights, slopes the gradient of scores.
static void slopes_of_rows(const Shape *s, const Part *t, const Scratch *h, long first, long rows) {
    for (long r = 0; r < rows; r++) {
        float *weights = h->scores + r * t->wide, *slopes = h->slopes + r * t->wide;
        const uint32_t key = key_of_weights(s, t, first + r);
        vec sum = all(0.f);
        softmax(weights, t->length, t->wide, s->scale);
        for (long c = 0; c < t->wide; c += 16) {
            vec slope = load(slopes + c);
            if (s->drop.limit) store(slopes + c, slope = dropped(slope, s->drop, key, c));
            sum = plus_product(load(weights + c), slope, sum);
        }
        const vec mean = all(_mm512_reduce_add_ps(sum));
        for (long c = 0; c < t->wide; c += 16) {
            vec weight = load(weights + c);
            vec slope = _mm512_mul_ps(_mm512_mul_ps(weight, _mm512_sub_ps(load(slopes + c), mean)), all(s->scale));
            store(slopes + c, slope);
            if (s->drop.limit) store(weights + c, dropped(weight, s->drop, key, c));
            put(h->weights + r * (t->even / 2), c, t->even, slope);
        }
    }
}

static void attend_part_backward(const Shape *s, const Part *t, const Scratch *h, const half *dout, half *dqkv) {
    const long depth = s->depth, words = depth / 2, wide = t->wide, length = t->length;
    half *to = dqkv + t->start * s->stride + t->head * depth;
    transpose(length, words, (const uint32_t *)t->key, s->stride / 2, h->key_across, wide);
    transpose(length, words, (const uint32_t *)t->value, s->stride / 2, h->value_across, wide);
    interleave(length, depth, t->key, s->stride, h->key_along);
    memset(h->dkey, 0, 4 * length * depth);
    memset(h->dvalue, 0, 4 * length * depth);
    for (long first = 0; first < length; first += BLOCK) {
        const long rows = rows_from(t, first);
        const half *query = t->query + first * s->stride, *grad = dout + (t->start + first) * s->width + t->head * depth;
        gather(rows, depth, query, s->stride, h->query);
        gather(rows, depth, grad, s->width, h->grad);
        interleave(rows, depth, query, s->stride, h->query_along);
        interleave(rows, depth, grad, s->width, h->grad_along);
        product(rows, wide, words, h->query, h->key_across, h->scores, 0);
        product(rows, wide, words, h->grad, h->value_across, h->slopes, 0);
        slopes_of_rows(s, t, h, first, rows);
        product(rows, depth, t->even / 2, h->weights, h->key_along, h->mixed, 0);
        scatter(rows, depth, h->mixed, to + first * s->stride, s->stride);
        add_across(h, rows, length, wide, depth, h->scores, h->grad_along, h->dvalue);
        add_across(h, rows, length, wide, depth, h->slopes, h->query_along, h->dkey);
    }
    scatter(length, depth, h->dkey, to + s->width, s->stride);
    scatter(length, depth, h->dvalue, to + 2 * s->width, s->stride);
}

// The gradient of `attend`: dqkv [T][3 H] from that of its output, [T][H]. The weights are computed again.
void attend_backward(long texts, const int32_t *bounds, long heads, long depth, const half *qkv, const half *dout, double rate,
                     uint64_t seed, long longest, half *dqkv) {
    const Shape s = shape_of(heads, depth, rate, seed);
#pragma omp parallel
    {
        char *memory;
        const Scratch h = make_room(&memory, longest, depth);
#pragma omp for schedule(dynamic, 4)
        for (long task = 0; task < texts * heads; task++) {
            const Part t = part_of(&s, task, bounds, qkv);
            attend_part_backward(&s, &t, &h, dout, dqkv);
        }
        free(memory);
    }
}
