/* residual, compiled by rnnc. Generated: do not edit.
 *
 *   static residual_lent_t model;
 *   static uint8_t arena[RESIDUAL_LENT_ARENA_SIZE] __attribute__((aligned(RNNC_ALIGN)));
 *   residual_lent_init(&model, arena, sizeof(arena));
 *   residual_lent_run(&model, input, output);
 *
 * Tensors are channels last: element (y, x, c) is at (y * WIDTH + x) * CHANNELS + c,
 * and stands for the real number SCALE * (element - ZERO_POINT).
 */
#ifndef RESIDUAL_LENT_MODEL_H
#define RESIDUAL_LENT_MODEL_H

#include "rnnc.h"

#define RESIDUAL_LENT_ARENA_SIZE 56

#define RESIDUAL_LENT_INPUT_SIZE 24
#define RESIDUAL_LENT_INPUT_ROW_SIZE 6
#define RESIDUAL_LENT_INPUT_HEIGHT 4
#define RESIDUAL_LENT_INPUT_WIDTH 3
#define RESIDUAL_LENT_INPUT_CHANNELS 2
#define RESIDUAL_LENT_INPUT_SCALE 0.5f
#define RESIDUAL_LENT_INPUT_ZERO_POINT (3)

#define RESIDUAL_LENT_OUTPUT_SIZE 48
#define RESIDUAL_LENT_OUTPUT_ROW_SIZE 12
#define RESIDUAL_LENT_OUTPUT_HEIGHT 4
#define RESIDUAL_LENT_OUTPUT_WIDTH 3
#define RESIDUAL_LENT_OUTPUT_CHANNELS 4
#define RESIDUAL_LENT_OUTPUT_SCALE 0.5f
#define RESIDUAL_LENT_OUTPUT_ZERO_POINT (3)

typedef struct residual_lent {
    rnnc_engine engine;
    uint16_t counters[4];
    const int8_t *lent[1];
} residual_lent_t;

/* Prepare a model; the memory must stay with it. RNNC_OK, RNNC_ERR_ARGUMENT or RNNC_ERR_ARENA. */
int residual_lent_init(residual_lent_t *m, void *arena, size_t size);

/* Where the output lies after a run, until the next one. */
const int8_t *residual_lent_output(const residual_lent_t *m);

/* One whole inference on a frame that stays the caller's: it is read where it lies, and never written.
 * Outputs are copied out unless NULL. */
int residual_lent_run(residual_lent_t *m, const int8_t *input, int8_t *output);

/* The same in slices: start, then step until it no longer returns RNNC_BUSY. One unit of the budget is one row
 * of one operator. The frame must stay as it is until then. */
void residual_lent_start(residual_lent_t *m, const int8_t *input);
int residual_lent_step(residual_lent_t *m, unsigned budget);

/* For programs that handle any model. */
extern const rnnc_model residual_lent_model;

static inline int8_t residual_lent_quantise_input(float real) {
    float steps = real / RESIDUAL_LENT_INPUT_SCALE;
    if (!(steps > (float)(-128 - RESIDUAL_LENT_INPUT_ZERO_POINT))) {
        return -128;
    }
    if (steps >= (float)(127 - RESIDUAL_LENT_INPUT_ZERO_POINT)) {
        return 127;
    }
    int32_t nearest = (int32_t)(steps < 0.0f ? steps - 0.5f : steps + 0.5f);
    float error = steps - (float)nearest;
    if (nearest % 2 != 0 && (error == 0.5f || error == -0.5f)) { /* halves to even, as ONNX does */
        nearest += error < 0.0f ? -1 : 1;
    }
    return (int8_t)(nearest + RESIDUAL_LENT_INPUT_ZERO_POINT);
}

static inline float residual_lent_dequantise_output(int8_t stored) {
    return RESIDUAL_LENT_OUTPUT_SCALE * (float)(stored - RESIDUAL_LENT_OUTPUT_ZERO_POINT);
}

#endif
