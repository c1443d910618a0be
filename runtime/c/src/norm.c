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

/* The norm of 1 has `unit` for each step of a value; the shift leaves nothing of the products' lower words.
 */
static void scale_pixel(const rnnc_lp_norm *p, const int8_t *in, int32_t unit, int8_t *out) {
    const int32_t *gain = p->gains;
    const int32_t shift = p->shift - 32, half = (int32_t)1 << (shift - 1);
    const int32_t zero_point = p->zero_point, out_zero_point = p->out_zero_point;
    for (const int8_t *end = in + p->channels; in != end; ++in, ++out, ++gain) {
        int32_t value = (int32_t)((uint32_t)(*in - zero_point) * (uint32_t)unit);
        int32_t scaled = (int32_t)rnnc_asr64((int64_t)value * *gain, 32) + half;
        *out = (int8_t)rnnc_saturate(rnnc_asr(scaled, shift) + out_zero_point);
    }
}

void rnnc_lp_norm_s8(const void *params, const rnnc_job *job) {
    const rnnc_lp_norm *p = params;
    const int8_t *in = job->rows[0];
    int8_t *out = job->out;
    for (int32_t x = 0; x < p->width; ++x, in += p->channels, out += p->channels) {
        uint32_t squares = sum_of_squares(in, p->channels, p->zero_point);
        int32_t pairs = 0; /* of leading zeros; a pixel of zeros has any norm */
        for (squares += squares == 0; squares < (uint32_t)1 << 30; squares <<= 2) {
            ++pairs;
        }
        uint32_t root = square_root(squares);
        int32_t reciprocal = (int32_t)((0xFFFFFFFFu - root) / (2u * root + 1u) + 1u);
        scale_pixel(p, in, rnnc_shift_left(reciprocal, pairs - 1), out);
    }
}
