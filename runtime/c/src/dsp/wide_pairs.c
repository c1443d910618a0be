/* Convolution of three taps in a row, two pixels at a time: three pairs by two output channels (Armv7E-M).
 *
 * What is multiplied is made from the bytes of four columns, once for all channels; see rnnc_wide.h.
 */
#include "rnnc_group.h"
#include "rnnc_tile_pairs.h"
#include "rnnc_wide.h"

#if RNNC_USE_DSP

typedef struct {
    const rnnc_conv_wide *w;
    const rnnc_job *job;
    uint32_t *windows;
    int32_t length; /* words of one window */
    const int8_t *padding;
} pairs_work;

#define PAIRS_OF_A_WORD(take, at) \
    "sxtb16 %[e1], %[c1]" take    \
    "\n"                          \
    "sxtb16 %[e2], %[c2]" take    \
    "\n"                          \
    "sadd16 %[t], %[e1], %[e2]\n" \
    "str %[t], [%[to], #" at      \
    "+4]\n"                       \
    "ssub16 %[t], %[e2], %[e1]\n" \
    "str %[t], [%[to], #" at      \
    "+8]\n"                       \
    "sxtb16 %[t], %[c3]" take     \
    "\n"                          \
    "ssub16 %[t], %[e1], %[t]\n"  \
    "str %[t], [%[to], #" at      \
    "+12]\n"                      \
    "sxtb16 %[t], %[c0]" take     \
    "\n"                          \
    "ssub16 %[t], %[t], %[e2]\n"

/* The inputs of the products for `channels` of four columns. */
static inline uint32_t *place_columns(uint32_t *to, const int8_t *const *columns, int32_t channels) {
    const int8_t *p0 = columns[0], *p1 = columns[1], *p2 = columns[2], *p3 = columns[3];
    const int8_t *end = p3 + channels;
    uint32_t c0, c1, c2, c3, e1, e2, t;
    __asm__ volatile(
        "1:\n"
        "ldr %[c0], [%[p0]], #4\n"
        "ldr %[c1], [%[p1]], #4\n"
        "ldr %[c2], [%[p2]], #4\n"
        "ldr %[c3], [%[p3]], #4\n"
        PAIRS_OF_A_WORD("", "0")
        "str %[t], [%[to]]\n"
        PAIRS_OF_A_WORD(", ror #8", "16")
        "str %[t], [%[to], #16]\n"
        "add %[to], #32\n"
        "cmp %[p3], %[end]\n"
        "bne 1b\n"
        : [to] "+r"(to), [p0] "+r"(p0), [p1] "+r"(p1), [p2] "+r"(p2), [p3] "+r"(p3), [c0] "=&r"(c0), [c1] "=&r"(c1),
          [c2] "=&r"(c2), [c3] "=&r"(c3), [e1] "=&r"(e1), [e2] "=&r"(e2), [t] "=&r"(t)
        : [end] "r"(end)
        : "cc", "memory");
    return to;
}

/* The windows of `pairs` pairs of pixels from x on. */
static RNNC_NOINLINE void place_pairs(const pairs_work *w, int32_t x, int32_t pairs) {
    const rnnc_conv2d *p = &w->w->conv;
    uint32_t *to = w->windows;
    int32_t left = x - p->pad_left;
    for (; pairs > 0; --pairs, left += 2) {
        for (int32_t ky = 0; ky < p->kernel_h; ++ky) {
            const int8_t *row = w->job->rows[ky];
            const int8_t *columns[4];
            for (int32_t i = 0; i < 4; ++i) {
                int32_t column = left + i;
                int inside = row != NULL && column >= 0 && column < p->in_width;
                columns[i] = inside ? row + column * p->in_channels : w->padding;
            }
            to = place_columns(to, columns, p->in_channels);
        }
    }
}

