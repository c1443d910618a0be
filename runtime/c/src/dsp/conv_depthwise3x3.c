/* Depthwise 3x3 convolution, four channels of one output pixel at a time (Armv7E-M).
 *
 * A pixel's nine taps are nine addresses, those of padding in a row of zero points in scratch; the
 * loop over its channels is the same at borders and inside.
 */
#include "rnnc_conv.h"

#if RNNC_USE_DSP

#define LANES 4
#define TAPS 9

/* What the loop over channels leaves no registers for. Weights, bias and multipliers are those of
 * channel 0. */
typedef struct {
    const int8_t *taps[TAPS];
    const int32_t *bias, *multipliers;
    int8_t *out;
    int32_t last, zero_point;
    int32_t plain; /* requantisation is SMMLAR and SSAT: all fours of channels up to `last` at once */
} pixel;

/* One tap of four channels. */
#define LANES_TAP(x, w)                 \
    "sxtb16 %[e], %[" x                 \
    "]\n"                               \
    "sxtb16 %[" x "], %[" x             \
    "], ror #8\n"                       \
    "sxtb16 %[v], %[" w                 \
    "]\n"                               \
    "sxtb16 %[" w "], %[" w             \
    "], ror #8\n"                       \
    "smlabb %[c0], %[e], %[v], %[c0]\n" \
    "smlatt %[c2], %[e], %[v], %[c2]\n" \
    "smlabb %[c1], %[" x "], %[" w      \
    "], %[c1]\n"                        \
    "smlatt %[c3], %[" x "], %[" w "], %[c3]\n"

/* A row of taps; loads stand together, so that they pipeline. */
#define LANES_ROW(t0, t1, t2)                           \
    "ldr %[x0], %[" t0                                  \
    "]\n"                                               \
    "ldr %[x1], %[" t1                                  \
    "]\n"                                               \
    "ldr %[x2], %[" t2                                  \
    "]\n"                                               \
    "ldr %[x0], [%[x0], %[channel]]\n"                  \
    "ldr %[x1], [%[x1], %[channel]]\n"                  \
    "ldr %[x2], [%[x2], %[channel]]\n"                  \
    "ldr %[a], [%[weights]], #4\n"                      \
    "ldr %[w], [%[weights]], #4\n" LANES_TAP("x0", "a") \
        LANES_TAP("x1", "w") "ldr %[w], [%[weights]], #4\n" LANES_TAP("x2", "w")

/* The sums of the four channels from `channel` on, or, with `plain`, all channels up to `last`. `p`
 * must be a local variable of the caller, which the stack pointer reaches. */
static inline __attribute__((always_inline)) rnnc_quad four_channels(pixel *p, const int8_t *weights,
                                                                     int32_t channel) {
    uint32_t x0, x1, x2, e, v, w, a;
    rnnc_quad acc;
    __asm__ volatile(
        "0:\n"
        "ldr %[a], %[bias]\n"
        "add %[a], %[a], %[channel], lsl #2\n"
        "ldr %[c0], [%[a]]\n"
        "ldr %[c1], [%[a], #4]\n"
        "ldr %[c2], [%[a], #8]\n"
        "ldr %[c3], [%[a], #12]\n"
        LANES_ROW("t0", "t1", "t2")
        LANES_ROW("t3", "t4", "t5")
        LANES_ROW("t6", "t7", "t8")
        "ldr %[x0], %[plain]\n"
        "ldr %[a], %[multipliers]\n"
        "ldr %[x1], %[out]\n"
        "ldr %[x2], %[last]\n"
        "cmp %[x0], #0\n"
        "beq 1f\n"
        "add %[a], %[a], %[channel], lsl #2\n"
        "add %[x1], %[channel]\n"
        "ldr %[x0], %[zero_point]\n"
        "ldr %[e], [%[a]]\n"
        "ldr %[v], [%[a], #4]\n"
        "ldr %[w], [%[a], #8]\n"
        "ldr %[a], [%[a], #12]\n"
        "smmlar %[c0], %[c0], %[e], %[x0]\n"
        "smmlar %[c1], %[c1], %[v], %[x0]\n"
        "smmlar %[c2], %[c2], %[w], %[x0]\n"
        "smmlar %[c3], %[c3], %[a], %[x0]\n"
        "ssat %[c0], #8, %[c0]\n"
        "ssat %[c1], #8, %[c1]\n"
        "ssat %[c2], #8, %[c2]\n"
        "ssat %[c3], #8, %[c3]\n"
        "strb %[c0], [%[x1]]\n"
        "strb %[c1], [%[x1], #1]\n"
        "strb %[c2], [%[x1], #2]\n"
        "strb %[c3], [%[x1], #3]\n"
        "adds %[channel], #4\n"
        "cmp %[channel], %[x2]\n"
        "bne 0b\n"
        "1:\n"
        : [weights] "+r"(weights), [channel] "+r"(channel), [c0] "=&r"(acc.a), [c1] "=&r"(acc.b),
          [c2] "=&r"(acc.c), [c3] "=&r"(acc.d), [x0] "=&r"(x0), [x1] "=&r"(x1), [x2] "=&r"(x2), [e] "=&r"(e),
          [v] "=&r"(v), [w] "=&r"(w), [a] "=&r"(a)
        : [t0] "m"(p->taps[0]), [t1] "m"(p->taps[1]), [t2] "m"(p->taps[2]), [t3] "m"(p->taps[3]),
          [t4] "m"(p->taps[4]), [t5] "m"(p->taps[5]), [t6] "m"(p->taps[6]), [t7] "m"(p->taps[7]),
          [t8] "m"(p->taps[8]), [bias] "m"(p->bias), [multipliers] "m"(p->multipliers), [out] "m"(p->out),
          [last] "m"(p->last), [zero_point] "m"(p->zero_point), [plain] "m"(p->plain)
        : "cc", "memory");
    return acc;
}

