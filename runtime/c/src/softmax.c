/* Softmax by a table of exponentials and one reciprocal per pixel. */
#include "rnnc_softmax.h"

static int32_t maximum(const int8_t *x, int32_t count) {
    int32_t largest = x[0];
    for (int32_t i = 1; i < count; ++i) {
        largest = x[i] > largest ? x[i] : largest;
    }
    return largest;
}

static int32_t exponential(const int32_t *exps, int32_t n_exps, int32_t distance) {
    return distance < n_exps ? exps[distance] : 0;
}

/* x is not 0 */
static int32_t leading_zeros(uint32_t x) {
#if defined(__GNUC__)
    return __builtin_clz(x);
#else
    int32_t count = 0;
    for (; (x & 0x80000000u) == 0; x <<= 1) {
        ++count;
    }
    return count;
#endif
}

/* 2^62 / divisor for divisor >= 2^31: a 16-bit division, then one step of Newton's iteration */
static uint32_t newton_reciprocal(uint32_t divisor) {
    uint32_t estimate = (0xFFFFFFFFu / ((divisor >> 16) + 1u)) << 14;
    uint32_t residue = (uint32_t)((((uint64_t)1 << 62) - (uint64_t)estimate * divisor) >> 32);
    return estimate + (uint32_t)(((uint64_t)estimate * residue) >> 30);
}

void rnnc_softmax_s8(const void *params, const rnnc_job *job) {
    const rnnc_softmax *p = params;
    const int8_t *in = job->rows[0];
    int8_t *out = job->out;
    for (int32_t x = 0; x < p->width; ++x, in += p->channels, out += p->channels) {
        int32_t largest = maximum(in, p->channels);
        uint32_t sum = 0;
        for (int32_t c = 0; c < p->channels; ++c) {
            sum += (uint32_t)exponential(p->exps, p->n_exps, largest - in[c]);
        }
        int32_t zeros = leading_zeros(sum);
        uint32_t reciprocal = newton_reciprocal(sum << zeros);
        uint32_t scale = (uint32_t)(((uint64_t)reciprocal * (uint32_t)p->multiplier) >> 31);
        int32_t shift = 62 - zeros - p->shift;
        uint64_t half = (uint64_t)1 << (shift - 1);
        for (int32_t c = 0; c < p->channels; ++c) {
            uint32_t e = (uint32_t)exponential(p->exps, p->n_exps, largest - in[c]);
            int32_t y = (int32_t)(((uint64_t)e * scale + half) >> shift) + p->zero_point;
            out[c] = (int8_t)(y > INT8_MAX ? INT8_MAX : y);
        }
    }
}

/* x * 2^2, saturating */
static int32_t saturating_times_4(int32_t x) {
    int32_t limit = INT32_MAX >> 2;
    return x > limit ? INT32_MAX : x < -limit ? INT32_MIN : x * 4;
}

/* 1 / (1 + a) for a in [0, 1), both in Q0.31, by three steps of Newton and Raphson in Q2.29 */
static int32_t one_over_one_plus(int32_t a) {
    const int32_t one = (int32_t)1 << 29;
    const int32_t c48_17 = 1515870810;  /* 48 / 17 */
    const int32_t c32_17 = -1010580540; /* -32 / 17 */
    int32_t half = (int32_t)(((uint32_t)a + (uint32_t)INT32_MAX + 1u) >> 1);
    int32_t x = c48_17 + rnnc_doubling_high_multiply(half, c32_17);
    for (int i = 0; i < 3; ++i) {
        int32_t error = one - rnnc_doubling_high_multiply(half, x);
        x += saturating_times_4(rnnc_doubling_high_multiply(x, error));
    }
    return x > INT32_MAX >> 1 ? INT32_MAX : x * 2;
}

void rnnc_softmax_tflite_s8(const void *params, const rnnc_job *job) {
    const rnnc_softmax_tflite *p = params;
    const int8_t *in = job->rows[0];
    int8_t *out = job->out;
    for (int32_t x = 0; x < p->width; ++x, in += p->channels, out += p->channels) {
        int32_t largest = maximum(in, p->channels);
        int32_t sum = 0;
        for (int32_t c = 0; c < p->channels; ++c) {
            sum += rnnc_rounding_shift_right(exponential(p->exps, p->n_exps, largest - in[c]), 12);
        }
        int32_t zeros = leading_zeros((uint32_t)sum);
        int32_t reciprocal = one_over_one_plus((int32_t)(((uint32_t)sum << zeros) - 0x80000000u));
        int32_t shift = 12 - zeros + 31 - 8;
        for (int32_t c = 0; c < p->channels; ++c) {
            int32_t e = exponential(p->exps, p->n_exps, largest - in[c]);
            int32_t y = rnnc_rounding_shift_right(rnnc_doubling_high_multiply(reciprocal, e), shift) - 128;
            out[c] = (int8_t)(y > INT8_MAX ? INT8_MAX : y);
        }
    }
}
