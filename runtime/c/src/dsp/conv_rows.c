/* Convolution straight from the rows: nothing is copied, and only padding needs memory (Armv7E-M).
 *
 * Inside of the image the taps of a kernel row stand side by side, those of three pixels a fixed distance
 * apart. Pixels at the borders are taken in pairs of any two, tap by tap.
 */
#include "rnnc_conv.h"
#include "rnnc_group.h"
#include "rnnc_tile_rows.h"

#if RNNC_USE_DSP

typedef struct {
    const rnnc_conv2d *p;
    const rnnc_job *job;
    rnnc_segment *segments;
    const int8_t *padding; /* a kernel row's */
} rows_work;

static int8_t *pixel_at(const rows_work *w, int32_t x) {
    return (int8_t *)w->job->out + x * w->p->out_channels;
}

/* `pixels` is the literal 3 or 2; `distance` pixels lie from one to the next in the output. */
static inline __attribute__((always_inline)) void some_pixels(const rows_work *w, int32_t pixels, int32_t x,
                                                              int32_t distance) {
    const rnnc_conv2d *p = w->p;
    int8_t *out = pixel_at(w, x);
    int32_t steps = (int32_t)(w->segments->end - w->segments->from) / 4;
    int32_t code = pixels == 3 ? RNNC_STEP_ROWS_3X2_CODE : RNNC_STEP_ROWS_2X2_CODE;
    rnnc_tile_rows t = {
        .segments = w->segments,
        .weights = p->weights,
        .code_skipped = rnnc_steps_skipped(steps, RNNC_TILE_ROWS_BLOCK) * code,
        .bias = p->bias,
        .multiplier = rnnc_plain_multipliers(&p->requant),
        .out = out,
        .last = out + (p->out_channels & ~1),
        .stride = distance * p->out_channels,
        .zero_point = p->requant.zero_point,
    };
    for (int32_t channel = 0; t.out != t.last; channel += 2) {
        rnnc_six acc = pixels == 3 ? rnnc_tile_rows_3x2(&t) : rnnc_tile_rows_2x2(&t);
        if (t.multiplier == NULL) {
            rnnc_store_six(&p->requant, channel, acc, pixels, t.stride, t.out);
            t.out += 2;
        }
    }
}

static RNNC_NOINLINE void three_pixels(const rows_work *w, int32_t x) {
    some_pixels(w, 3, x, 1);
}

static RNNC_NOINLINE void two_pixels(const rows_work *w, int32_t x, int32_t distance) {
    some_pixels(w, 2, x, distance);
}

/* An odd last channel of pixels `distance` apart. */
static RNNC_NOINLINE void last_channel(const rows_work *w, int32_t x, int32_t pixels, int32_t distance) {
    const rnnc_conv2d *p = w->p;
    int32_t channel = p->out_channels - 1;
    int8_t *out = pixel_at(w, x) + channel;
    for (int32_t pixel = 0; pixel < pixels; ++pixel, out += distance * p->out_channels) {
        const int8_t *weights = p->weights + channel * p->kernel_h * p->kernel_w * p->in_channels;
        int32_t acc = p->bias[channel];
        for (const rnnc_segment *s = w->segments; s->from != NULL; ++s) {
            int32_t bytes = (int32_t)(s->end - s->from);
            acc = rnnc_column_1x1(s->from + pixel * s->step, weights, bytes / 4, acc);
            weights += bytes;
        }
        *out = rnnc_requantise(acc, channel, &p->requant);
    }
}

/* Pixels side by side, or a pair any distance apart, whose segments are placed. */
static void placed_pixels(const rows_work *w, int32_t x, int32_t pixels, int32_t distance) {
    if (pixels == 3) {
        three_pixels(w, x);
    } else {
        two_pixels(w, x, distance);
    }
    if (w->p->out_channels % 2 != 0) {
        last_channel(w, x, pixels, distance);
    }
}

