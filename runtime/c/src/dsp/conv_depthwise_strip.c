/* Depthwise 3x3 convolution, one channel at a time over a strip of the row (Armv7E-M).
 *
 * Four channels of a strip of input columns are first brought into a plane each, as pairs of int16:
 * SMLAD then takes two taps at once, and a channel's weights stay in registers for the strip. Padding
 * becomes ordinary values on the way. A plane has three words per two columns: rows 0 and 1 of the
 * first column, of the second, and row 2 of both. Those of four channels stand together, so that
 * strips may have any length.
 */
#include "rnnc_conv.h"

#if RNNC_USE_DSP

#define LANES 4
#define TAPS 9
#define PAIR 12 /* words from one pair of columns to the next; DEPTHWISE_PAIR in rnnc/ir/ops/conv.py */

/* Where the planes of a strip come from: its rows at the strip's first channel and at column 0. */
typedef struct {
    const int8_t *rows[3]; /* a row of padding is one word that every column reads */
    int32_t steps[3];      /* bytes between columns */
    int32_t width;
    int32_t lanes; /* up to 4: reading a word past the last channel would pass the end of the row */
    const int8_t *padding;
} source;

/* Lanes of two words side by side, one word to each plane. */
#define STORE_PAIRS(first, second, at)    \
    "sxtb16 %[t], %[" first               \
    "]\n"                                 \
    "sxtb16 %[u], %[" second              \
    "]\n"                                 \
    "sxtb16 %[" first "], %[" first       \
    "], ror #8\n"                         \
    "sxtb16 %[" second "], %[" second     \
    "], ror #8\n"                         \
    "pkhbt %[v], %[t], %[u], lsl #16\n"   \
    "str %[v], [%[to], #" at              \
    "]\n"                                 \
    "pkhtb %[u], %[u], %[t], asr #16\n"   \
    "str %[u], [%[to], #" at              \
    "+24]\n"                              \
    "pkhbt %[v], %[" first "], %[" second \
    "], lsl #16\n"                        \
    "str %[v], [%[to], #" at              \
    "+12]\n"                              \
    "pkhtb %[u], %[" second "], %[" first \
    "], asr #16\n"                        \
    "str %[u], [%[to], #" at "+36]\n"

/* `count` pairs of columns from three rows. The loads stand together, so that they pipeline. */
static void store_columns(const int8_t *const rows[3], const int32_t steps[3], int32_t count, uint32_t *to) {
    const int8_t *r0 = rows[0], *r1 = rows[1], *r2 = rows[2];
    const uint32_t *end = to + PAIR * count;
    uint32_t a, b, c, d, t, u, v;
    __asm__ volatile(
        "1:\n"
        "ldr %[a], [%[r0]]\n"
        "ldr %[b], [%[r1]]\n"
        "ldr %[c], [%[r0], %[s0]]\n"
        "ldr %[d], [%[r1], %[s1]]\n"
        STORE_PAIRS("a", "b", "0")
        STORE_PAIRS("c", "d", "4")
        "ldr %[a], [%[r2]]\n"
        "ldr %[b], [%[r2], %[s2]]\n"
        "ldr %[c], %[end]\n"
        "add %[r0], %[r0], %[s0], lsl #1\n"
        "add %[r1], %[r1], %[s1], lsl #1\n"
        "add %[r2], %[r2], %[s2], lsl #1\n"
        STORE_PAIRS("a", "b", "8")
        "adds %[to], #48\n"
        "cmp %[to], %[c]\n"
        "bne 1b\n"
        : [r0] "+r"(r0), [r1] "+r"(r1), [r2] "+r"(r2), [to] "+r"(to), [a] "=&r"(a), [b] "=&r"(b),
          [c] "=&r"(c), [d] "=&r"(d), [t] "=&r"(t), [u] "=&r"(u), [v] "=&r"(v)
        : [s0] "r"(steps[0]), [s1] "r"(steps[1]), [s2] "r"(steps[2]), [end] "m"(end)
        : "cc", "memory");
}

