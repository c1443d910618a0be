/* RNNPool's cells: what src/rnnpool.c drives. The definition is FixedCell in
 * rnnc/ir/ops/rnnpool_cell.py, with the tables of rnnpool_gates.py beside it.
 *
 * RNNC_RNN_LANES sweeps step together, so that every weight is loaded once for all of them. States
 * and products of the lanes are [lane][hidden].
 */
#ifndef RNNC_RNNPOOL_CELL_H
#define RNNC_RNNPOOL_CELL_H

#include "rnnc_requant.h"

/* RNNC_CMSIS_DSP: CMSIS-DSP is linked, and clears states.
 * RNNC_RNNPOOL_LIBRARY: it also multiplies and copies: the reference for our kernels, which are faster. */
#ifndef RNNC_CMSIS_DSP
#define RNNC_CMSIS_DSP 0
#endif
#ifndef RNNC_RNNPOOL_LIBRARY
#define RNNC_RNNPOOL_LIBRARY 0
#endif

#define RNNC_RNN_LANES 4

/* [rows][columns], padded with zeros to even numbers of both */
typedef struct {
    const int16_t *weights;
    int32_t rows, columns;
    int32_t shift;
} rnnc_rnn_matrix;

/* How the recurrent matrix is packed, and the number of units: src/dsp/rnnpool_cell_step.c */
typedef enum { RNNC_RNN_PLAIN, RNNC_RNN_DENSE_8, RNNC_RNN_DENSE_16, RNNC_RNN_SPARSE_16 } rnnc_rnn_form;

/* Biases and leads are padded like the matrix. Either all units are tables of z and g, or there are
 * tables for the functions that are smooth, NULL for those that are not. */
typedef struct {
    rnnc_rnn_matrix recurrent;
    rnnc_rnn_form form;
    const int32_t *packed; /* recurrent matrix and biases in this form; NULL if plain */
    const int16_t *bias, *lead;
    const int32_t *z_table, *g_tables;
    const int32_t *gate_table, *update_table;
    int32_t blend; /* zeta + nu in Q30, the lower half being -zeta in Q15 */
} rnnc_rnn_cell;

/* out[i] = (values[i] - zero_point) << 7 */
void rnnc_rnn_centre(const int8_t *values, int32_t count, int32_t zero_point, int16_t *out);

/* out[lane * pitch + i] = sat16(sat16(sum_j weights[i][j] * vectors[lane][j] >> 15) << shift), all
 * lanes */
void rnnc_rnn_product(const rnnc_rnn_matrix *m, const int16_t *vectors, int16_t *out, int32_t pitch);

/* The product for `rows` units, 8 or 16, and vectors that are (x - zero point) << 7 of a pixel of four
 * channels by lane, at any address. `packed` has the weights of channels 0 and 2, those of 1 and 3, and
 * minus the zero point times all of them, by unit. */
void rnnc_rnn_pixel_product(const int32_t *packed, int32_t rows, const int8_t *const *pixels, int16_t *out);

/* One step of all lanes, in place, by the input products of each lane; and the first step, from the
 * state 0. A state is followed by room for as much, where the recurrent products go. */
void rnnc_rnn_step(const rnnc_rnn_cell *cell, const int16_t *const *inputs, int16_t *state);
void rnnc_rnn_start(const rnnc_rnn_cell *cell, const int16_t *const *inputs, int16_t *state);

#endif