/* Segments of pixels from x on, side by side, whose windows lie within the width of the image. */
static RNNC_NOINLINE void place_inner(const rows_work *w, int32_t x) {
    const rnnc_conv2d *p = w->p;
    rnnc_segment *segment = w->segments;
    int32_t offset = (x * p->stride_w - p->pad_left) * p->in_channels;
    for (int32_t ky = 0; ky < p->kernel_h; ++ky, ++segment) {
        const int8_t *row = w->job->rows[ky];
        const int8_t *from = row == NULL ? w->padding : row + offset;
        int32_t step = row == NULL ? 0 : p->stride_w * p->in_channels;
        *segment = (rnnc_segment){from, from + p->kernel_w * p->in_channels, step};
    }
    segment->from = NULL;
}

static const int8_t *tap_at(const rows_work *w, const int8_t *row, int32_t column) {
    const rnnc_conv2d *p = w->p;
    return row != NULL && column >= 0 && column < p->in_width ? row + column * p->in_channels : w->padding;
}

/* Segments of any two pixels, which may be the same. */
static RNNC_NOINLINE void place_pair(const rows_work *w, int32_t first, int32_t distance) {
    const rnnc_conv2d *p = w->p;
    rnnc_segment *segment = w->segments;
    for (int32_t ky = 0; ky < p->kernel_h; ++ky) {
        int32_t column = first * p->stride_w - p->pad_left;
        for (const rnnc_segment *end = segment + p->kernel_w; segment != end; ++segment, ++column) {
            const int8_t *from = tap_at(w, w->job->rows[ky], column);
            const int8_t *other = tap_at(w, w->job->rows[ky], column + distance * p->stride_w);
            int32_t step = (int32_t)((uintptr_t)other - (uintptr_t)from);
            *segment = (rnnc_segment){from, from + p->in_channels, step};
        }
    }
    segment->from = NULL;
}

/* All output pixels, `padding` being what taps outside of the image read. */
static RNNC_NOINLINE void all_pixels(const rnnc_conv2d *p, const rnnc_job *job, rnnc_segment *segments,
                                     const int8_t *padding) {
    rows_work w = {p, job, segments, padding};
    int32_t room = p->in_width - p->kernel_w + p->pad_left;
    int32_t first = (p->pad_left + p->stride_w - 1) / p->stride_w;
    int32_t last = rnnc_clamp(room < 0 ? 0 : room / p->stride_w + 1, 0, p->out_width);
    int32_t x = first, inner = last - first;
    if (inner % 3 == 1 && (p->out_width - inner) % 2 != 0) {
        --last; /* the pixel that threes leave over goes with the odd one at the border */
    }
    while (last - x >= 2) {
        int32_t pixels = rnnc_pixels_at_once(last - x);
        place_inner(&w, x);
        placed_pixels(&w, x, pixels, 1);
        x += pixels;
    }
    int32_t waiting = -1;
    for (int32_t other = 0; other < p->out_width || waiting >= 0; ++other) {
        if (other >= first && other < x) {
            continue;
        }
        if (waiting < 0) {
            waiting = other;
            continue;
        }
        int32_t distance = other < p->out_width ? other - waiting : 0;
        place_pair(&w, waiting, distance);
        placed_pixels(&w, waiting, 2, distance);
        waiting = -1;
    }
}

void rnnc_conv_rows_s8(const void *params, const rnnc_job *job) {
    const rnnc_conv2d *p = params;
    rnnc_segment *segments = job->scratch;
    int8_t *padding = (int8_t *)(segments + p->kernel_h * p->kernel_w + 1);
    (void)rnnc_fill_bytes(padding, p->in_zero_point, p->kernel_w * p->in_channels);
    all_pixels(p, job, segments, padding);
}

void rnnc_pointwise_rows_s8(const void *params, const rnnc_job *job) {
    rnnc_segment segments[2];
    all_pixels(params, job, segments, NULL);
}

#endif