/* A pair of columns, either of which may be outside the image. */
static void edge_columns(const source *s, int32_t column, uint32_t *to) {
    int8_t room[6 * LANES] = {0};
    const int8_t *rows[3];
    int32_t steps[3];
    int first_inside = column >= 0 && column < s->width;
    int second_inside = column >= -1 && column + 1 < s->width;
    for (int32_t row = 0; row < 3; ++row) {
        const int8_t *first = s->rows[row] + column * s->steps[row];
        const int8_t *second = first + s->steps[row];
        if (s->lanes < LANES && s->steps[row] != 0) {
            rnnc_copy_bytes(room + 8 * row, first, first_inside ? s->lanes : 0);
            rnnc_copy_bytes(room + 8 * row + LANES, second, second_inside ? s->lanes : 0);
            first = room + 8 * row;
            second = first + LANES;
        }
        first = first_inside ? first : s->padding;
        second = second_inside ? second : s->padding;
        rows[row] = first;
        steps[row] = (int32_t)((uintptr_t)second - (uintptr_t)first);
    }
    store_columns(rows, steps, 1, to);
}

/* The planes of `count` pairs of columns from `column` on. */
static void fill_planes(const source *s, int32_t column, int32_t count, uint32_t *to) {
    while (count > 0) {
        int32_t inside = column < 0 || s->lanes < LANES ? 0 : (s->width - column) / 2;
        inside = inside < count ? inside : count;
        if (inside > 0) {
            const int8_t *rows[3];
            for (int32_t row = 0; row < 3; ++row) {
                rows[row] = s->rows[row] + column * s->steps[row];
            }
            store_columns(rows, s->steps, inside, to);
        } else {
            edge_columns(s, column, to);
            inside = 1;
        }
        count -= inside;
        column += 2 * inside;
        to += PAIR * inside;
    }
}

/* One channel of a strip; what the loops over it leave no registers for. */
typedef struct {
    const uint32_t *end;
    int32_t bias, multiplier, zero_point;
    int8_t *out;
    int32_t stride;
} channel_run;

/* Pairs of weights: rows 0 and 1 of each column; of row 2 columns 0 and 1, 2 and 0, 1 and 2. */
typedef struct {
    uint32_t w0, w1, w2, w3, w4, w5;
} channel_weights;

static inline uint32_t pair(const int8_t *weights, int32_t first, int32_t second) {
    return rnnc_low_halves((uint32_t)weights[LANES * first], (uint32_t)weights[LANES * second]);
}

static inline channel_weights unpack(const int8_t *taps) {
    return (channel_weights){pair(taps, 0, 3), pair(taps, 1, 4), pair(taps, 2, 5),
                             pair(taps, 6, 7), pair(taps, 8, 6), pair(taps, 7, 8)};
}

/* Two neighbouring pixels: columns of rows 0 and 1 in p0 .. p3, of row 2 in q0 and q1. Leaves p2, p3
 * and q1, which begin the next two. */
