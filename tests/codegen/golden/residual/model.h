/* residual, compiled by rnnc. Generated: do not edit.
 *
 *   static residual_t model;
 *   static uint8_t arena[RESIDUAL_ARENA_SIZE] __attribute__((aligned(RNNC_ALIGN)));
 *   residual_init(&model, arena, sizeof(arena));
 *   residual_push_rows(&model, rows, n);   as often as rows arrive; RNNC_OK with the last one
 *   ... residual_output(&model) ...
 *
 * Tensors are channels last: element (y, x, c) is at (y * WIDTH + x) * CHANNELS + c,
 * and stands for the real number SCALE * (element - ZERO_POINT).
 */
#ifndef RESIDUAL_MODEL_H
#define RESIDUAL_MODEL_H

#include "rnnc.h"

#define RESIDUAL_ARENA_SIZE 80

#define RESIDUAL_INPUT_SIZE 24
#define RESIDUAL_INPUT_ROW_SIZE 6
#define RESIDUAL_INPUT_HEIGHT 4
#define RESIDUAL_INPUT_WIDTH 3
#define RESIDUAL_INPUT_CHANNELS 2
#define RESIDUAL_INPUT_SCALE 0.5f
#define RESIDUAL_INPUT_ZERO_POINT (3)

#define RESIDUAL_OUTPUT_SIZE 48
#define RESIDUAL_OUTPUT_ROW_SIZE 12
#define RESIDUAL_OUTPUT_HEIGHT 4
#define RESIDUAL_OUTPUT_WIDTH 3
#define RESIDUAL_OUTPUT_CHANNELS 4
#define RESIDUAL_OUTPUT_SCALE 0.5f
#define RESIDUAL_OUTPUT_ZERO_POINT (3)

typedef struct residual {
    rnnc_engine engine;
    uint16_t counters[4];
} residual_t;

/* Prepare a model; the memory must stay with it. RNNC_OK, RNNC_ERR_ARGUMENT or RNNC_ERR_ARENA. */
int residual_init(residual_t *m, void *arena, size_t size);

/* Where the output lies after a run, until the next one. */
const int8_t *residual_output(const residual_t *m);

/* Give the next n rows of 6 bytes; as much work as they allow is done at once. RNNC_NEED_INPUT while more
 * rows are wanted, RNNC_OK when the outputs are complete (the next row then starts a new inference). */
int residual_push_rows(residual_t *m, const int8_t *rows, size_t n);

/* The same in slices: offer a row, which is copied and nothing else (RNNC_OK, or RNNC_BUSY if the rows before it
 * still have work: then step first), and step until it no longer returns RNNC_BUSY but, as above, RNNC_NEED_INPUT or
 * RNNC_OK. One unit of the budget is one row of one operator. */
int residual_offer_row(residual_t *m, const int8_t *row);
int residual_step(residual_t *m, unsigned budget);

/* Forget the rows of a frame that will not be completed. */
void residual_start(residual_t *m);

/* One whole inference on the 4 rows of a frame.
 * Outputs are copied out unless NULL. */
int residual_run(residual_t *m, const int8_t *input, int8_t *output);

/* For programs that handle any model. */
extern const rnnc_model residual_model;

static inline int8_t residual_quantise_input(float real) {
    float steps = real / RESIDUAL_INPUT_SCALE;
    if (!(steps > (float)(-128 - RESIDUAL_INPUT_ZERO_POINT))) {
        return -128;
    }
    if (steps >= (float)(127 - RESIDUAL_INPUT_ZERO_POINT)) {
        return 127;
    }
    int32_t nearest = (int32_t)(steps < 0.0f ? steps - 0.5f : steps + 0.5f);
    float error = steps - (float)nearest;
    if (nearest % 2 != 0 && (error == 0.5f || error == -0.5f)) { /* halves to even, as ONNX does */
        nearest += error < 0.0f ? -1 : 1;
    }
    return (int8_t)(nearest + RESIDUAL_INPUT_ZERO_POINT);
}

static inline float residual_dequantise_output(int8_t stored) {
    return RESIDUAL_OUTPUT_SCALE * (float)(stored - RESIDUAL_OUTPUT_ZERO_POINT);
}

#endif