/* Twice the sums of one channel, or two, requantised; `sums` are those of the pairs. */
static inline void store_channel(const rnnc_conv2d *p, int32_t channel, const int32_t *sums, int32_t pairs,
                                 int32_t stride, int8_t *out) {
    for (int32_t i = 0; i < pairs; ++i, out += stride) {
        *out = rnnc_requantise(rnnc_asr(sums[i], 1), channel, &p->requant);
    }
}

static RNNC_UNUSUAL void store_sums(const rnnc_conv2d *p, const rnnc_tile_pairs *t, int32_t channel,
                                    int32_t pairs) {
    for (int32_t i = 0; i < 2 && channel + i < p->out_channels; ++i) {
        store_channel(p, channel + i, t->sums + 6 + 3 * i, pairs, t->stride, t->out + i);
        store_channel(p, channel + i, t->sums + 3 * i, pairs, t->stride, t->second + i);
    }
}

/* All channels of pairs whose windows are placed, `most` being the literal 3 or 2, of which one may be all
 * there is. */
static inline __attribute__((always_inline)) void some_pairs(const pairs_work *w, int32_t x, int32_t most,
                                                             int32_t pairs) {
    const rnnc_conv2d *p = &w->w->conv;
    const int16_t *weights = w->w->weights;
    int32_t channels = p->out_channels, even = channels & ~1;
    int8_t *out = (int8_t *)w->job->out + x * channels;
    int32_t code = most == 3 ? RNNC_STEP_WIDE_3X2_CODE : RNNC_STEP_WIDE_2X2_CODE;
    rnnc_tile_pairs t = {
        .bias = p->bias,
        .multiplier = even == 0 ? NULL : rnnc_plain_multipliers(&p->requant),
        .windows = w->windows,
        .end = w->windows + w->length,
        .step = pairs == 1 ? 0 : 4 * w->length,
        .out = out,
        .second = out + channels,
        .last = out + even,
        .stride = pairs == 1 ? 0 : 2 * channels,
        .zero_point = p->requant.zero_point,
        .code_skipped = rnnc_steps_skipped(w->length / 8, RNNC_PAIRS_BLOCK) * code,
    };
    int32_t alone[2] = {p->bias[channels - 1], 0};
    for (int32_t channel = 0; channel < channels;) {
        if (channel + 1 == channels) {
            t.bias = alone;
            t.multiplier = NULL;
        }
        weights = most == 3 ? rnnc_tile_pairs_3(&t, weights) : rnnc_tile_pairs_2(&t, weights);
        if (t.multiplier != NULL) {
            channel = even;
            continue;
        }
        store_sums(p, &t, channel, pairs);
        channel += 2;
        t.out += 2;
        t.second += 2;
    }
}

static RNNC_NOINLINE void three_pairs(const pairs_work *w, int32_t x) {
    some_pairs(w, x, 3, 3);
}

static RNNC_NOINLINE void two_pairs(const pairs_work *w, int32_t x, int32_t pairs) {
    some_pairs(w, x, 2, pairs);
}

/* Where the pairs do not fit, the last ones make some pixels again. */
void rnnc_conv_pairs_s8(const void *params, const rnnc_job *job) {
    const rnnc_conv_wide *wide = params;
    const rnnc_conv2d *p = &wide->conv;
    int8_t *padding = job->scratch;
    uint32_t *windows = (uint32_t *)(void *)(padding + p->in_channels);
    pairs_work w = {wide, job, windows, 2 * p->kernel_h * p->in_channels, padding};
    (void)rnnc_fill_bytes(padding, p->in_zero_point, p->in_channels);
    int32_t pairs;
    for (int32_t x = 0; x < p->out_width; x += 2 * pairs) {
        pairs = rnnc_pixels_at_once((p->out_width - x + 1) / 2);
        pairs = 2 * pairs > p->out_width ? p->out_width / 2 : pairs;
        x = x + 2 * pairs > p->out_width ? p->out_width - 2 * pairs : x;
        place_pairs(&w, x, pairs);
        if (pairs == 3) {
            three_pairs(&w, x);
        } else {
            two_pairs(&w, x, pairs);
        }
    }
}

#endif
