/* The output channels of one group of a convolution, and what its tiles have in common (Armv7E-M). */
#ifndef RNNC_GROUP_H
#define RNNC_GROUP_H

#include "rnnc_conv.h"
#include "rnnc_tile.h"

#if RNNC_USE_DSP

typedef struct {
    const rnnc_conv2d *p;
    int32_t first, channels; /* of the output */
    int32_t steps;           /* of four of depth in a window */
    const int8_t *weights;
} rnnc_group;

static inline rnnc_group rnnc_group_of(const rnnc_conv2d *p, int32_t group, int32_t steps) {
    int32_t channels = p->out_channels / p->groups;
    return (rnnc_group){p, group * channels, channels, steps, p->weights + group * channels * steps * 4};
}

/* Those of the group, or NULL where requantisation is more than one SMMLAR and one SSAT. */
static inline const int32_t *rnnc_group_multipliers(const rnnc_group *g) {
    const rnnc_requant *q = &g->p->requant;
    int plain = !RNNC_TFLITE && q->left_shift == 0 && q->low == INT8_MIN && q->high == INT8_MAX;
    return plain ? q->multipliers + g->first : NULL;
}

/* Steps of a block that are left out, so that `steps` are done in whole blocks. */
static inline int32_t rnnc_steps_skipped(int32_t steps, int32_t block) {
    return steps == 0 ? block : block - 1 - (steps - 1) % block;
}

/* How many of `left` pixels to take next; four are two pairs, since one alone is slow. */
static inline int32_t rnnc_pixels_at_once(int32_t left) {
    return left == 3 || left > 4 ? 3 : left == 1 ? 1 : 2;
}

/* Two channels of `pixels` pixels, `stride` bytes apart, by any requantisation. */
static inline void rnnc_store_six(const rnnc_group *g, int32_t channel, rnnc_six acc, int32_t pixels,
                                  int32_t stride, int8_t *out) {
    const rnnc_requant *q = &g->p->requant;
    out[0] = rnnc_requantise(acc.a0, channel, q);
    out[1] = rnnc_requantise(acc.b0, channel + 1, q);
    if (pixels > 1) {
        out[stride] = rnnc_requantise(acc.a1, channel, q);
        out[stride + 1] = rnnc_requantise(acc.b1, channel + 1, q);
    }
    if (pixels > 2) {
        out[2 * stride] = rnnc_requantise(acc.a2, channel, q);
        out[2 * stride + 1] = rnnc_requantise(acc.b2, channel + 1, q);
    }
}

#endif

#endif
