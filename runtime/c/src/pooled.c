/* A 1x1 convolution and the average of its map, chunk of channels by chunk. */
#include "rnnc_pooled.h"

static void add_row(const int8_t *row, int32_t width, int32_t channels, int32_t *sums) {
    for (int32_t x = 0; x < width; ++x) {
        for (int32_t c = 0; c < channels; ++c) {
            sums[c] += *row++;
        }
    }
}

void rnnc_pooled_pointwise_s8(const void *params, const rnnc_job *job) {
    const rnnc_pooled *p = params;
    int32_t row_bytes = rnnc_aligned(p->conv.out_width * p->chunk);
    int32_t *sums = job->scratch;
    int8_t *line = (int8_t *)(sums + p->chunk);
    int8_t *out = job->out;
    for (int32_t first = 0; first < p->conv.out_channels; first += p->chunk) {
        int32_t left = p->conv.out_channels - first;
        int32_t channels = left < p->chunk ? left : p->chunk;
        rnnc_conv2d part = p->conv;
        rnnc_conv_slice(&part, first, channels, rnnc_conv_bytes(&p->conv));
        for (int32_t c = 0; c < channels; ++c) {
            sums[c] = p->mean.initial;
        }
        for (int32_t y = 0; y < p->rows; ++y) {
            rnnc_job inner = {.rows = &job->rows[y], .out = line, .scratch = line + row_bytes};
            rnnc_pointwise_s8(&part, &inner);
            add_row(line, part.out_width, channels, sums);
        }
        for (int32_t c = 0; c < channels; ++c) {
            *out++ = rnnc_mean_of(&p->mean, sums[c]);
        }
    }
}