#define PIXEL_PAIR(p0, p1, p2, p3, q0, q1)          \
    "ldr %[acc], %[bias]\n"                         \
    "ldr %[" p3                                     \
    "], [%[from], #52]\n"                           \
    "ldr %[" q1                                     \
    "], [%[from], #56]\n"                           \
    "ldr %[" p2                                     \
    "], [%[from], #48]!\n"                          \
    "smlad %[" p0 "], %[" p0                        \
    "], %[w0], %[acc]\n"                            \
    "smlad %[acc], %[" p1                           \
    "], %[w0], %[acc]\n"                            \
    "smlad %[" p0 "], %[" p1 "], %[w1], %[" p0      \
    "]\n"                                           \
    "smlad %[acc], %[" p2                           \
    "], %[w1], %[acc]\n"                            \
    "smlad %[" p0 "], %[" p2 "], %[w2], %[" p0      \
    "]\n"                                           \
    "smlad %[acc], %[" p3                           \
    "], %[w2], %[acc]\n"                            \
    "smlad %[" p0 "], %[" q0 "], %[w3], %[" p0      \
    "]\n"                                           \
    "smlatt %[acc], %[" q0                          \
    "], %[w4], %[acc]\n"                            \
    "smlabb %[" p0 "], %[" q1 "], %[w4], %[" p0     \
    "]\n"                                           \
    "smlad %[acc], %[" q1                           \
    "], %[w5], %[acc]\n"                            \
    "ldr %[" p1                                     \
    "], %[multiplier]\n"                            \
    "ldr %[" q0                                     \
    "], %[zero_point]\n"                            \
    "smmlar %[" p0 "], %[" p0 "], %[" p1 "], %[" q0 \
    "]\n"                                           \
    "smmlar %[acc], %[acc], %[" p1 "], %[" q0       \
    "]\n"                                           \
    "ldr %[" p1                                     \
    "], %[out]\n"                                   \
    "ldr %[" q0                                     \
    "], %[stride]\n"                                \
    "ssat %[" p0 "], #8, %[" p0                     \
    "]\n"                                           \
    "ssat %[acc], #8, %[acc]\n"                     \
    "strb %[" p0 "], [%[" p1                        \
    "]]\n"                                          \
    "ldr %[" p0                                     \
    "], %[end]\n"                                   \
    "strb %[acc], [%[" p1 "], %[" q0                \
    "]]\n"                                          \
    "add %[" p1 "], %[" p1 "], %[" q0               \
    "], lsl #1\n"                                   \
    "str %[" p1                                     \
    "], %[out]\n"                                   \
    "cmp %[from], %[" p0 "]\n"

/* Pairs of pixels at stride 1 up to the plane's word `end`. */
static inline __attribute__((always_inline)) void pixel_pairs(const uint32_t *from, channel_weights w,
                                                              channel_run *r) {
    uint32_t acc, p0 = from[0], p1 = from[1], q0 = from[2], p2, p3, q1;
    __asm__ volatile(
        "1:\n" PIXEL_PAIR("p0", "p1", "p2", "p3", "q0", "q1")
        "beq 2f\n"
        PIXEL_PAIR("p2", "p3", "p0", "p1", "q1", "q0")
        "bne 1b\n"
        "2:\n"
        : [from] "+r"(from), [acc] "=&r"(acc), [p0] "+r"(p0), [p1] "+r"(p1), [q0] "+r"(q0), [p2] "=&r"(p2),
          [p3] "=&r"(p3), [q1] "=&r"(q1), [out] "+m"(r->out)
        : [w0] "r"(w.w0), [w1] "r"(w.w1), [w2] "r"(w.w2), [w3] "r"(w.w3), [w4] "r"(w.w4), [w5] "r"(w.w5),
          [bias] "m"(r->bias), [multiplier] "m"(r->multiplier), [zero_point] "m"(r->zero_point),
          [stride] "m"(r->stride), [end] "m"(r->end)
        : "cc", "memory");
}

/* The accumulator of one pixel, whose window begins at an even column of the plane. */
static inline int32_t even_sum(const uint32_t *from, const channel_weights *w, int32_t acc) {
    acc = rnnc_dual_mac(rnnc_dual_mac(acc, from[0], w->w0), from[1], w->w1);
    acc = rnnc_dual_mac(rnnc_dual_mac(acc, from[PAIR], w->w2), from[2], w->w3);
    return rnnc_mac_low(acc, from[PAIR + 2], w->w4);
}

static inline int32_t odd_sum(const uint32_t *from, const channel_weights *w, int32_t acc) {
    acc = rnnc_dual_mac(rnnc_dual_mac(acc, from[1], w->w0), from[PAIR], w->w1);
    acc = rnnc_dual_mac(rnnc_mac_high(acc, from[2], w->w4), from[PAIR + 1], w->w2);
    return rnnc_dual_mac(acc, from[PAIR + 2], w->w5);
}

