/* Convolution by columns: three output pixels by two output channels at a time (Armv7E-M).
 *
 * The pixels' columns are widened to int16 once for all channels; see rnnc_window.h.
 */
#include "rnnc_conv.h"
#include "rnnc_tile.h"
#include "rnnc_window.h"

#if RNNC_USE_DSP

/* The output channels of one group, the depth of their columns, and where their constants are. */
typedef struct {
    const rnnc_conv2d *p;
    int32_t first, channels;
    int32_t words;
    const int8_t *weights;
    int plain; /* requantisation is one SMMLAR and one SSAT */
} channel_group;

static inline void store(const channel_group *g, int32_t channel, int32_t first, int32_t second,
                         int8_t *out) {
    const rnnc_requant *q = &g->p->requant;
    out[0] = rnnc_requantise(first, channel, q);
    out[1] = rnnc_requantise(second, channel + 1, q);
}

/* An odd last channel, which has no neighbour to share the columns with. */
static void last_channel(const channel_group *g, const uint32_t *columns, int32_t pixels,
                         const int8_t *weights, int8_t *out) {
    int32_t channel = g->first + g->channels - 1;
    for (int32_t pixel = 0; pixel < pixels; ++pixel, out += g->p->out_channels) {
        const uint32_t *x = columns + pixel;
        int32_t acc = g->p->bias[channel];
        for (int32_t word = 0; word < g->words; ++word, x += 2 * pixels) {
            uint32_t w = rnnc_load_word(weights + 4 * word);
            acc = rnnc_dual_mac(acc, x[0], rnnc_even_bytes(w));
            acc = rnnc_dual_mac(acc, x[pixels], rnnc_odd_bytes(w));
        }
        *out = rnnc_requantise(acc, channel, &g->p->requant);
    }
}

/* `word_bytes` of the columns and `code` bytes of the tile are a step; `out` is the first channel of
 * the group in the first pixel. */
static inline __attribute__((always_inline)) rnnc_tile tile_of(const channel_group *g, const void *columns,
                                                               int32_t word_bytes, int32_t code,
                                                               int8_t *out) {
    const rnnc_conv2d *p = g->p;
    return (rnnc_tile){
        .columns = columns,
        .code_skipped = (-g->words & (RNNC_TILE_BLOCK - 1)) * code,
        .end = (const int8_t *)columns + word_bytes * g->words,
        .weights = g->weights,
        .bias = p->bias + g->first,
        .multiplier = p->requant.multipliers + g->first,
        .out = out,
        .last = out + (g->channels & ~1),
        .stride = p->out_channels,
        .zero_point = p->requant.zero_point,
        .plain = g->plain,
    };
}

/* Output pixels side by side, `pixels` being the literal 3 or 2. */
static inline __attribute__((always_inline)) void some_pixels(const channel_group *g, const uint32_t *columns,
                                                              int32_t pixels, int8_t *out) {
    int32_t stride = g->p->out_channels;
    rnnc_tile t = tile_of(g, columns, 8 * pixels, pixels == 3 ? RNNC_STEP_3X2_CODE : RNNC_STEP_2X2_CODE, out);
    for (int32_t channel = g->first; t.out != t.last; channel += 2) {
        rnnc_six acc = pixels == 3 ? rnnc_tile_3x2(&t) : rnnc_tile_2x2(&t);
        if (!g->plain) {
            store(g, channel, acc.a0, acc.b0, t.out);
            store(g, channel, acc.a1, acc.b1, t.out + stride);
            if (pixels == 3) {
                store(g, channel, acc.a2, acc.b2, t.out + 2 * stride);
            }
            t.out += 2;
        }
    }
    if (g->channels % 2 != 0) {
        last_channel(g, columns, pixels, t.weights, t.out);
    }
}

static void three_pixels(const channel_group *g, const uint32_t *columns, int8_t *out) {
    some_pixels(g, columns, 3, out);
}

