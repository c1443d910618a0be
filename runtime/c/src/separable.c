/* A depthwise and a 1x1 convolution, tile by tile, on the kernels of both. */
#include "rnnc_separable.h"

/* Calls that the linker can see, and no pointer to the kernel, keep the other kernels out of the program. */
static inline void run_separable(const rnnc_separable *p, const rnnc_job *job, rnnc_depthwise_kind kind) {
    int8_t *middle = job->scratch;
    void *scratch = middle + rnnc_aligned(p->tile * p->depthwise.out_channels);
    for (int32_t x = 0; x < p->depthwise.out_width; x += p->tile) {
        const void *rows[RNNC_SEPARABLE_ROWS];
        rnnc_stretch t = rnnc_stretch_at(&p->depthwise, x, p->tile);
        for (int32_t tap = 0; tap < p->depthwise.kernel_h; ++tap) {
            const int8_t *row = job->rows[tap];
            rows[tap] = row == NULL ? NULL : row + t.first * p->depthwise.in_channels;
        }
        rnnc_conv2d part = p->depthwise;
        rnnc_conv_narrow(&part, t);
        rnnc_depthwise_of_kind(kind, &part, &(rnnc_job){.rows = rows, .out = middle, .scratch = scratch});
        part = p->project;
        part.out_width = t.width;
        rows[0] = middle;
        int8_t *out = (int8_t *)job->out + x * part.out_channels;
        rnnc_pointwise_s8(&part, &(rnnc_job){.rows = rows, .out = out, .scratch = scratch});
    }
}

void rnnc_separable_s8(const void *params, const rnnc_job *job) {
    run_separable(params, job, RNNC_ANY_TAPS);
}

void rnnc_separable3x3_s8(const void *params, const rnnc_job *job) {
    run_separable(params, job, RNNC_TAPS_3X3);
}
