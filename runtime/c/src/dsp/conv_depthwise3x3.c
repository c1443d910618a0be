/* Depthwise 3x3 convolution at stride 1 or 2: three or two output pixels by two channels at a time
 * (Armv7E-M).
 *
 * Every input column that the pixels read is an address, that of padding in a row of zero points in
 * scratch; the loop over channels is the same at borders and inside. Of four channels the even ones are
 * taken first, then the odd ones.
 */
#include "rnnc_conv.h"
#include "rnnc_tile.h"

#if RNNC_USE_DSP

#define LANES 4
#define TAPS 9
#define MOST_COLUMNS 7 /* of three pixels at stride 2 */

/* Pixels side by side. It must be a local variable where channels are run: there is no register
 * left to reach it by anything but the stack pointer. */
typedef struct {
    const int8_t *columns[3][MOST_COLUMNS]; /* by kernel row, at channel 0 */
    const int32_t *bias;
    const int32_t *multipliers; /* NULL where requantisation is more than SMMLAR and SSAT */
    int8_t *out;
    int32_t pitch; /* bytes from one pixel to the next in the output; 0 leaves only the last one there */
    int32_t zero_point;
} few_pixels;

/* Both lanes of a column by those of a weight, to pixel `i`. */
#define MAC(i, x, w)                              \
    "smlabb %[a" i "], %[" x "], %[" w "], %[a" i \
    "]\n"                                         \
    "smlatt %[b" i "], %[" x "], %[" w "], %[b" i "]\n"

#define LANE(x, lane) "sxtb16 %[" x "], %[" x "]" lane "\n"

/* Weights of a kernel row, and the columns of its first pixel; loads stand together, so that they
 * pipeline. */
#define ROW_START(lane)                                                                                 \
    "ldr %[x], %[c0]\n"                                                                                 \
    "ldr %[y], %[c1]\n"                                                                                 \
    "ldr %[z], %[c2]\n"                                                                                 \
    "ldr %[w0], [%[weights], %[row]]\n"                                                                 \
    "ldr %[w1], [%[weights], %[row] + 4]\n"                                                             \
    "ldr %[w2], [%[weights], %[row] + 8]\n"                                                             \
    "ldr %[x], [%[x], %[channel]]\n"                                                                    \
    "ldr %[y], [%[y], %[channel]]\n"                                                                    \
    "ldr %[z], [%[z], %[channel]]\n" LANE("w0", lane) LANE("w1", lane) LANE("w2", lane) LANE("x", lane) \
        LANE("y", lane) LANE("z", lane) MAC("0", "x", "w0") MAC("0", "y", "w1") MAC("0", "z", "w2")

/* The rest of a kernel row, by pixels and stride. */
#define ROW_3_1(lane) \
    ROW_START(lane)   \
    MAC("1", "y", "w0") MAC("1", "z", "w1") MAC("2", "z", "w0") \
    "ldr %[x], %[c3]\n"                                         \
    "ldr %[y], %[c4]\n"                                         \
    "ldr %[x], [%[x], %[channel]]\n"                            \
    "ldr %[y], [%[y], %[channel]]\n"                            \
    LANE("x", lane) LANE("y", lane)                             \
    MAC("1", "x", "w2") MAC("2", "x", "w1") MAC("2", "y", "w2")

#define ROW_2_1(lane) \
    ROW_START(lane)   \
    MAC("1", "y", "w0") MAC("1", "z", "w1") \
    "ldr %[x], %[c3]\n"                     \
    "ldr %[x], [%[x], %[channel]]\n"        \
    LANE("x", lane)                         \
    MAC("1", "x", "w2")

#define ROW_3_2(lane)   \
    ROW_START(lane)     \
    MAC("1", "z", "w0") \
    "ldr %[x], %[c3]\n"                                                             \
    "ldr %[y], %[c4]\n"                                                             \
    "ldr %[z], %[c5]\n"                                                             \
    "ldr %[x], [%[x], %[channel]]\n"                                                \
    "ldr %[y], [%[y], %[channel]]\n"                                                \
    "ldr %[z], [%[z], %[channel]]\n"                                                \
    LANE("x", lane) LANE("y", lane) LANE("z", lane)                                 \
    MAC("1", "x", "w1") MAC("1", "y", "w2") MAC("2", "y", "w0") MAC("2", "z", "w1") \
    "ldr %[x], %[c6]\n"                                                             \
    "ldr %[x], [%[x], %[channel]]\n"                                                \
    LANE("x", lane)                                                                 \
    MAC("2", "x", "w2")