static void two_pixels(const channel_group *g, const uint32_t *columns, int8_t *out) {
    some_pixels(g, columns, 2, out);
}

/* One pixel, from its bytes. */
static void one_pixel(const channel_group *g, const int8_t *a, int8_t *out) {
    int32_t last = g->first + g->channels - 1;
    rnnc_tile t = tile_of(g, a, 4, RNNC_STEP_1X2_CODE, out);
    for (int32_t channel = g->first; t.out != t.last; channel += 2) {
        rnnc_six acc = rnnc_tile_1x2(&t);
        if (!g->plain) {
            store(g, channel, acc.a0, acc.b0, t.out);
            t.out += 2;
        }
    }
    if (g->channels % 2 != 0) {
        int32_t acc = rnnc_column_1x1(a, t.weights, g->words, g->p->bias[last]);
        *t.out = rnnc_requantise(acc, last, &g->p->requant);
    }
}

static channel_group group_of(const rnnc_conv2d *p, int32_t group, int32_t words) {
    const rnnc_requant *q = &p->requant;
    int32_t channels = p->out_channels / p->groups;
    int whole = q->low == INT8_MIN && q->high == INT8_MAX;
    return (channel_group){
        .p = p,
        .first = group * channels,
        .channels = channels,
        .words = words,
        .weights = p->weights + group * channels * words * 4,
        .plain = !RNNC_TFLITE && q->left_shift == 0 && whole,
    };
}

static void finish(const channel_group *g, const uint32_t *columns, int32_t pixels, int8_t *out) {
    if (pixels == 3) {
        three_pixels(g, columns, out);
    } else {
        two_pixels(g, columns, out);
    }
}

/* How many output pixels to take at once from pixel x on. */
static inline int32_t side_by_side(const rnnc_conv2d *p, int32_t x) {
    int32_t left = p->out_width - x;
    return left < p->pixels ? left : p->pixels;
}

/* One of two or three columns from bytes. */
static void widen(uint32_t *to, const int8_t *from, int32_t words, int32_t pixels) {
    if (pixels == 3) {
        (void)rnnc_widen(to, from, words, 3);
    } else {
        (void)rnnc_widen(to, from, words, 2);
    }
}

/* Room for a column of bytes behind the widened ones. */
static int8_t *bytes_behind(const rnnc_conv2d *p, uint32_t *columns, int32_t words) {
    return (int8_t *)(columns + 2 * side_by_side(p, 0) * words);
}

/* --- any window --- */

/* The window of output pixel x as one column of bytes, channels from `channel` on. */
static void gather_column(const rnnc_conv2d *p, const rnnc_job *job, int32_t x, int32_t channel, int8_t *to) {
    int32_t depth = p->in_channels / p->groups;
    if (p->dilation_w == 1 && p->groups == 1) {
        rnnc_gather_span(p, job->rows, rnnc_span_of(p, x), to);
        return;
    }
    for (int32_t tap = 0; tap < p->kernel_h * p->kernel_w; ++tap) {
        const int8_t *from = rnnc_tap(p, job->rows, x, tap, channel);
        to = from != NULL ? rnnc_copy_bytes(to, from, depth) : rnnc_fill_bytes(to, p->in_zero_point, depth);
    }
}

/* The same widened, `pixels` columns standing side by side; taps are whole words. */
static inline __attribute__((always_inline)) void widen_window(const rnnc_conv2d *p, const rnnc_job *job,
                                                               int32_t x, int32_t channel, uint32_t *to,
                                                               int32_t pixels) {
    int32_t words = p->in_channels / p->groups / 4;
    if (p->dilation_w == 1 && p->groups == 1) {
        rnnc_widen_span(p, job->rows, rnnc_span_of(p, x), to, pixels);
        return;
    }
    for (int32_t tap = 0; tap < p->kernel_h * p->kernel_w; ++tap) {
        const int8_t *from = rnnc_tap(p, job->rows, x, tap, channel);
        to = from != NULL ? rnnc_widen(to, from, words, pixels)
                          : rnnc_widen_padding(to, p->in_zero_point, words, pixels);
    }
}

