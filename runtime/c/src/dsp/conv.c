/* Convolution by columns: three output pixels by two output channels at a time (Armv7E-M).
 *
 * The pixels' columns are widened to int16 once for all channels and interleaved, as rnnc_tile_3x2
 * reads them: per word of a column the even bytes of each pixel, then the odd bytes of each.
 */
#include "rnnc_conv.h"
#include "rnnc_tile.h"

#if RNNC_USE_DSP

#define PIXELS 3

/* The output channels of one group, the depth of their columns, and where their constants are. */
typedef struct {
    const rnnc_conv2d *p;
    int32_t first, channels;
    int32_t words;
    const int8_t *weights;
    int plain; /* requantisation is one SMMLAR and one SSAT */
} channel_group;

/* Where the next word of a pixel's column goes, `pixels` columns standing side by side. */
typedef struct {
    uint32_t *to;
    int32_t pixels;
} widened;

static inline void widen_word(widened *c, uint32_t word) {
    c->to[0] = rnnc_even_bytes(word);
    c->to[c->pixels] = rnnc_odd_bytes(word);
    c->to += 2 * c->pixels;
}

/* Four words; the loads stand together. */
static inline uint32_t *widen_four(uint32_t *to, const int8_t *from, int32_t pixels) {
    uint32_t w0, w1, w2, w3;
    __asm__(
        "ldr %0, [%4]\n"
        "ldr %1, [%4, #4]\n"
        "ldr %2, [%4, #8]\n"
        "ldr %3, [%4, #12]\n"
        : "=&r"(w0), "=&r"(w1), "=&r"(w2), "=&r"(w3)
        : "r"(from), "m"(*(const int8_t(*)[16])from));
    to[0] = rnnc_even_bytes(w0);
    to[pixels] = rnnc_odd_bytes(w0);
    to[2 * pixels] = rnnc_even_bytes(w1);
    to[3 * pixels] = rnnc_odd_bytes(w1);
    to[4 * pixels] = rnnc_even_bytes(w2);
    to[5 * pixels] = rnnc_odd_bytes(w2);
    to[6 * pixels] = rnnc_even_bytes(w3);
    to[7 * pixels] = rnnc_odd_bytes(w3);
    return to + 8 * pixels;
}

static inline __attribute__((always_inline)) uint32_t *widen_by(uint32_t *to, const int8_t *from,
                                                                int32_t words, int32_t pixels) {
    for (; words >= 4; words -= 4, from += 16) {
        to = widen_four(to, from, pixels);
    }
    for (; words > 0; --words, from += 4, to += 2 * pixels) {
        uint32_t word = rnnc_load_word(from);
        to[0] = rnnc_even_bytes(word);
        to[pixels] = rnnc_odd_bytes(word);
    }
    return to;
}

/* A number of words from bytes anywhere. */
static void widen(widened *c, const int8_t *from, int32_t words) {
    c->to =
        c->pixels == PIXELS ? widen_by(c->to, from, words, PIXELS) : widen_by(c->to, from, words, PIXELS - 1);
}

static void widen_padding(widened *c, int32_t zero_point, int32_t words) {
    for (; words > 0; --words) {
        widen_word(c, (uint32_t)(uint8_t)zero_point * 0x01010101u);
    }
}

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

/* Output pixels side by side, `pixels` being the literal 3 or 2; `out` is the first channel of the
 * group in the first one. */