/* `count` pixels of each channel from the planes, by any requantisation. */
static void any_strip(const rnnc_conv2d *p, const uint32_t *plane, int32_t channel, int32_t lanes,
                      int32_t count, int8_t *out) {
    for (int32_t lane = 0; lane < lanes; ++lane, ++channel, plane += 3) {
        channel_weights w = unpack(p->weights + channel * TAPS - lane * (TAPS - 1));
        for (int32_t x = 0; x < count; ++x) {
            const uint32_t *from = plane + x / 2 * PAIR;
            int32_t acc =
                x % 2 == 0 ? even_sum(from, &w, p->bias[channel]) : odd_sum(from, &w, p->bias[channel]);
            out[x * p->out_channels + lane] = rnnc_requantise(acc, channel, &p->requant);
        }
    }
}

/* The same where requantisation is SMMLAR and SSAT. */
static void plain_strip(const rnnc_conv2d *p, const uint32_t *plane, int32_t channel, int32_t lanes,
                        int32_t count, int8_t *out) {
    const int8_t *weights = p->weights + channel * TAPS;
    const int32_t *bias = p->bias + channel, *multiplier = p->requant.multipliers + channel;
    channel_run r = {.zero_point = p->requant.zero_point, .stride = p->out_channels};
    int32_t done = count & ~1;
    const uint32_t *end = plane + PAIR * (count / 2);
    for (const int8_t *last = out + lanes; out != last; ++out, plane += 3, end += 3) {
        channel_weights w = unpack(weights);
        ++weights;
        r.bias = *bias++;
        r.multiplier = *multiplier++;
        r.out = out;
        r.end = end;
        if (done > 0) {
            pixel_pairs(plane, w, &r);
        }
        if (done < count) {
            int32_t acc = even_sum(end, &w, r.bias);
            acc = rnnc_high_multiply_add(r.zero_point, acc, r.multiplier);
            out[done * r.stride] = (int8_t)rnnc_saturate(acc);
        }
    }
}

static source source_of(const rnnc_conv2d *p, const rnnc_job *job, int32_t channel, const int8_t *padding) {
    int32_t lanes = p->in_channels - channel;
    source s = {.width = p->in_width, .lanes = lanes < LANES ? lanes : LANES, .padding = padding};
    for (int32_t ky = 0; ky < 3; ++ky) {
        const int8_t *row = job->rows[ky];
        s.rows[ky] = row == NULL ? padding : row + channel;
        s.steps[ky] = row == NULL ? 0 : p->in_channels;
    }
    return s;
}

void rnnc_depthwise_strip_s8(const void *params, const rnnc_job *job) {
    const rnnc_conv2d *p = params;
    const rnnc_requant *q = &p->requant;
    uint32_t *planes = job->scratch;
    const uint32_t padding = (uint32_t)(uint8_t)p->in_zero_point * 0x01010101u;
    int plain = !RNNC_TFLITE && q->left_shift == 0 && q->low == INT8_MIN && q->high == INT8_MAX;
    int32_t most = p->pixels;
    for (int32_t channel = 0; channel < p->in_channels; channel += LANES) {
        source s = source_of(p, job, channel, (const int8_t *)&padding);
        for (int32_t x = 0; x < p->out_width; x += most) {
            int32_t count = p->out_width - x < most ? p->out_width - x : most;
            int8_t *out = (int8_t *)job->out + x * p->out_channels + channel;
            fill_planes(&s, x - p->pad_left, (count + 3) / 2, planes);
            if (plain) {
                plain_strip(p, planes, channel, s.lanes, count, out);
            } else {
                any_strip(p, planes, channel, s.lanes, count, out);
            }
        }
    }
}

#endif
