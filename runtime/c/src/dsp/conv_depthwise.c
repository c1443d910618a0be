/* Depthwise convolution, four channels at a time (Armv7E-M). */
#include "rnnc_conv.h"

#if RNNC_USE_DSP

#define LANES 4

/* acc += activations * weights, lane by lane */
static inline rnnc_quad mac_lanes(rnnc_quad acc, uint32_t activations, uint32_t weights) {
    uint32_t even = rnnc_even_bytes(activations), weights_even = rnnc_even_bytes(weights);
    uint32_t odd = rnnc_odd_bytes(activations), weights_odd = rnnc_odd_bytes(weights);
    acc.a = rnnc_mac_low(acc.a, even, weights_even);
    acc.c = rnnc_mac_high(acc.c, even, weights_even);
    acc.b = rnnc_mac_low(acc.b, odd, weights_odd);
    acc.d = rnnc_mac_high(acc.d, odd, weights_odd);
    return acc;
}

#define LANES_STEP                      \
    "ldr %[w], [%[weights]], #4\n"      \
    "sxtb16 %[e], %[a]\n"               \
    "sxtb16 %[a], %[a], ror #8\n"       \
    "sxtb16 %[v], %[w]\n"               \
    "sxtb16 %[w], %[w], ror #8\n"       \
    "smlabb %[c0], %[e], %[v], %[c0]\n" \
    "smlatt %[c2], %[e], %[v], %[c2]\n" \
    "smlabb %[c1], %[a], %[w], %[c1]\n" \
    "smlatt %[c3], %[a], %[w], %[c3]\n"

/* Three taps `step` bytes apart; moves `weights` on. By hand for the same reasons as rnnc_tile_2x2.
 */
static inline rnnc_quad three_taps(const int8_t *tap, int32_t step, const int8_t **weights, rnnc_quad acc) {
    uint32_t a, e, v, w;
    __asm__ volatile("ldr %[a], [%[tap]]\n" LANES_STEP "ldr %[a], [%[tap], %[step]]\n" LANES_STEP
                     "ldr %[a], [%[tap], %[step], lsl #1]\n" LANES_STEP
                     : [weights] "+r"(*weights), [c0] "+r"(acc.a), [c1] "+r"(acc.b), [c2] "+r"(acc.c),
                       [c3] "+r"(acc.d), [a] "=&r"(a), [e] "=&r"(e), [v] "=&r"(v), [w] "=&r"(w)
                     : [tap] "r"(tap), [step] "r"(step)
                     : "memory");
    return acc;
}

static inline rnnc_quad start(const rnnc_conv2d *p, int32_t channel) {
    const int32_t *bias = p->bias + channel;
    return (rnnc_quad){bias[0], bias[1], bias[2], bias[3]};
}

static inline void finish(const rnnc_conv2d *p, rnnc_quad acc, int32_t channel, int8_t *out) {
    acc = rnnc_requantise_quad(acc, channel, &p->requant);
    out[0] = (int8_t)acc.a;
    out[1] = (int8_t)acc.b;
    out[2] = (int8_t)acc.c;
    out[3] = (int8_t)acc.d;
}

static inline uint32_t padding_word(const rnnc_conv2d *p) {
    return (uint32_t)(uint8_t)p->in_zero_point * 0x01010101u;
}

/* `count` output pixels whose windows lie within the width of the image; the first one starts at
 * row + offset. A row of padding is one word that every tap reads. kernel_w is p->kernel_w, or a
 * constant where that pays. */
__attribute__((always_inline)) static inline void inner_windows(const rnnc_conv2d *p, const rnnc_job *job,
                                                                int32_t kernel_w, int32_t count,
                                                                int32_t offset, int32_t channel,
                                                                int8_t *out) {
    const void *const *rows = job->rows;
    const void *const *end = rows + p->kernel_h;
    const int8_t *first_weight = p->weights + channel * p->kernel_h * kernel_w;
    int32_t step = p->dilation_w * p->in_channels;
    uint32_t padding = padding_word(p);
    for (; count > 0; --count, offset += p->stride_w * p->in_channels, out += p->in_channels) {
        const int8_t *weights = first_weight;
        const void *const *row = rows;
        rnnc_quad acc = start(p, channel);
        do {
            int inside = *row != NULL;
            const int8_t *tap = inside ? (const int8_t *)*row + offset : (const int8_t *)&padding;
            int32_t across = inside ? step : 0;
            int32_t left = kernel_w;
            ++row;
            for (; left >= 3; left -= 3, tap += 3 * across) {
                acc = three_taps(tap, across, &weights, acc);
            }
            for (; left > 0; --left, tap += across, weights += LANES) {
                acc = mac_lanes(acc, rnnc_load_word(tap), rnnc_load_word(weights));
            }
        } while (row < end);
        finish(p, acc, channel, out);
    }
}

