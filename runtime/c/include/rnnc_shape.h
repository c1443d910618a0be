/* Moving rows about; the definitions are in rnnc/ir/ops/shape.py and pad.py. */
#ifndef RNNC_SHAPE_H
#define RNNC_SHAPE_H

#include "rnnc.h"

/* For each of `pixels` pixels, sizes[i] bytes from each input i whose row is there. */
typedef struct {
    const int32_t *sizes;
    int32_t inputs;
    int32_t pixels;
} rnnc_concat_params;

/* From each of `pixels` pixels, `count` blocks of `block` bytes that lie `distance` bytes apart. */
typedef struct {
    int32_t pixels;
    int32_t pixel_bytes;
    int32_t first; /* offset of the first block in its pixel */
    int32_t count;
    int32_t distance;
    int32_t block;
} rnnc_slice_params;

typedef struct {
    int32_t in_width, in_channels;
    int32_t left, right; /* columns */
    int32_t front, back; /* channels */
    int32_t value;
    int32_t edge; /* nonzero: repeat the nearest column in place of `value`; rows come repeated */
} rnnc_pad;

rnnc_kernel rnnc_concat;
rnnc_kernel rnnc_slice;
rnnc_kernel rnnc_pad_s8;

#endif
