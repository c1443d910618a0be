/* What the tiles of convolutions have in common (Armv7E-M). */
#ifndef RNNC_GROUP_H
#define RNNC_GROUP_H

#include "rnnc_conv.h"
#include "rnnc_tile.h"

#if RNNC_USE_DSP

/* Of all channels, or NULL where requantisation is more than one SMMLAR and one SSAT. */
static inline const int32_t *rnnc_plain_multipliers(const rnnc_requant *q) {
    int plain = !RNNC_TFLITE && q->left_shift == 0 && q->low == INT8_MIN && q->high == INT8_MAX;
    return plain ? q->multipliers : NULL;
}

/* Steps of a block that are left out, so that `steps`, at least one, are done in whole blocks. */
static inline int32_t rnnc_steps_skipped(int32_t steps, int32_t block) {
    return block - 1 - (steps - 1) % block;
}

/* How many of `left` pixels to take next; four are two pairs, since one alone is slow. */
static inline int32_t rnnc_pixels_at_once(int32_t left) {
    return left == 3 || left > 4 ? 3 : left == 1 ? 1 : 2;
}

/* Two channels of a pixel, by any requantisation. */
static RNNC_UNUSUAL void rnnc_store_two(const rnnc_requant *q, int32_t channel, int32_t a, int32_t b,
                                        int8_t *out) {
    out[0] = rnnc_requantise(a, channel, q);
    out[1] = rnnc_requantise(b, channel + 1, q);
}

/* Of `pixels` pixels, `stride` bytes apart. */
static inline __attribute__((always_inline)) void rnnc_store_six(const rnnc_requant *q, int32_t channel,
                                                                 rnnc_six acc, int32_t pixels, int32_t stride,
                                                                 int8_t *out) {
    rnnc_store_two(q, channel, acc.a0, acc.b0, out);
    if (pixels > 1) {
        rnnc_store_two(q, channel, acc.a1, acc.b1, out + stride);
    }
    if (pixels > 2) {
        rnnc_store_two(q, channel, acc.a2, acc.b2, out + 2 * stride);
    }
}

#endif

#endif