/* The taps of the window that begins at input column `left`. */
static void place_taps(const rnnc_conv2d *p, const rnnc_job *job, int32_t left, const int8_t **taps) {
    const int8_t *padding = job->scratch;
    int32_t step = p->dilation_w * p->in_channels;
    int32_t offset = left * p->in_channels;
    int inside0 = left >= 0 && left < p->in_width;
    int inside1 = left + p->dilation_w >= 0 && left + p->dilation_w < p->in_width;
    int inside2 = left + 2 * p->dilation_w >= 0 && left + 2 * p->dilation_w < p->in_width;
    for (int32_t ky = 0; ky < 3; ++ky, taps += 3) {
        const int8_t *row = job->rows[ky];
        taps[0] = row != NULL && inside0 ? row + offset : padding;
        taps[1] = row != NULL && inside1 ? row + offset + step : padding;
        taps[2] = row != NULL && inside2 ? row + offset + 2 * step : padding;
    }
}

/* A channel that is left over when there are not four: reading a word would pass the end of the row. */
static int8_t single_channel(const rnnc_conv2d *p, const int8_t *const *taps, int32_t channel) {
    const int8_t *weights = p->weights + channel / LANES * LANES * TAPS + channel % LANES;
    int32_t acc = p->bias[channel];
    for (int32_t tap = 0; tap < TAPS; ++tap, weights += LANES) {
        acc += taps[tap][channel] * *weights;
    }
    return rnnc_requantise(acc, channel, &p->requant);
}

/* All channels of a pixel whose taps are placed. */
static inline void whole_pixel(const rnnc_conv2d *p, pixel *t) {
    int32_t channel = 0;
    if (t->plain && t->last != 0) {
        (void)four_channels(t, p->weights, 0);
        channel = t->last;
    }
    for (; channel < t->last; channel += LANES) {
        rnnc_quad acc = four_channels(t, p->weights + channel * TAPS, channel);
        acc = rnnc_requantise_quad(acc, channel, &p->requant);
        t->out[channel] = (int8_t)acc.a;
        t->out[channel + 1] = (int8_t)acc.b;
        t->out[channel + 2] = (int8_t)acc.c;
        t->out[channel + 3] = (int8_t)acc.d;
    }
    for (; channel < p->in_channels; ++channel) {
        t->out[channel] = single_channel(p, t->taps, channel);
    }
}

void rnnc_depthwise3x3_s8(const void *params, const rnnc_job *job) {
    const rnnc_conv2d *p = params;
    const rnnc_requant *q = &p->requant;
    pixel t = {
        .bias = p->bias,
        .multipliers = q->multipliers,
        .out = job->out,
        .last = p->in_channels & ~(LANES - 1),
        .zero_point = q->zero_point,
        .plain = !RNNC_TFLITE && q->left_shift == 0 && q->low == INT8_MIN && q->high == INT8_MAX,
    };
    int32_t left = -p->pad_left;
    rnnc_fill_bytes(job->scratch, p->in_zero_point, p->in_channels);
    for (int32_t x = 0; x < p->out_width; ++x, left += p->stride_w, t.out += p->in_channels) {
        place_taps(p, job, left, t.taps);
        whole_pixel(p, &t);
    }
}

#endif
