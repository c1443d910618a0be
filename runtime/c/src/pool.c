/* Portable pooling kernels. */
#include "rnnc_pool.h"

#include "rnnc_global_pool.h"

/* Taps first .. last - 1 of a window that begins at column `left` lie inside a row. */
typedef struct {
    int32_t first, last;
} span;

static span inside(int32_t left, int32_t taps, int32_t dilation, int32_t width) {
    span s = {0, taps};
    while (s.first < taps && left + s.first * dilation < 0) {
        ++s.first;
    }
    while (s.last > s.first && left + (s.last - 1) * dilation >= width) {
        --s.last;
    }
    return s;
}

void rnnc_max_pool_s8(const void *params, const rnnc_job *job) {
    const rnnc_max_pool *p = params;
    int8_t *out = job->out;
    for (int32_t x = 0; x < p->out_width; ++x, out += p->channels) {
        int32_t left = x * p->stride_w - p->pad_left;
        span taps = inside(left, p->kernel_w, p->dilation_w, p->in_width);
        for (int32_t c = 0; c < p->channels; ++c) {
            int8_t largest = INT8_MIN;
            for (int32_t ky = 0; ky < p->kernel_h; ++ky) {
                const int8_t *row = job->rows[ky];
                for (int32_t kx = taps.first; row != NULL && kx < taps.last; ++kx) {
                    int8_t value = row[(left + kx * p->dilation_w) * p->channels + c];
                    largest = value > largest ? value : largest;
                }
            }
            out[c] = largest;
        }
    }
}

static int32_t rows_inside(const rnnc_average_pool *p, const rnnc_job *job) {
    int32_t rows = 0;
    for (int32_t ky = 0; ky < p->kernel_h; ++ky) {
        rows += job->rows[ky] != NULL;
    }
    return rows;
}

static int32_t window_sum(const rnnc_average_pool *p, const rnnc_job *job, int32_t left, span taps,
                          int32_t c) {
    int32_t sum = 0;
    for (int32_t ky = 0; ky < p->kernel_h; ++ky) {
        const int8_t *row = job->rows[ky];
        for (int32_t kx = taps.first; row != NULL && kx < taps.last; ++kx) {
            sum += row[(left + kx * p->dilation_w) * p->channels + c];
        }
    }
    return sum;
}

void rnnc_average_pool_s8(const void *params, const rnnc_job *job) {
    const rnnc_average_pool *p = params;
    int8_t *out = job->out;
    int32_t rows = rows_inside(p, job);
    for (int32_t x = 0; x < p->out_width; ++x) {
        int32_t left = x * p->stride_w - p->pad_left;
        span taps = inside(left, p->kernel_w, p->dilation_w, p->in_width);
        int32_t count = rows * (taps.last - taps.first);
        int32_t index = p->count_padding ? 0 : count - p->first_count;
        for (int32_t c = 0; c < p->channels; ++c) {
            int32_t acc = window_sum(p, job, left, taps, c) - count * p->zero_point;
            *out++ = rnnc_requantise(acc, index, &p->requant);
        }
    }
}

void rnnc_average_pool_plain_s8(const void *params, const rnnc_job *job) {
    const rnnc_average_pool *p = params;
    int8_t *out = job->out;
    int32_t rows = rows_inside(p, job);
    for (int32_t x = 0; x < p->out_width; ++x) {
        int32_t left = x * p->stride_w - p->pad_left;
        span taps = inside(left, p->kernel_w, p->dilation_w, p->in_width);
        int32_t count = rows * (taps.last - taps.first);
        for (int32_t c = 0; c < p->channels; ++c) {
            int32_t mean = rnnc_rounded_quotient(window_sum(p, job, left, taps, c), count);
            *out++ = (int8_t)rnnc_clamp(mean, p->requant.low, p->requant.high);
        }
    }
}