#define ROW_OUTPUTS(acc)                                                                              \
    [a0] "+r"((acc).a0), [a1] "+r"((acc).a1), [b0] "+r"((acc).b0), [b1] "+r"((acc).b1), [x] "=&r"(x), \
        [y] "=&r"(y), [z] "=&r"(z), [w0] "=&r"(w0), [w1] "=&r"(w1), [w2] "=&r"(w2)

#define ROW_INPUTS(columns, ky)                                                                   \
    [weights] "r"(weights), [channel] "r"(channel), [row] "i"(12 * (ky)), [c0] "m"((columns)[0]), \
        [c1] "m"((columns)[1]), [c2] "m"((columns)[2]), [c3] "m"((columns)[3])

#define ROW_OF_2(code) __asm__ volatile(code : ROW_OUTPUTS(acc) : ROW_INPUTS(columns, ky) : "memory")
#define ROW_OF_3(code, ...)                                                   \
    __asm__ volatile(code                                                     \
                     : ROW_OUTPUTS(acc), [a2] "+r"(acc.a2), [b2] "+r"(acc.b2) \
                     : ROW_INPUTS(columns, ky), __VA_ARGS__                   \
                     : "memory")

/* One kernel row of two of four channels; pixels, stride and `odd` are literals. */
static inline __attribute__((always_inline)) rnnc_six kernel_row(const int8_t *const *columns,
                                                                 const int8_t *weights, int32_t channel,
                                                                 rnnc_six acc, int32_t ky, int odd,
                                                                 int32_t pixels, int32_t stride) {
    uint32_t x, y, z, w0, w1, w2;
    if (pixels == 2 && odd) {
        ROW_OF_2(ROW_2_1(", ror #8"));
    } else if (pixels == 2) {
        ROW_OF_2(ROW_2_1(""));
    } else if (stride == 1 && odd) {
        ROW_OF_3(ROW_3_1(", ror #8"), [c4] "m"(columns[4]));
    } else if (stride == 1) {
        ROW_OF_3(ROW_3_1(""), [c4] "m"(columns[4]));
    } else if (odd) {
        ROW_OF_3(ROW_3_2(", ror #8"), [c4] "m"(columns[4]), [c5] "m"(columns[5]), [c6] "m"(columns[6]));
    } else {
        ROW_OF_3(ROW_3_2(""), [c4] "m"(columns[4]), [c5] "m"(columns[5]), [c6] "m"(columns[6]));
    }
    return acc;
}

/* The biases of two channels, of which the first is `channel` + `odd`. */
static inline __attribute__((always_inline)) rnnc_six begin(const few_pixels *t, int32_t channel, int odd) {
    int32_t a, b;
    __asm__ volatile(
        "ldr %[a], %[bias]\n"
        "add %[a], %[a], %[channel], lsl #2\n"
        "ldr %[b], [%[a], %[at] + 8]\n"
        "ldr %[a], [%[a], %[at]]\n"
        : [a] "=&r"(a), [b] "=&r"(b)
        : [channel] "r"(channel), [bias] "m"(t->bias), [at] "i"(4 * odd)
        : "memory");
    return (rnnc_six){a, a, a, b, b, b};
}

#define PIXEL(i)                \
    "smmlar %[a" i "], %[a" i   \
    "], %[m], %[zero]\n"        \
    "smmlar %[b" i "], %[b" i   \
    "], %[n], %[zero]\n"        \
    "ssat %[a" i "], #8, %[a" i \
    "]\n"                       \
    "ssat %[b" i "], #8, %[b" i \
    "]\n"                       \
    "strb %[a" i                \
    "], [%[to], %[odd]]\n"      \
    "strb %[b" i "], [%[to], %[odd] + 2]\n"

#define FINISH_2                           \
    "ldr %[m], %[multipliers]\n"           \
    "ldr %[to], %[out]\n"                  \
    "ldr %[pitch], %[in_pitch]\n"          \
    "ldr %[zero], %[zero_point]\n"         \
    "add %[m], %[m], %[channel], lsl #2\n" \
    "add %[to], %[channel]\n"              \
    "ldr %[n], [%[m], %[odd] * 4 + 8]\n"   \
    "ldr %[m], [%[m], %[odd] * 4]\n" PIXEL("0") "add %[to], %[pitch]\n" PIXEL("1")

