/* Portable kernels over two rows. */
#include "rnnc_elementwise.h"

#define ADD_TFLITE_LEFT_SHIFT 20

#if !RNNC_USE_DSP

void rnnc_add_s8(const void *params, const rnnc_job *job) {
    const rnnc_add *p = params;
    const int8_t *a = job->rows[0];
    const int8_t *b = job->rows[1];
    int8_t *out = job->out;
    for (int32_t base = 0; base < p->elements; base += p->period) {
        for (int32_t i = 0; i < p->period; ++i) {
            int32_t acc = a[base + i] * p->multiplier_a + b[i] * p->multiplier_b + p->bias;
            out[base + i] = (int8_t)rnnc_clamp(rnnc_asr(acc, p->shift), p->low, p->high);
        }
    }
}

#endif

static int32_t scaled(int32_t x, int32_t multiplier, int32_t shift) {
    return rnnc_multiply_by_quantized_multiplier(x, multiplier, shift);
}

void rnnc_add_tflite_s8(const void *params, const rnnc_job *job) {
    const rnnc_add_tflite *p = params;
    const int8_t *a = job->rows[0];
    const int8_t *b = job->rows[1];
    int8_t *out = job->out;
    const int32_t unit = (int32_t)1 << ADD_TFLITE_LEFT_SHIFT;
    for (int32_t base = 0; base < p->elements; base += p->period) {
        for (int32_t i = 0; i < p->period; ++i) {
            int32_t fine_a = (a[base + i] - p->zero_point_a) * unit;
            int32_t fine_b = (b[i] - p->zero_point_b) * unit;
            int32_t sum = p->sign_a * scaled(fine_a, p->multiplier_a, p->shift_a) +
                          p->sign_b * scaled(fine_b, p->multiplier_b, p->shift_b);
            int32_t y = scaled(sum, p->multiplier_out, p->shift_out) + p->out_zero_point;
            out[base + i] = (int8_t)rnnc_clamp(y, p->low, p->high);
        }
    }
}

void rnnc_mul_s8(const void *params, const rnnc_job *job) {
    const rnnc_mul *p = params;
    const int8_t *a = job->rows[0];
    const int8_t *b = job->rows[1];
    int8_t *out = job->out;
    for (int32_t base = 0; base < p->elements; base += p->period) {
        for (int32_t i = 0; i < p->period; ++i) {
            int32_t product = (a[base + i] - p->zero_point_a) * (b[i] - p->zero_point_b);
            out[base + i] = rnnc_requantise(product, 0, &p->requant);
        }
    }
}
