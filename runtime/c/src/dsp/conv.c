/* Convolution by columns: three output pixels by two output channels at a time (Armv7E-M).
 *
 * The columns of a strip of pixels are widened to int16 once for all channels; see rnnc_window.h.
 */
#include "rnnc_conv.h"
#include "rnnc_group.h"
#include "rnnc_tile.h"
#include "rnnc_window.h"

#if RNNC_USE_DSP

/* One group of a convolution. */
typedef struct {
    rnnc_columns columns;
    int32_t first, channels; /* of the output */
    int32_t steps;           /* of four of depth in a window */
    const int8_t *weights;
} columns_work;

/* Member by member: an initialiser would clear all of it first, by a call of memset. */
static inline __attribute__((always_inline)) columns_work first_group(const rnnc_conv2d *p) {
    columns_work w;
    w.columns = rnnc_columns_of(p);
    w.first = 0;
    w.channels = p->out_channels / p->groups;
    w.steps = rnnc_conv_bytes(p) / 4;
    w.weights = p->weights;
    return w;
}

/* Output pixels side by side, `pixels` being the literal 3, 2 or 1; `out` is the first channel of the
 * group in the first pixel. */
static inline __attribute__((always_inline)) void some_pixels(const columns_work *w, const int16_t *windows,
                                                              int32_t pixels, int8_t *out) {
    const rnnc_conv2d *p = w->columns.p;
    const int32_t *multipliers = rnnc_plain_multipliers(&p->requant);
    const int32_t code = pixels == 3   ? RNNC_STEP_3X2_CODE
                         : pixels == 2 ? RNNC_STEP_2X2_CODE
                                       : RNNC_STEP_1X2_CODE;
    rnnc_tile t = {
        .windows = windows,
        .end = windows + 4 * w->steps,
        .step = 2 * w->columns.window,
        .weights = w->weights,
        .code_skipped = rnnc_steps_skipped(w->steps, RNNC_TILE_BLOCK) * code,
        .bias = p->bias + w->first,
        .multiplier = multipliers == NULL ? NULL : multipliers + w->first,
        .out = out,
        .last = out + (w->channels & ~1),
        .stride = p->out_channels,
        .zero_point = p->requant.zero_point,
    };
    for (int32_t channel = w->first; t.out != t.last; channel += 2) {
        rnnc_six acc = pixels == 3 ? rnnc_tile_3x2(&t) : pixels == 2 ? rnnc_tile_2x2(&t) : rnnc_tile_1x2(&t);
        if (t.multiplier == NULL) {
            rnnc_store_six(&p->requant, channel, acc, pixels, t.stride, t.out);
            t.out += 2;
        }
    }
}

/* `pixels` pixels whose windows are placed. */
static RNNC_NOINLINE void strip(const columns_work *w, const int16_t *windows, int32_t pixels, int8_t *out) {
    while (pixels > 0) {
        int32_t now = rnnc_pixels_at_once(pixels);
        if (now == 3) {
            some_pixels(w, windows, 3, out);
        } else if (now == 2) {
            some_pixels(w, windows, 2, out);
        } else {
            some_pixels(w, windows, 1, out);
        }
        pixels -= now;
        windows += now * w->columns.window;
        out += now * w->columns.p->out_channels;
    }
}

/* An odd last channel, which has no neighbour to share the windows with; `out` as in some_pixels. */
static RNNC_NOINLINE void last_channel(const columns_work *w, const int16_t *windows, int32_t pixels,
                                       int8_t *out) {
    const rnnc_conv2d *p = w->columns.p;
    int32_t channel = w->first + w->channels - 1;
    const int8_t *weights = w->weights + (w->channels - 1) * w->steps * 4;
    out += w->channels - 1;
    for (; pixels > 0; --pixels, windows += w->columns.window, out += p->out_channels) {
        const uint32_t *x = (const uint32_t *)(const void *)windows;
        int32_t acc = p->bias[channel];
        for (int32_t step = 0; step < w->steps; ++step, x += 2) {
            uint32_t word = rnnc_load_word(weights + 4 * step);
            acc = rnnc_dual_mac(acc, x[0], rnnc_even_bytes(word));
            acc = rnnc_dual_mac(acc, x[1], rnnc_odd_bytes(word));
        }
        *out = rnnc_requantise(acc, channel, &p->requant);
    }
}

/* All channels of pixels whose windows are placed. */
static inline void all_channels(const columns_work *w, const int16_t *windows, int32_t pixels, int8_t *out) {
    strip(w, windows, pixels, out);
    if (w->channels % 2 != 0) {
        last_channel(w, windows, pixels, out);
    }
}

void rnnc_conv2d_s8(const void *params, const rnnc_job *job) {
    const rnnc_conv2d *p = params;
    columns_work w = first_group(p);
    for (; w.first < p->out_channels; w.first += w.channels, w.columns.channel += w.columns.depth) {
        int32_t pixels;
        for (int32_t x = 0; x < p->out_width; x += pixels) {
            pixels = rnnc_strip_length(p, p->out_width - x);
            rnnc_place_windows(&w.columns, job, x, pixels);
            all_channels(&w, job->scratch, pixels, (int8_t *)job->out + x * p->out_channels + w.first);
        }
        w.weights += w.channels * w.steps * 4;
    }
}

/* Every window is one column of one row. */
void rnnc_pointwise_columns_s8(const void *params, const rnnc_job *job) {
    const rnnc_conv2d *p = params;
    columns_work w = first_group(p);
    const int8_t *row = job->rows[0];
    int8_t *out = job->out;
    int32_t pixels;
    for (int32_t left = p->out_width; left > 0; left -= pixels) {
        pixels = rnnc_strip_length(p, left);
        rnnc_place_inside(p, row, p->in_channels, pixels, job->scratch, w.columns.column);
        all_channels(&w, job->scratch, pixels, out);
        row += pixels * p->in_channels;
        out += pixels * p->out_channels;
    }
}

void rnnc_pointwise_s8(const void *params, const rnnc_job *job) {
    const rnnc_conv2d *p = params;
    if (p->pixels == 1 && p->in_channels % 4 == 0) {
        rnnc_pointwise_rows_s8(params, job);
    } else {
        rnnc_pointwise_columns_s8(params, job);
    }
}

#endif
