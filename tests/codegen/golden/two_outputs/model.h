/* two outputs, compiled by rnnc. Generated: do not edit.
 *
 *   static two_outputs_t model;
 *   static uint8_t arena[TWO_OUTPUTS_ARENA_SIZE] __attribute__((aligned(RNNC_ALIGN)));
 *   two_outputs_init(&model, arena, sizeof(arena));
 *   two_outputs_run(&model, input_left, input_right, output_joined, output_m_9_cut);
 *
 * Tensors are channels last: element (y, x, c) is at (y * WIDTH + x) * CHANNELS + c,
 * and stands for the real number SCALE * (element - ZERO_POINT).
 */
#ifndef TWO_OUTPUTS_MODEL_H
#define TWO_OUTPUTS_MODEL_H

#include "rnnc.h"

#define TWO_OUTPUTS_ARENA_SIZE 40

#define TWO_OUTPUTS_INPUT_LEFT_SIZE 12
#define TWO_OUTPUTS_INPUT_LEFT_ROW_SIZE 6
#define TWO_OUTPUTS_INPUT_LEFT_HEIGHT 2
#define TWO_OUTPUTS_INPUT_LEFT_WIDTH 2
#define TWO_OUTPUTS_INPUT_LEFT_CHANNELS 3
#define TWO_OUTPUTS_INPUT_LEFT_SCALE 0.25f
#define TWO_OUTPUTS_INPUT_LEFT_ZERO_POINT (0)

#define TWO_OUTPUTS_INPUT_RIGHT_SIZE 4
#define TWO_OUTPUTS_INPUT_RIGHT_ROW_SIZE 2
#define TWO_OUTPUTS_INPUT_RIGHT_HEIGHT 2
#define TWO_OUTPUTS_INPUT_RIGHT_WIDTH 2
#define TWO_OUTPUTS_INPUT_RIGHT_CHANNELS 1
#define TWO_OUTPUTS_INPUT_RIGHT_SCALE 0.25f
#define TWO_OUTPUTS_INPUT_RIGHT_ZERO_POINT (0)

#define TWO_OUTPUTS_OUTPUT_JOINED_SIZE 16
#define TWO_OUTPUTS_OUTPUT_JOINED_ROW_SIZE 8
#define TWO_OUTPUTS_OUTPUT_JOINED_HEIGHT 2
#define TWO_OUTPUTS_OUTPUT_JOINED_WIDTH 2
#define TWO_OUTPUTS_OUTPUT_JOINED_CHANNELS 4
#define TWO_OUTPUTS_OUTPUT_JOINED_SCALE 0.25f
#define TWO_OUTPUTS_OUTPUT_JOINED_ZERO_POINT (0)

#define TWO_OUTPUTS_OUTPUT_M_9_CUT_SIZE 8
#define TWO_OUTPUTS_OUTPUT_M_9_CUT_ROW_SIZE 4
#define TWO_OUTPUTS_OUTPUT_M_9_CUT_HEIGHT 2
#define TWO_OUTPUTS_OUTPUT_M_9_CUT_WIDTH 2
#define TWO_OUTPUTS_OUTPUT_M_9_CUT_CHANNELS 2
#define TWO_OUTPUTS_OUTPUT_M_9_CUT_SCALE 0.25f
#define TWO_OUTPUTS_OUTPUT_M_9_CUT_ZERO_POINT (0)

typedef struct two_outputs {
    rnnc_engine engine;
    uint16_t counters[5];
} two_outputs_t;

/* Prepare a model; the memory must stay with it. RNNC_OK, RNNC_ERR_ARGUMENT or RNNC_ERR_ARENA. */
int two_outputs_init(two_outputs_t *m, void *arena, size_t size);

/* Where the input_left lies: fill it here to save a copy. It is overwritten by the run. */
int8_t *two_outputs_input_left(const two_outputs_t *m);
/* Where the input_right lies: fill it here to save a copy. It is overwritten by the run. The model has uint8 here; this is that less 128. */
int8_t *two_outputs_input_right(const two_outputs_t *m);
/* Where the output_joined lies after a run, until the next one. */
const int8_t *two_outputs_output_joined(const two_outputs_t *m);
/* Where the output_m_9_cut lies after a run, until the next one. The model has uint8 here; this is that less 128. */
const int8_t *two_outputs_output_m_9_cut(const two_outputs_t *m);

/* One whole inference. Inputs are copied in unless they are given where they lie or NULL (already there).
 * Outputs are copied out unless NULL. */
int two_outputs_run(two_outputs_t *m, const int8_t *input_left, const int8_t *input_right, int8_t *output_joined, int8_t *output_m_9_cut);

/* The same in slices: start, then step until it no longer returns RNNC_BUSY. One unit of the budget is one row
 * of one operator. */
void two_outputs_start(two_outputs_t *m);
int two_outputs_step(two_outputs_t *m, unsigned budget);

/* For programs that handle any model. */
extern const rnnc_model two_outputs_model;

static inline int8_t two_outputs_quantise_input_left(float real) {
    float steps = real / TWO_OUTPUTS_INPUT_LEFT_SCALE;
    if (!(steps > (float)(-128 - TWO_OUTPUTS_INPUT_LEFT_ZERO_POINT))) {
        return -128;
    }
    if (steps >= (float)(127 - TWO_OUTPUTS_INPUT_LEFT_ZERO_POINT)) {
        return 127;
    }
    int32_t nearest = (int32_t)(steps < 0.0f ? steps - 0.5f : steps + 0.5f);
    float error = steps - (float)nearest;
    if (nearest % 2 != 0 && (error == 0.5f || error == -0.5f)) { /* halves to even, as ONNX does */
        nearest += error < 0.0f ? -1 : 1;
    }
    return (int8_t)(nearest + TWO_OUTPUTS_INPUT_LEFT_ZERO_POINT);
}

static inline int8_t two_outputs_quantise_input_right(float real) {
    float steps = real / TWO_OUTPUTS_INPUT_RIGHT_SCALE;
    if (!(steps > (float)(-128 - TWO_OUTPUTS_INPUT_RIGHT_ZERO_POINT))) {
        return -128;
    }
    if (steps >= (float)(127 - TWO_OUTPUTS_INPUT_RIGHT_ZERO_POINT)) {
        return 127;
    }
    int32_t nearest = (int32_t)(steps < 0.0f ? steps - 0.5f : steps + 0.5f);
    float error = steps - (float)nearest;
    if (nearest % 2 != 0 && (error == 0.5f || error == -0.5f)) { /* halves to even, as ONNX does */
        nearest += error < 0.0f ? -1 : 1;
    }
    return (int8_t)(nearest + TWO_OUTPUTS_INPUT_RIGHT_ZERO_POINT);
}

static inline float two_outputs_dequantise_output_joined(int8_t stored) {
    return TWO_OUTPUTS_OUTPUT_JOINED_SCALE * (float)(stored - TWO_OUTPUTS_OUTPUT_JOINED_ZERO_POINT);
}

static inline float two_outputs_dequantise_output_m_9_cut(int8_t stored) {
    return TWO_OUTPUTS_OUTPUT_M_9_CUT_SCALE * (float)(stored - TWO_OUTPUTS_OUTPUT_M_9_CUT_ZERO_POINT);
}

#endif
