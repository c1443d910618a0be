/* RNNPool over rows; the definition is RnnPoolInt in rnnc/ir/ops/rnnpool_int.py. */
#ifndef RNNC_RNNPOOL_H
#define RNNC_RNNPOOL_H

#include "rnnc_rnnpool_cell.h"

typedef struct {
    rnnc_rnn_matrix w1, w2;
    rnnc_rnn_cell rnn1, rnn2;
    const int32_t *pixel_weights; /* W1 for rnnc_rnn_pixel_product; NULL if that is for other sizes */
    const int16_t *order2;        /* the output channel, of one way, of each unit of RNN2 */
    int32_t hidden2;              /* without padding */
    int32_t in_width, in_channels, in_zero_point;
    int32_t out_width;
    int32_t kernel_h, kernel_w;
    int32_t stride_h, stride_w, pad_left;
    int32_t kept_rows;    /* row summaries that state holds from one output row to the next, by patch */
    int32_t product_rows; /* last rows of a patch whose W1 x serve columns and rows, with batch 1 */
    int32_t batch;        /* patches whose rows are swept together: RNNC_RNN_LANES, or 1 for less scratch */
    int32_t out_multiplier, out_shift, out_zero_point;
} rnnc_rnnpool;

rnnc_kernel rnnc_rnnpool_s8;

#endif
