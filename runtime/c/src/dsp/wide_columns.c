/* Convolution by columns with int16 weights: three output pixels by two output channels (Armv7E-M). */
#include "rnnc_group.h"
#include "rnnc_tile_wide.h"
#include "rnnc_wide.h"
#include "rnnc_window.h"

#if RNNC_USE_DSP

typedef struct {
    rnnc_columns columns;
    int32_t steps; /* of four of depth in a window */
    const int16_t *weights;
} wide_work;

/* Output pixels side by side, `most` being the literal 3 or 2, of which one may be all there is. */
static inline __attribute__((always_inline)) void some_pixels(const wide_work *w, const int16_t *windows,
                                                              int32_t most, int32_t pixels, int8_t *out) {
    const rnnc_conv2d *p = w->columns.p;
    const int32_t code = most == 3 ? RNNC_STEP_WIDE_3X2_CODE : RNNC_STEP_WIDE_2X2_CODE;
    rnnc_tile t = {
        .windows = windows,
        .end = windows + 4 * w->steps,
        .step = pixels == 1 ? 0 : 2 * w->columns.window,
        .weights = w->weights,
        .code_skipped = rnnc_steps_skipped(w->steps, RNNC_TILE_BLOCK) * code,
        .bias = p->bias,
        .multiplier = rnnc_plain_multipliers(&p->requant),
        .out = out,
        .last = out + (p->out_channels & ~1),
        .stride = pixels == 1 ? 0 : p->out_channels,
        .zero_point = p->requant.zero_point,
    };
    for (int32_t channel = 0; t.out != t.last; channel += 2) {
        rnnc_six acc = most == 3 ? rnnc_tile_wide_3x2(&t) : rnnc_tile_wide_2x2(&t);
        if (t.multiplier == NULL) {
            rnnc_store_six(&p->requant, channel, acc, pixels, t.stride, t.out);
            t.out += 2;
        }
    }
}

/* `pixels` pixels whose windows are placed. */
static RNNC_NOINLINE void strip(const wide_work *w, const int16_t *windows, int32_t pixels, int8_t *out) {
    while (pixels > 0) {
        int32_t now = rnnc_pixels_at_once(pixels);
        if (now == 3) {
            some_pixels(w, windows, 3, 3, out);
        } else {
            some_pixels(w, windows, 2, now, out);
        }
        pixels -= now;
        windows += now * w->columns.window;
        out += now * w->columns.p->out_channels;
    }
}

/* An odd last channel, which has words of zeros beside its own; `out` is the first one of the first pixel. */
static RNNC_NOINLINE void last_channel(const wide_work *w, const int16_t *windows, int32_t pixels,
                                       int8_t *out) {
    const rnnc_conv2d *p = w->columns.p;
    int32_t channel = p->out_channels - 1;
    const uint32_t *weights = (const uint32_t *)(const void *)(w->weights + channel * w->steps * 4);
    out += channel;
    for (; pixels > 0; --pixels, windows += w->columns.window, out += p->out_channels) {
        const uint32_t *x = (const uint32_t *)(const void *)windows;
        int32_t acc = p->bias[channel];
        for (int32_t i = 0; i < 2 * w->steps; ++i) {
            acc = rnnc_dual_mac(acc, x[i], weights[2 * i]);
        }
        *out = rnnc_requantise(acc, channel, &p->requant);
    }
}

void rnnc_conv_wide_s8(const void *params, const rnnc_job *job) {
    const rnnc_conv_wide *wide = params;
    const rnnc_conv2d *p = &wide->conv;
    wide_work w = {rnnc_columns_of(p), rnnc_conv_bytes(p) / 4, wide->weights};
    int32_t pixels;
    for (int32_t x = 0; x < p->out_width; x += pixels) {
        int8_t *out = (int8_t *)job->out + x * p->out_channels;
        pixels = rnnc_strip_length(p, p->out_width - x);
        rnnc_place_windows(&w.columns, job, x, pixels);
        strip(&w, job->scratch, pixels, out);
        if (p->out_channels % 2 != 0) {
            last_channel(&w, job->scratch, pixels, out);
        }
    }
}

#endif
