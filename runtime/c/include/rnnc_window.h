/* Columns of a convolution: the windows of output pixels, as bytes or widened to int16 (Armv7E-M).
 *
 * Widened columns stand side by side, as the tiles of rnnc_tile.h read them: per word of a column the
 * even bytes of each pixel, then the odd bytes of each.
 */
#ifndef RNNC_WINDOW_H
#define RNNC_WINDOW_H

#include "rnnc_conv.h"

#if RNNC_USE_DSP

/* Four words; the loads stand together. */
static inline uint32_t *rnnc_widen_four(uint32_t *to, const int8_t *from, int32_t pixels) {
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

/* `words` words from bytes anywhere; `pixels` is a literal. Returns where the next word goes. */
static inline __attribute__((always_inline)) uint32_t *rnnc_widen(uint32_t *to, const int8_t *from,
                                                                  int32_t words, int32_t pixels) {
    for (words -= 4; words >= 0; words -= 4, from += 16) {
        to = rnnc_widen_four(to, from, pixels);
    }
    for (words += 4; words > 0; --words, from += 4, to += 2 * pixels) {
        uint32_t word = rnnc_load_word(from);
        to[0] = rnnc_even_bytes(word);
        to[pixels] = rnnc_odd_bytes(word);
    }
    return to;
}

static inline __attribute__((always_inline)) uint32_t *rnnc_widen_padding(uint32_t *to, int32_t zero_point,
                                                                          int32_t words, int32_t pixels) {
    uint32_t pair = rnnc_low_halves((uint32_t)zero_point, (uint32_t)zero_point);
    for (; words > 0; --words, to += 2 * pixels) {
        to[0] = pair;
        to[pixels] = pair;
    }
    return to;
}

/* Bytes of one kernel row: padding before the image, inside of it from `offset` of an input row on,
 * and padding behind it. */
typedef struct {
    int32_t before, offset, inside, after;
} rnnc_span;

static inline int32_t rnnc_up_to(int32_t x, int32_t high) {
    return rnnc_clamp(x, 0, high);
}

/* Of output pixel x; the taps must stand side by side. */
static inline rnnc_span rnnc_span_of(const rnnc_conv2d *p, int32_t x) {
    int32_t left = x * p->stride_w - p->pad_left;
    int32_t before = rnnc_up_to(-left, p->kernel_w);
    int32_t after = rnnc_up_to(left + p->kernel_w - p->in_width, p->kernel_w);
    int32_t inside = p->kernel_w - before - after;
    int32_t channels = p->in_channels;
    return (rnnc_span){before * channels, (left + before) * channels, inside * channels, after * channels};
}

/* A column of bytes. What stands behind it up to the end of its last word meets weights of zero. */
static inline void rnnc_gather_span(const rnnc_conv2d *p, const void *const *rows, rnnc_span s, int8_t *to) {
    int32_t zero_point = p->in_zero_point;
    for (const void *const *end = rows + p->kernel_h; rows != end; ++rows) {
        const int8_t *row = *rows;
        if (row == NULL) {
            to = rnnc_fill_bytes(to, zero_point, s.before + s.inside + s.after);
            continue;
        }
        if (s.before > 0) {
            to = rnnc_fill_bytes(to, zero_point, s.before);
        }
        to = rnnc_copy_bytes(to, row + s.offset, s.inside);
        if (s.after > 0) {
            to = rnnc_fill_bytes(to, zero_point, s.after);
        }
    }
}

/* A widened column, where a tap is whole words. */
static inline __attribute__((always_inline)) void rnnc_widen_span(const rnnc_conv2d *p,
                                                                  const void *const *rows, rnnc_span s,
                                                                  uint32_t *to, int32_t pixels) {
    int32_t zero_point = p->in_zero_point;
    for (const void *const *end = rows + p->kernel_h; rows != end; ++rows) {
        const int8_t *row = *rows;
        if (row == NULL) {
            to = rnnc_widen_padding(to, zero_point, (s.before + s.inside + s.after) / 4, pixels);
            continue;
        }
        if (s.before > 0) {
            to = rnnc_widen_padding(to, zero_point, s.before / 4, pixels);
        }
        to = rnnc_widen(to, row + s.offset, s.inside / 4, pixels);
        if (s.after > 0) {
            to = rnnc_widen_padding(to, zero_point, s.after / 4, pixels);
        }
    }
}

/* The row of tap `tap` at output pixel x from `channel` on, NULL for padding. */
static inline const int8_t *rnnc_tap(const rnnc_conv2d *p, const void *const *rows, int32_t x, int32_t tap,
                                     int32_t channel) {
    const int8_t *row = rows[tap / p->kernel_w];
    int32_t column = x * p->stride_w - p->pad_left + tap % p->kernel_w * p->dilation_w;
    return row != NULL && column >= 0 && column < p->in_width ? row + column * p->in_channels + channel
                                                              : NULL;
}

#endif

#endif
