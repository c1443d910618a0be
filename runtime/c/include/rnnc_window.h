/* Input columns of a convolution, widened to int16 (Armv7E-M).
 *
 * They stand side by side, so that windows that overlap share them: the window of a pixel is kernel_w
 * columns in one piece. The order within a column is that of the weights; see rnnc_linear.h.
 */
#ifndef RNNC_WINDOW_H
#define RNNC_WINDOW_H

#include "rnnc_conv.h"

#if RNNC_USE_DSP

#define RNNC_WIDEN_WORD(x, at) \
    "sxtb16 %[t], %[" x        \
    "]\n"                      \
    "sxtb16 %[" x "], %[" x    \
    "], ror #8\n"              \
    "str %[t], [%[to], #" at   \
    "]\n"                      \
    "str %[" x "], [%[to], #" at "+4]\n"

/* `count` columns of `depth` values, a multiple of 16, side by side in `from` and `gap` bytes apart in `to`.
 * The loads stand together. */
static inline void rnnc_widen_columns(int16_t *to, const int8_t *from, int32_t depth, int32_t count,
                                      int32_t gap) {
    uint32_t w0, w1, w2, w3, t;
    int32_t left;
    __asm__ volatile(
        "1:\n"
        "mov %[left], %[depth]\n"
        "2:\n"
        "ldr %[w1], [%[from], #4]\n"
        "ldr %[w2], [%[from], #8]\n"
        "ldr %[w3], [%[from], #12]\n"
        "ldr %[w0], [%[from]], #16\n"
        RNNC_WIDEN_WORD("w1", "8")
        RNNC_WIDEN_WORD("w2", "16")
        RNNC_WIDEN_WORD("w3", "24")
        "sxtb16 %[t], %[w0]\n"
        "sxtb16 %[w0], %[w0], ror #8\n"
        "str %[w0], [%[to], #4]\n"
        "str %[t], [%[to]], #32\n"
        "subs %[left], #16\n"
        "bne 2b\n"
        "add %[to], %[gap]\n"
        "subs %[count], #1\n"
        "bne 1b\n"
        : [to] "+r"(to), [from] "+r"(from), [count] "+r"(count), [left] "=&r"(left), [w0] "=&r"(w0),
          [w1] "=&r"(w1), [w2] "=&r"(w2), [w3] "=&r"(w3), [t] "=&r"(t)
        : [depth] "r"(depth), [gap] "r"(gap)
        : "cc", "memory");
}

/* One by one; loads stand together as far as possible. */
static inline void rnnc_widen_values(int16_t *to, const int8_t *from, int32_t n) {
    for (; n >= 4; n -= 4, from += 4, to += 4) {
        int16_t a = from[0], b = from[1], c = from[2], d = from[3];
        to[0] = a;
        to[1] = b;
        to[2] = c;
        to[3] = d;
    }
    for (; n > 0; --n) {
        *to++ = *from++;
    }
}

/* By words, whose even bytes then come before the odd ones; what is left over one by one. `to` must be
 * aligned to words. */
static inline void rnnc_widen(int16_t *values, const int8_t *from, int32_t n) {
    int32_t whole = n & ~15;
    if (whole > 0) {
        rnnc_widen_columns(values, from, whole, 1, 0);
        values += whole;
        from += whole;
        n -= whole;
    }
    uint32_t *to = (uint32_t *)(void *)values;
    for (; n >= 4; n -= 4, from += 4, to += 2) {
        uint32_t word = rnnc_load_word(from);
        to[0] = rnnc_even_bytes(word);
        to[1] = rnnc_odd_bytes(word);
    }
    rnnc_widen_values((int16_t *)(void *)to, from, n);
}

/* How many of `left` pixels to place next. A strip does not leave a single one, which would be slow alone. */
static inline int32_t rnnc_strip_length(const rnnc_conv2d *p, int32_t left) {
    return left <= p->pixels ? left : left == p->pixels + 1 && left > 2 ? left - 2 : p->pixels;
}

/* How the windows of one group stand in scratch; lengths in values. */
typedef struct {
    const rnnc_conv2d *p;
    int32_t channel; /* the first one of the input */
    int32_t depth;   /* channels of a group */
    int32_t column;  /* from one column to the next */
    int32_t window;  /* from the window of one pixel to the next */
    int apart;       /* windows do not share columns */
} rnnc_columns;

static inline __attribute__((always_inline)) rnnc_columns rnnc_columns_of(const rnnc_conv2d *p) {
    int32_t depth = p->in_channels / p->groups;
    int32_t column = rnnc_column_length(p);
    int apart = p->dilation_w != 1 || p->stride_w > p->kernel_w;
    return (rnnc_columns){p, 0, depth, column, (apart ? p->kernel_w : p->stride_w) * column, apart};
}