#define FINISH_3 FINISH_2 "add %[to], %[pitch]\n" PIXEL("2")

#define FINISH_OUTPUTS(acc)                                                                           \
    [a0] "+r"((acc).a0), [a1] "+r"((acc).a1), [b0] "+r"((acc).b0), [b1] "+r"((acc).b1), [m] "=&r"(m), \
        [n] "=&r"(n), [zero] "=&r"(zero_point), [pitch] "=&r"(pitch), [to] "=&r"(to)

#define FINISH_INPUTS                                                                                       \
    [channel] "r"(channel), [multipliers] "m"(t->multipliers), [out] "m"(t->out), [in_pitch] "m"(t->pitch), \
        [zero_point] "m"(t->zero_point), [odd] "i"(odd)

static inline __attribute__((always_inline)) void finish(const few_pixels *t, int32_t channel, rnnc_six acc,
                                                         int odd, int32_t pixels) {
    int32_t m, n, zero_point, pitch;
    int8_t *to;
    if (pixels == 2) {
        __asm__ volatile(FINISH_2 : FINISH_OUTPUTS(acc) : FINISH_INPUTS : "memory");
    } else {
        __asm__ volatile(FINISH_3
                         : FINISH_OUTPUTS(acc), [a2] "+r"(acc.a2), [b2] "+r"(acc.b2)
                         : FINISH_INPUTS
                         : "memory");
    }
}

/* A channel and the next but one of a pixel, by any requantisation. */
static RNNC_UNUSUAL void store_two(const rnnc_requant *q, int32_t channel, int32_t a, int32_t b,
                                   int8_t *out) {
    out[0] = rnnc_requantise(a, channel, q);
    out[2] = rnnc_requantise(b, channel + 2, q);
}

/* Two channels, `channel` + `odd` and the next but one. */
static inline __attribute__((always_inline)) void two_channels(const rnnc_conv2d *p, const few_pixels *t,
                                                               const int8_t *weights, int32_t channel,
                                                               int odd, int32_t pixels, int32_t stride) {
    rnnc_six acc = begin(t, channel, odd);
    acc = kernel_row(t->columns[0], weights, channel, acc, 0, odd, pixels, stride);
    acc = kernel_row(t->columns[1], weights, channel, acc, 1, odd, pixels, stride);
    acc = kernel_row(t->columns[2], weights, channel, acc, 2, odd, pixels, stride);
    if (t->multipliers != NULL) {
        finish(t, channel, acc, odd, pixels);
        return;
    }
    int8_t *out = t->out + channel + odd;
    store_two(&p->requant, channel + odd, acc.a0, acc.b0, out);
    store_two(&p->requant, channel + odd, acc.a1, acc.b1, out + t->pitch);
    if (pixels == 3) {
        store_two(&p->requant, channel + odd, acc.a2, acc.b2, out + 2 * t->pitch);
    }
}

static inline __attribute__((always_inline)) void whole_words(const rnnc_conv2d *p, const few_pixels *t,
                                                              int32_t pixels, int32_t stride) {
    const int8_t *weights = p->weights;
    int32_t last = p->in_channels & ~(LANES - 1);
    for (int32_t channel = 0; channel != last; channel += LANES, weights += LANES * TAPS) {
        two_channels(p, t, weights, channel, 0, pixels, stride);
        two_channels(p, t, weights, channel, 1, pixels, stride);
    }
}

/* A channel that is left over when there are not four: reading a word would pass the end of the row. */
static RNNC_NOINLINE void single_channel(const rnnc_conv2d *p, const few_pixels *t, int32_t pixels,
                                         int32_t channel) {
    const int8_t *weights = p->weights + channel / LANES * LANES * TAPS + channel % LANES;
    for (int32_t pixel = 0; pixel < pixels; ++pixel) {
        int32_t acc = p->bias[channel];
        for (int32_t ky = 0; ky < 3; ++ky) {
            const int8_t *const *columns = t->columns[ky] + pixel * p->stride_w;
            const int8_t *w = weights + ky * 3 * LANES;
            acc += columns[0][channel] * w[0] + columns[1][channel] * w[LANES] +
                   columns[2][channel] * w[2 * LANES];
        }
        t->out[pixel * t->pitch + channel] = rnnc_requantise(acc, channel, &p->requant);
    }
}