static inline __attribute__((always_inline)) void some_pixels(const channel_group *g, const uint32_t *columns,
                                                              int32_t pixels, int8_t *out) {
    const rnnc_conv2d *p = g->p;
    int32_t stride = p->out_channels;
    int32_t skipped = -g->words & (RNNC_TILE_BLOCK - 1);
    rnnc_tile t = {
        .columns = columns,
        .code_skipped = skipped * (pixels == 3 ? RNNC_STEP_3X2_CODE : RNNC_STEP_2X2_CODE),
        .end = columns + 2 * pixels * g->words,
        .weights = g->weights,
        .bias = p->bias + g->first,
        .multiplier = p->requant.multipliers + g->first,
        .out = out,
        .last = out + (g->channels & ~1),
        .stride = stride,
        .zero_point = p->requant.zero_point,
        .plain = g->plain,
    };
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
    const rnnc_requant *q = &g->p->requant;
    const int32_t *bias = g->p->bias;
    const int8_t *weights = g->weights;
    int32_t channel = g->first;
    int32_t last = channel + g->channels - 1;
    for (; channel < last; channel += 2, weights += 8 * g->words) {
        rnnc_quad acc = {bias[channel], bias[channel + 1], 0, 0};
        acc = rnnc_tile_1x2(a, weights, g->words, acc);
        *out++ = rnnc_requantise(acc.a, channel, q);
        *out++ = rnnc_requantise(acc.b, channel + 1, q);
    }
    if (channel == last) {
        *out = rnnc_requantise(rnnc_tile_1x1(a, weights, g->words, bias[channel]), channel, q);
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
    if (pixels == PIXELS) {
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

/* Room for a column of bytes behind the widened ones. */
static int8_t *bytes_behind(const rnnc_conv2d *p, uint32_t *columns, int32_t words) {
    return (int8_t *)(columns + 2 * side_by_side(p, 0) * words);
}

/* --- any window --- */

/* The taps of one kernel row at input column `left`, channels from `channel` on, as bytes. */
static int8_t *gather_taps(const rnnc_conv2d *p, const int8_t *row, int32_t left, int32_t channel,
                           int32_t depth, int8_t *to) {
    int32_t reach = (p->kernel_w - 1) * p->dilation_w;
    if (row == NULL) {
        return rnnc_fill_bytes(to, p->in_zero_point, p->kernel_w * depth);
    }
    for (int32_t column = left; column <= left + reach; column += p->dilation_w) {
        if (column >= 0 && column < p->in_width) {
            to = rnnc_copy_bytes(to, row + column * p->in_channels + channel, depth);
        } else {
            to = rnnc_fill_bytes(to, p->in_zero_point, depth);
        }
    }
    return to;
}

/* The whole window of output pixel x as one column of bytes. What stands behind it up to the end of
 * its last word meets weights of zero. */
static void gather_column(const rnnc_conv2d *p, const rnnc_job *job, int32_t x, int32_t channel, int8_t *to) {
    int32_t depth = p->in_channels / p->groups;
    int32_t left = x * p->stride_w - p->pad_left;
    int whole = left >= 0 && left + p->kernel_w <= p->in_width && p->dilation_w == 1 && p->groups == 1;
    int32_t bytes = p->kernel_w * depth;
    for (int32_t ky = 0; ky < p->kernel_h; ++ky) {
        const int8_t *row = job->rows[ky];
        if (row != NULL && whole) {
            to = rnnc_copy_bytes(to, row + left * p->in_channels, bytes);
        } else {
            to = gather_taps(p, row, left, channel, depth, to);
        }
    }
}

/* The same, widened on the way, where a tap is whole words. */
static void widen_window(const rnnc_conv2d *p, const rnnc_job *job, int32_t x, int32_t channel, widened c) {
    int32_t words = p->in_channels / p->groups / 4;
    int32_t left = x * p->stride_w - p->pad_left;
    int32_t right = left + (p->kernel_w - 1) * p->dilation_w;
    int together = left >= 0 && right < p->in_width && p->dilation_w == 1 && p->groups == 1;
    int32_t offset = left * p->in_channels, row_words = p->kernel_w * words;
    for (int32_t ky = 0; ky < p->kernel_h; ++ky) {
        const int8_t *row = job->rows[ky];
        if (row == NULL) {
            widen_padding(&c, p->in_zero_point, row_words);
        } else if (together && c.pixels == PIXELS) {
            c.to = widen_by(c.to, row + offset, row_words, PIXELS);
        } else if (together) {
            widen(&c, row + offset, row_words);
        } else {
            for (int32_t at = left; at <= right; at += p->dilation_w) {
                if (at >= 0 && at < p->in_width) {
                    widen(&c, row + at * p->in_channels + channel, words);
                } else {
                    widen_padding(&c, p->in_zero_point, words);
                }
            }
        }
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
                continue;
            }
            for (int32_t i = 0; i < pixels; ++i) {
                widened c = {columns + i, pixels};
                if (depth % 4 == 0) {
                    widen_window(p, job, x + i, group * depth, c);
                } else {
                    gather_column(p, job, x + i, group * depth, bytes);
                    widen(&c, bytes, words);
                }
            }
            finish(&g, columns, pixels, out);
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
            widened c = {columns + i, pixels};
            widen(&c, whole_words(p, pixel, bytes), g.words);
        }
        finish(&g, columns, pixels, out);
    }
}

#endif