/* `count` columns of one or three channels, one by one; as many loads as possible stand together. */
static inline void rnnc_place_single(const int8_t *from, int32_t step, int32_t count, int16_t *to,
                                     int32_t pitch) {
    for (; count >= 4; count -= 4, from += 4 * step, to += 4 * pitch) {
        int16_t a = from[0], b = from[step], c = from[2 * step], d = from[3 * step];
        to[0] = a;
        to[pitch] = b;
        to[2 * pitch] = c;
        to[3 * pitch] = d;
    }
    for (; count > 0; --count, from += step, to += pitch) {
        *to = *from;
    }
}

static inline void rnnc_place_triple(const int8_t *from, int32_t step, int32_t count, int16_t *to,
                                     int32_t pitch) {
    for (; count > 0; --count, from += step, to += pitch) {
        int16_t a = from[0], b = from[1], c = from[2];
        to[0] = a;
        to[1] = b;
        to[2] = c;
    }
}

/* `count` columns of one row, `pitch` apart. */
static RNNC_NOINLINE void rnnc_place_inside(const rnnc_conv2d *p, const int8_t *from, int32_t depth,
                                            int32_t count, int16_t *to, int32_t pitch) {
    int32_t step = p->in_channels;
    int together = depth == step; /* columns have no other groups between them */
    if (together && depth == pitch && depth % 4 == 0) {
        depth *= count;
        count = 1;
    }
    if (together && depth % 16 == 0 && count * depth > 0) {
        rnnc_widen_columns(to, from, depth, count, 2 * (pitch - depth));
    } else if (depth % 4 == 0 || p->kernel_h == 1) {
        for (; count > 0; --count, from += step, to += pitch) {
            rnnc_widen(to, from, depth);
        }
    } else if (depth == 1) {
        rnnc_place_single(from, step, count, to, pitch);
    } else if (depth == 3) {
        rnnc_place_triple(from, step, count, to, pitch);
    } else {
        for (; count > 0; --count, from += step, to += pitch) {
            rnnc_widen_values(to, from, depth);
        }
    }
}

/* The same outside of the image. */
static RNNC_NOINLINE void rnnc_place_padding(const rnnc_columns *s, int32_t count, int16_t *to) {
    for (; count > 0; --count, to += s->column) {
        for (int32_t c = 0; c < s->depth; ++c) {
            to[c] = (int16_t)s->p->in_zero_point;
        }
    }
}

/* The columns that the windows of `pixels` pixels from x on share. */
static RNNC_NOINLINE void rnnc_place_run(const rnnc_columns *s, const rnnc_job *job, int32_t x,
                                         int32_t pixels) {
    const rnnc_conv2d *p = s->p;
    int32_t left = x * p->stride_w - p->pad_left;
    int32_t count = (pixels - 1) * p->stride_w + p->kernel_w;
    int32_t before = rnnc_clamp(-left, 0, count);
    int32_t after = rnnc_clamp(left + count - p->in_width, 0, count);
    int32_t inside = count - before - after;
    int32_t offset = (left + before) * p->in_channels + s->channel;
    int16_t *to = job->scratch;
    for (int32_t ky = 0; ky < p->kernel_h; ++ky, to += s->depth) {
        const int8_t *row = job->rows[ky];
        int16_t *first = to + before * s->column;
        if (row == NULL) {
            rnnc_place_padding(s, count, to);
            continue;
        }
        if (inside != count) {
            rnnc_place_padding(s, before, to);
            rnnc_place_padding(s, after, first + inside * s->column);
        }
        rnnc_place_inside(p, row + offset, s->depth, inside, first, s->column);
    }
}

/* The columns of the windows of `pixels` pixels from x on, window by window. */
static RNNC_NOINLINE void rnnc_place_apart(const rnnc_columns *s, const rnnc_job *job, int32_t x,
                                           int32_t pixels) {
    const rnnc_conv2d *p = s->p;
    int16_t *to = job->scratch;
    for (int32_t left = x * p->stride_w - p->pad_left; pixels > 0; --pixels, left += p->stride_w) {
        int32_t column = left;
        for (int32_t tap = 0; tap < p->kernel_w; ++tap, to += s->column, column += p->dilation_w) {
            for (int32_t ky = 0; ky < p->kernel_h; ++ky) {
                const int8_t *row = job->rows[ky];
                int16_t *first = to + ky * s->depth;
                if (row == NULL || column < 0 || column >= p->in_width) {
                    rnnc_place_padding(s, 1, first);
                } else {
                    row += column * p->in_channels + s->channel;
                    rnnc_place_inside(p, row, s->depth, 1, first, s->column);
                }
            }
        }
    }
}

/* The windows of `pixels` pixels from x on. */
static inline void rnnc_place_windows(const rnnc_columns *s, const rnnc_job *job, int32_t x, int32_t pixels) {
    if (s->apart) {
        rnnc_place_apart(s, job, x, pixels);
    } else {
        rnnc_place_run(s, job, x, pixels);
    }
}

#endif

#endif