/* The columns from `from` on, `step` bytes apart. */
static inline void place_evenly(const int8_t **columns, const int8_t *from, int32_t step, int32_t stride) {
    columns[0] = from;
    columns[1] = from += step;
    columns[2] = from += step;
    columns[3] = from += step;
    columns[4] = from += step;
    if (stride == 2) {
        columns[5] = from += step;
        columns[6] = from += step;
    }
}

/* Those outside of the image are those of padding instead; the first one is input column `left`. */
static inline void place_padding(const int8_t **columns, int32_t left, int32_t count, int32_t width,
                                 const int8_t *padding) {
    for (int32_t i = 0; i < -left && i < count; ++i) {
        columns[i] = padding;
    }
    for (int32_t i = width - left > 0 ? width - left : 0; i < count; ++i) {
        columns[i] = padding;
    }
}

/* The columns of three pixels, the first of which begins at input column `left`; any of them may be
 * outside of the image. */
static inline __attribute__((always_inline)) void place_columns(const rnnc_conv2d *p, const rnnc_job *job,
                                                                int32_t left, int32_t stride, few_pixels *t) {
    for (int32_t ky = 0; ky < 3; ++ky) {
        const int8_t *row = job->rows[ky];
        if (row == NULL) {
            place_evenly(t->columns[ky], job->scratch, 0, stride);
        } else {
            place_evenly(t->columns[ky], row + left * p->in_channels, p->in_channels, stride);
            place_padding(t->columns[ky], left, 2 * stride + 3, p->in_width, job->scratch);
        }
    }
}

/* The pixels whose columns are placed. */
static inline __attribute__((always_inline)) void all_channels(const rnnc_conv2d *p, const few_pixels *t,
                                                               int32_t pixels, int32_t stride) {
    whole_words(p, t, pixels, stride);
    for (int32_t channel = p->in_channels & ~(LANES - 1); channel < p->in_channels; ++channel) {
        single_channel(p, t, pixels, channel);
    }
}

/* A pixel for which there are no others to take with it becomes the last of them, written where they are. */
static inline __attribute__((always_inline)) void whole_row(const rnnc_conv2d *p, const rnnc_job *job,
                                                            int32_t stride) {
    const rnnc_requant *q = &p->requant;
    int plain = !RNNC_TFLITE && q->left_shift == 0 && q->low == INT8_MIN && q->high == INT8_MAX;
    few_pixels t; /* no initialiser, which would clear the columns */
    t.bias = p->bias;
    t.multipliers = plain ? q->multipliers : NULL;
    t.zero_point = q->zero_point;
    for (int32_t x = 0; x < p->out_width;) {
        int32_t left = p->out_width - x;
        int two = stride == 1 && (left == 2 || left == 4);
        int32_t pixels = two ? 2 : 3;
        int alone = left < pixels && p->out_width < pixels;
        int32_t first = alone ? x - 2 : left < pixels ? p->out_width - 3 : x;
        x = alone ? x : first;
        place_columns(p, job, first * stride - p->pad_left, stride, &t);
        t.out = (int8_t *)job->out + x * p->in_channels;
        t.pitch = alone ? 0 : p->in_channels;
        if (two) {
            all_channels(p, &t, 2, 1);
        } else {
            all_channels(p, &t, 3, stride);
        }
        x += alone ? 1 : pixels;
    }
}

static void row_at_stride_1(const rnnc_conv2d *p, const rnnc_job *job) {
    whole_row(p, job, 1);
}

static void row_at_stride_2(const rnnc_conv2d *p, const rnnc_job *job) {
    whole_row(p, job, 2);
}

void rnnc_depthwise3x3_s8(const void *params, const rnnc_job *job) {
    const rnnc_conv2d *p = params;
    uint32_t *padding = job->scratch;
    for (int32_t channel = 0; channel < p->in_channels; channel += LANES) {
        *padding++ = (uint32_t)(uint8_t)p->in_zero_point * 0x01010101u;
    }
    if (p->stride_w == 1) {
        row_at_stride_1(p, job);
    } else {
        row_at_stride_2(p, job);
    }
}

#endif
