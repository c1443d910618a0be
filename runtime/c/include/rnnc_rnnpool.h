/* RNNPool over rows; the definition is RnnPoolInt in rnnc/ir/ops/rnnpool_int.py, the cell FixedCell
 * in rnnpool_cell.py beside it.
 *
 * The sweeps of RNNC_RNN_LANES patches (or columns, or directions) step together, so that every
 * weight is loaded once for all of them. src/rnnpool.c drives them; what it drives are the two
 * primitives below.
 */
#ifndef RNNC_RNNPOOL_H
#define RNNC_RNNPOOL_H

#include "rnnc_requant.h"

/* RNNC_CMSIS_DSP: CMSIS-DSP is linked, and moves and clears states.
 * RNNC_RNNPOOL_LIBRARY: it also computes the matrix products: the reference for our fused ones. */
#ifndef RNNC_CMSIS_DSP
#define RNNC_CMSIS_DSP 0
#endif
#ifndef RNNC_RNNPOOL_LIBRARY
#define RNNC_RNNPOOL_LIBRARY 0
#endif

#define RNNC_RNN_LANES 4

/* Matrices are [rows][columns] of int16, padded with zeros to even numbers of both; biases are
 * [hidden / 2][gate, update][2], padded likewise. A table is NULL for the piecewise linear function,
 * which needs none. */
typedef struct {
    const int16_t *w1, *r1, *b1;
    const int16_t *w2, *r2, *b2;
    const int32_t *gate_table;
    const int32_t *update_table;
    int32_t w1_shift, r1_shift, w2_shift, r2_shift;
    int32_t blend1, blend2; /* zeta + nu in Q30, the lower half being -zeta in Q15 */
    int32_t hidden1, hidden2;
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

typedef struct {
    const int16_t *weights;
    int32_t rows, columns; /* even */
    int32_t shift;
} rnnc_rnn_matrix;

typedef struct {
    rnnc_rnn_matrix recurrent;
    const int16_t *bias;
    const int32_t *gate_table;
    const int32_t *update_table;
    int32_t blend;
} rnnc_rnn_cell;

/* out[i] = (values[i] - zero_point) << 7 */
void rnnc_rnn_centre(const int8_t *values, int32_t count, int32_t zero_point, int16_t *out);

/* out[lane * pitch + i] = sat16(sat16(sum_j weights[i][j] * vectors[lane][j] >> 15) << shift), all
 * lanes */
void rnnc_rnn_product(const rnnc_rnn_matrix *m, const int16_t *vectors, int16_t *out, int32_t pitch);

/* One FastGRNN step of all lanes, in place: state [lane][hidden] by the input products of each lane
 * and the recurrent products [lane][hidden], which may be the state itself where both are 0. */
void rnnc_rnn_update(const rnnc_rnn_cell *cell, const int16_t *const *inputs, const int16_t *recurrent,
                     int16_t *state);

#endif
