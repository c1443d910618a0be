/* L2 normalisation. */
#include "rnnc_norm.h"

/* floor(sqrt(x)), one bit of the root per step */
static uint32_t square_root(uint32_t x) {
    uint32_t root = 0;
    for (uint32_t bit = (uint32_t)1 << 30; bit != 0; bit >>= 2) {
        if (x >= root + bit) {
            x -= root + bit;
            root = (root >> 1) + bit;
        } else {
            root >>= 1;
        }
    }
    return root;
}

static uint32_t sum_of_squares(const int8_t *x, int32_t count, int32_t zero_point) {
    uint32_t sum = 0;
    int32_t i = 0;
    for (; i + 1 < count; i += 2) {
        int32_t a = x[i] - zero_point, b = x[i + 1] - zero_point;
        sum += (uint32_t)(a * a) + (uint32_t)(b * b);
    }
    if (i < count) {
        int32_t last = x[i] - zero_point;
        sum += (uint32_t)(last * last);
    }
    return sum;
}

/* (a * b + half) >> shift, for a result of 32 bits */
static inline int32_t scaled(int32_t a, int32_t b, int64_t half, int32_t shift) {
    int64_t sum = (int64_t)a * b + half;
    /* the upper word alone where it will do: shifting both takes ten instructions */
    return shift >= 32 ? rnnc_asr((int32_t)rnnc_asr64(sum, 32), shift - 32) : (int32_t)rnnc_asr64(sum, shift);
}

void rnnc_lp_norm_s8(const void *params, const rnnc_job *job) {
    const rnnc_lp_norm p = *(const rnnc_lp_norm *)params; /* a copy, which no output can alias */
    const int8_t *in = job->rows[0];
    int8_t *out = job->out;
    const int64_t half = (int64_t)1 << (p.shift - 1);
    for (int32_t x = 0; x < p.width; ++x) {
        uint32_t squares = sum_of_squares(in, p.channels, p.zero_point);
        int32_t pairs = 0; /* of leading zeros; a pixel of zeros has any norm */
        for (squares += squares == 0; squares < (uint32_t)1 << 30; squares <<= 2) {
            ++pairs;
        }
        uint32_t root = square_root(squares);
        int32_t reciprocal = (int32_t)((0xFFFFFFFFu - root) / (2u * root + 1u) + 1u);
        for (int32_t c = 0; c < p.channels; ++c) {
            int32_t unit = rnnc_shift_left((*in++ - p.zero_point) * reciprocal, pairs - 1);
            int32_t y = scaled(unit, p.gains[c], half, p.shift);
            *out++ = (int8_t)rnnc_saturate(y + p.out_zero_point);
        }
    }
}
