// Row by row: residual, dropout and normalisation; GELU; sums of columns.

#include <math.h>

#include "vectors.h"

// total = x + drop(added); y = norm(total), also rounded. moments: mean and 1 / deviation of each row.
void add_and_norm(long rows, long width, const float *x, const half *added, const float *weight, const float *bias, float eps,
                  double rate, uint64_t seed, float *total, float *moments, float *y, half *rounded_y) {
    Drop drop = dropout(rate, seed);
#pragma omp parallel for schedule(static)
    for (long row = 0; row < rows; row++) {
        const long at = row * width;
        const uint32_t key = key_of(drop, row);
        vec sum = all(0.f), squares = all(0.f);
        for (long c = 0; c < width; c += 16) {
            vec part = widen(added + at + c);
            part = _mm512_add_ps(load(x + at + c), drop.limit ? dropped(part, drop, key, c) : part);
            sum = _mm512_add_ps(sum, part);
            store(total + at + c, part);
        }
        const float mean = _mm512_reduce_add_ps(sum) / width;
        for (long c = 0; c < width; c += 16) {
            vec apart = _mm512_sub_ps(load(total + at + c), all(mean));
            squares = plus_product(apart, apart, squares);
        }
        const float scale = 1.f / sqrtf(_mm512_reduce_add_ps(squares) / width + eps);
        for (long c = 0; c < width; c += 16) {
            vec out = _mm512_mul_ps(_mm512_sub_ps(load(total + at + c), all(mean)), all(scale));
            out = plus_product(out, load(weight + c), load(bias + c));
            store(y + at + c, out);
            narrow(rounded_y + at + c, out);
        }
        moments[2 * row] = mean;
        moments[2 * row + 1] = scale;
    }
}

// The gradient of `add_and_norm`, from that of y, in two parts that are added up: `dy`, and `more` in bf16 or NULL.
void add_and_norm_backward(long rows, long width, const float *dy, const half *more, const float *total, const float *moments,
                           const float *weight, double rate, uint64_t seed, float *dtotal, half *dadded) {
    Drop drop = dropout(rate, seed);
#pragma omp parallel for schedule(static)
    for (long row = 0; row < rows; row++) {
        const long at = row * width;
        const uint32_t key = key_of(drop, row);
        const vec mean = all(moments[2 * row]), scale = all(moments[2 * row + 1]);
        vec sum = all(0.f), along = all(0.f);
        for (long c = 0; c < width; c += 16) {
            vec grad = load(dy + at + c);
            if (more) grad = _mm512_add_ps(grad, widen(more + at + c));
            grad = _mm512_mul_ps(grad, load(weight + c));
            sum = _mm512_add_ps(sum, grad);
            along = plus_product(grad, _mm512_mul_ps(_mm512_sub_ps(load(total + at + c), mean), scale), along);
            store(dtotal + at + c, grad);
        }
        const vec centre = all(_mm512_reduce_add_ps(sum) / width), slope = all(_mm512_reduce_add_ps(along) / width);
        for (long c = 0; c < width; c += 16) {
            vec normal = _mm512_mul_ps(_mm512_sub_ps(load(total + at + c), mean), scale);
            vec grad = _mm512_sub_ps(_mm512_sub_ps(load(dtotal + at + c), centre), _mm512_mul_ps(normal, slope));
            grad = _mm512_mul_ps(grad, scale);
            store(dtotal + at + c, grad);
            narrow(dadded + at + c, drop.limit ? dropped(grad, drop, key, c) : grad);
        }
    }
}

// Gradients of the normalisation's weight and bias: column sums of dy times the normalised rows, and of dy.
void norm_gradients(long rows, long width, const float *dy, const half *more, const float *total, const float *moments,
                    float *dweight, float *dbias) {
#pragma omp parallel for schedule(static)
    for (long c = 0; c < width; c += 16) {
        vec weight = all(0.f), bias = all(0.f);
        for (long row = 0; row < rows; row++) {
            const long at = row * width + c;
            vec grad = load(dy + at);
            if (more) grad = _mm512_add_ps(grad, widen(more + at));
            bias = _mm512_add_ps(bias, grad);
            vec normal = _mm512_mul_ps(_mm512_sub_ps(load(total + at), all(moments[2 * row])), all(moments[2 * row + 1]));
            weight = plus_product(grad, normal, weight);
        }
        store(dweight + c, weight);
        store(dbias + c, bias);
    }
}

void column_sums(long rows, long width, const half *x, float *sums) {
#pragma omp parallel for schedule(static)
    for (long c = 0; c < width; c += 16) {
        vec sum = all(0.f);
        for (long row = 0; row < rows; row++) sum = _mm512_add_ps(sum, widen(x + row * width + c));
        store(sums + c, sum);
    }
}

void add_rounded(long count, float *to, const half *x) {
#pragma omp parallel for schedule(static)
    for (long i = 0; i < count; i += 16) store(to + i, _mm512_add_ps(load(to + i), widen(x + i)));
}

// The normal distribution's share below x, to 1e-7 (Abramowitz and Stegun 7.1.26), and its density there.
static inline vec normal_share(vec x, vec *density) {
    vec half_square = _mm512_mul_ps(_mm512_mul_ps(x, x), all(-0.5f)), bell = exponential(half_square);
    vec t = _mm512_div_ps(all(1.f), plus_product(_mm512_abs_ps(x), all(0.3275911f * 0.70710678f), all(1.f)));
    vec p = all(1.061405429f);
    p = plus_product(p, t, all(-1.453152027f));
    p = plus_product(p, t, all(1.421413741f));
    p = plus_product(p, t, all(-0.284496736f));
    p = plus_product(p, t, all(0.254829592f));
    vec tail = _mm512_mul_ps(_mm512_mul_ps(_mm512_mul_ps(p, t), bell), all(0.5f));  // beyond |x|
    *density = _mm512_mul_ps(bell, all(0.39894228f));
    return _mm512_mask_sub_ps(tail, _mm512_cmp_ps_mask(x, all(0.f), _CMP_NLT_UQ), all(1.f), tail);
}

void gelu(long count, const half *x, half *y) {
#pragma omp parallel for schedule(static)
    for (long i = 0; i < count; i += 16) {
        vec at = widen(x + i), density;
        narrow(y + i, _mm512_mul_ps(at, normal_share(at, &density)));
    }
}

// In place: `grad` becomes the gradient of x.
void gelu_backward(long count, const half *x, half *grad) {
#pragma omp parallel for schedule(static)
    for (long i = 0; i < count; i += 16) {
        vec at = widen(x + i), density, share = normal_share(at, &density);
        narrow(grad + i, _mm512_mul_ps(widen(grad + i), plus_product(at, density, share)));
    }
}