static void widen_three_windows(const rnnc_conv2d *p, const rnnc_job *job, int32_t x, int32_t channel,
                                uint32_t *to) {
    for (int32_t i = 0; i < 3; ++i) {
        widen_window(p, job, x + i, channel, to + i, 3);
    }
}

static void widen_two_windows(const rnnc_conv2d *p, const rnnc_job *job, int32_t x, int32_t channel,
                              uint32_t *to) {
    for (int32_t i = 0; i < 2; ++i) {
        widen_window(p, job, x + i, channel, to + i, 2);
    }
}

/* The columns of two or three pixels from x on. `bytes` is room for one of bytes, used where taps are
 * not whole words. */
static void place_columns(const channel_group *g, const rnnc_job *job, int32_t x, int32_t pixels,
                          uint32_t *columns, int8_t *bytes) {
    const rnnc_conv2d *p = g->p;
    int32_t depth = p->in_channels / p->groups;
    int32_t channel = g->first / g->channels * depth;
    if (depth % 4 != 0) {
        for (int32_t i = 0; i < pixels; ++i) {
            gather_column(p, job, x + i, channel, bytes);
            widen(columns + i, bytes, g->words, pixels);
        }
    } else if (pixels == 3) {
        widen_three_windows(p, job, x, channel, columns);
    } else {
        widen_two_windows(p, job, x, channel, columns);
    }
}

void rnnc_conv2d_s8(const void *params, const rnnc_job *job) {
    const rnnc_conv2d *p = params;
    int32_t depth = p->in_channels / p->groups;
    int32_t words = (p->kernel_h * p->kernel_w * depth + 3) / 4;
    uint32_t *columns = job->scratch;
    int8_t *bytes = bytes_behind(p, columns, words);
    for (int32_t group = 0; group < p->groups; ++group) {
        channel_group g = group_of(p, group, words);
        int8_t *out = (int8_t *)job->out + g.first;
        int32_t pixels;
        for (int32_t x = 0; x < p->out_width; x += pixels, out += pixels * p->out_channels) {
            pixels = side_by_side(p, x);
            if (pixels == 1) {
                gather_column(p, job, x, group * depth, job->scratch);
                one_pixel(&g, job->scratch, out);
            } else {
                place_columns(&g, job, x, pixels, columns, bytes);
                finish(&g, columns, pixels, out);
            }
        }
    }
}

/* --- one tap --- */

/* A pixel whose channels are not whole words is copied, since reading past the end of a row is not
 * allowed. */
static const int8_t *whole_words(const rnnc_conv2d *p, const int8_t *pixel, int8_t *scratch) {
    if (p->in_channels % 4 == 0) {
        return pixel;
    }
    rnnc_copy_bytes(scratch, pixel, p->in_channels);
    return scratch;
}

void rnnc_pointwise_s8(const void *params, const rnnc_job *job) {
    const rnnc_conv2d *p = params;
    channel_group g = group_of(p, 0, (p->in_channels + 3) / 4);
    int32_t step = p->stride_w * p->in_channels;
    uint32_t *columns = job->scratch;
    int8_t *bytes = bytes_behind(p, columns, g.words);
    const int8_t *pixel = job->rows[0];
    int8_t *out = job->out;
    int32_t pixels;
    for (int32_t x = 0; x < p->out_width; x += pixels, out += pixels * p->out_channels) {
        pixels = side_by_side(p, x);
        if (pixels == 1) {
            one_pixel(&g, whole_words(p, pixel, job->scratch), out);
            pixel += step;
            continue;
        }
        for (int32_t i = 0; i < pixels; ++i, pixel += step) {
            widen(columns + i, whole_words(p, pixel, bytes), g.words, pixels);
        }
        finish(&g, columns, pixels, out);
    }
}

#endif
