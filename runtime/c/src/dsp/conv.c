/* Convolution by columns: three output pixels by two output channels at a time (Armv7E-M).
 *
 * The columns of a strip of pixels are widened to int16 once for all channels; see rnnc_window.h.
 */
#include "rnnc_conv.h"
#include "rnnc_group.h"
#include "rnnc_tile.h"
#include "rnnc_window.h"

#if RNNC_USE_DSP

typedef struct {
    rnnc_group group;
    rnnc_columns columns;
} columns_work;

/* An odd last channel, which has no neighbour to share the windows with. */
static void last_channel(const rnnc_group *g, const rnnc_tile *t, int32_t pixels) {
    const int8_t *window = t->windows;
    int8_t *out = t->out;
    int32_t channel = g->first + g->channels - 1;
    for (; pixels > 0; --pixels, window += t->step, out += t->stride) {
        const uint32_t *x = (const uint32_t *)(const void *)window;
        int32_t acc = g->p->bias[channel];
        for (int32_t step = 0; step < g->steps; ++step, x += 2) {
            uint32_t w = rnnc_load_word(t->weights + 4 * step);
            acc = rnnc_dual_mac(acc, x[0], rnnc_even_bytes(w));
            acc = rnnc_dual_mac(acc, x[1], rnnc_odd_bytes(w));
        }
        *out = rnnc_requantise(acc, channel, &g->p->requant);
    }
}

/* Output pixels side by side, `pixels` being the literal 3, 2 or 1; `out` is the first channel of the
 * group in the first pixel. */
static inline __attribute__((always_inline)) void some_pixels(const columns_work *w, const int16_t *windows,
                                                              int32_t pixels, int8_t *out) {
    const rnnc_group *g = &w->group;
    const int32_t code = pixels == 3   ? RNNC_STEP_3X2_CODE
                         : pixels == 2 ? RNNC_STEP_2X2_CODE
                                       : RNNC_STEP_1X2_CODE;
    rnnc_tile t = {
        .windows = windows,
        .end = windows + 4 * g->steps,
        .step = 2 * w->columns.window,
        .weights = g->weights,
        .code_skipped = rnnc_steps_skipped(g->steps - 1, RNNC_TILE_BLOCK) * code,
        .bias = g->p->bias + g->first,
        .multiplier = rnnc_group_multipliers(g),
        .out = out,
        .last = out + (g->channels & ~1),
        .stride = g->p->out_channels,
        .zero_point = g->p->requant.zero_point,
    };
    for (int32_t channel = g->first; t.out != t.last; channel += 2) {
        rnnc_six acc = pixels == 3 ? rnnc_tile_3x2(&t) : pixels == 2 ? rnnc_tile_2x2(&t) : rnnc_tile_1x2(&t);
        if (t.multiplier == NULL) {
            rnnc_store_six(g, channel, acc, pixels, t.stride, t.out);
            t.out += 2;
        }
    }
    if (g->channels % 2 != 0) {
        last_channel(g, &t, pixels);
    }
}

static void three_pixels(const columns_work *w, const int16_t *windows, int8_t *out) {
    some_pixels(w, windows, 3, out);
}

static void two_pixels(const columns_work *w, const int16_t *windows, int8_t *out) {
    some_pixels(w, windows, 2, out);
}

static void one_pixel(const columns_work *w, const int16_t *windows, int8_t *out) {
    some_pixels(w, windows, 1, out);
}

/* `pixels` pixels whose windows are placed. */
static void strip(const columns_work *w, const int16_t *windows, int32_t pixels, int8_t *out) {
    while (pixels > 0) {
        int32_t now = rnnc_pixels_at_once(pixels);
        if (now == 3) {
            three_pixels(w, windows, out);
        } else if (now == 2) {
            two_pixels(w, windows, out);
        } else {
            one_pixel(w, windows, out);
        }
        pixels -= now;
        windows += now * w->columns.window;
        out += now * w->group.p->out_channels;
    }
}

/* A strip does not leave a single pixel to the next one, which would be slow alone. */
static inline int32_t strip_length(const rnnc_conv2d *p, int32_t left) {
    return left <= p->pixels ? left : left == p->pixels + 1 && left > 2 ? left - 2 : p->pixels;
}

void rnnc_conv2d_s8(const void *params, const rnnc_job *job) {
    const rnnc_conv2d *p = params;
    columns_work w = {.columns = rnnc_columns_of(p)};
    int32_t steps = rnnc_conv_bytes(p) / 4;
    for (int32_t group = 0; group < p->groups; ++group) {
        w.group = rnnc_group_of(p, group, steps);
        int32_t pixels;
        for (int32_t x = 0; x < p->out_width; x += pixels) {
            pixels = strip_length(p, p->out_width - x);
            rnnc_place_windows(p, &w.columns, job->rows, x, pixels, group * w.columns.depth, job->scratch);
            strip(&w, job->scratch, pixels, (int8_t *)job->out + x * p->out_channels + w.group.first);
        }
    }
}

void rnnc_pointwise_s8(const void *params, const rnnc_job *job) {
    const rnnc_conv2d *p = params;
    if (p->pixels == 1 && p->in_channels % 4 == 0) {
        rnnc_pointwise_rows_s8(params, job);
    } else {
        rnnc_conv2d_s8(params, job);
    }
}

#endif
