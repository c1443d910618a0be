/* L2 normalisation and a convolution, on the kernels of both. */
#include "rnnc_normed.h"

/* Calls that the linker can see, and no pointer to the kernel, keep the other kernel out of the program. */
static inline void run(const rnnc_normed_conv *p, const rnnc_job *job, int from_rows) {
    int32_t row_bytes = p->norm.width * p->norm.channels;
    int8_t *normed = job->scratch;
    const void *rows[RNNC_NORMED_ROWS];
    for (int32_t tap = 0; tap < p->conv.kernel_h; ++tap) {
        int8_t *row = normed + tap * row_bytes;
        rows[tap] = job->rows[tap] == NULL ? NULL : row;
        if (rows[tap] != NULL) {
            rnnc_lp_norm_s8(&p->norm, &(rnnc_job){.rows = job->rows + tap, .out = row});
        }
    }
    void *scratch = normed + rnnc_aligned(p->conv.kernel_h * row_bytes);
    rnnc_job inner = {.rows = rows, .out = job->out, .scratch = scratch};
    if (from_rows) {
        rnnc_conv_rows_s8(&p->conv, &inner);
    } else {
        rnnc_conv2d_s8(&p->conv, &inner);
    }
}

void rnnc_normed_conv2d_s8(const void *params, const rnnc_job *job) {
    run(params, job, 0);
}

void rnnc_normed_conv_rows_s8(const void *params, const rnnc_job *job) {
    run(params, job, 1);
}