/* Any window; taps outside of the image count as the zero point. */
static void border_window(const rnnc_conv2d *p, const rnnc_job *job, int32_t left, int32_t channel,
                          int8_t *out) {
    const int8_t *weights = p->weights + channel * p->kernel_h * p->kernel_w;
    uint32_t padding = padding_word(p);
    rnnc_quad acc = start(p, channel);
    for (int32_t ky = 0; ky < p->kernel_h; ++ky) {
        const int8_t *row = job->rows[ky];
        for (int32_t kx = 0; kx < p->kernel_w; ++kx, weights += LANES) {
            int32_t column = left + kx * p->dilation_w;
            int inside = row != NULL && column >= 0 && column < p->in_width;
            uint32_t word = inside ? rnnc_load_word(row + column * p->in_channels + channel) : padding;
            acc = mac_lanes(acc, word, rnnc_load_word(weights));
        }
    }
    finish(p, acc, channel, out);
}

/* The channels that are left over when there are not four: reading a word would pass the end of the
 * row. */
static int32_t single_channel(const rnnc_conv2d *p, const void *const *rows, int32_t left, int32_t channel,
                              const int8_t *weights) {
    int32_t acc = p->bias[channel];
    for (int32_t ky = 0; ky < p->kernel_h; ++ky) {
        const int8_t *row = rows[ky];
        for (int32_t kx = 0; kx < p->kernel_w; ++kx, weights += LANES) {
            int32_t column = left + kx * p->dilation_w;
            int inside = row != NULL && column >= 0 && column < p->in_width;
            acc += (inside ? row[column * p->in_channels + channel] : p->in_zero_point) * *weights;
        }
    }
    return acc;
}

/* Output pixels [first, last) have windows within the width of the image. */
typedef struct {
    int32_t first, last;
} span;

static span inner_span(const rnnc_conv2d *p) {
    int32_t room = p->in_width - 1 - (p->kernel_w - 1) * p->dilation_w + p->pad_left;
    int32_t first = (p->pad_left + p->stride_w - 1) / p->stride_w;
    int32_t last = room < 0 ? 0 : room / p->stride_w + 1;
    last = last < p->out_width ? last : p->out_width;
    return first < last ? (span){first, last} : (span){p->out_width, p->out_width};
}

/* Four channels of the whole output row. */
static void four_channels(const rnnc_conv2d *p, const rnnc_job *job, span inner, int32_t channel) {
    int8_t *out = (int8_t *)job->out + channel;
    int32_t x = 0;
    while (x < p->out_width) {
        int32_t left = x * p->stride_w - p->pad_left;
        int32_t count = x == inner.first ? inner.last - inner.first : 1;
        int32_t offset = left * p->in_channels + channel;
        if (x == inner.first && p->kernel_w == 3) {
            inner_windows(p, job, 3, count, offset, channel, out);
        } else if (x == inner.first) {
            inner_windows(p, job, p->kernel_w, count, offset, channel, out);
        } else {
            border_window(p, job, left, channel, out);
        }
        x += count;
        out += count * p->in_channels;
    }
}

void rnnc_depthwise_s8(const void *params, const rnnc_job *job) {
    const rnnc_conv2d *p = params;
    span inner = inner_span(p);
    int32_t taps = p->kernel_h * p->kernel_w;
    int32_t channel = 0;
    for (; channel + LANES <= p->in_channels; channel += LANES) {
        four_channels(p, job, inner, channel);
    }
    for (int32_t lane = 0; channel + lane < p->in_channels; ++lane) {
        int8_t *out = (int8_t *)job->out + channel + lane;
        int32_t left = -p->pad_left;
        for (int32_t x = 0; x < p->out_width; ++x, left += p->stride_w, out += p->in_channels) {
            int32_t acc =
                single_channel(p, job->rows, left, channel + lane, p->weights + channel * taps + lane);
            *out = rnnc_requantise(acc, channel + lane, &p->requant);
        }
    }
}

#endif
