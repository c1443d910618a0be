/* model.h: a model small enough to check by eye: 4 rows of 5 int8 values, each plus one, saturated.
 */
#ifndef TINY_MODEL_H
#define TINY_MODEL_H

#include "rnnc.h"

#define TINY_ARENA_SIZE 40

typedef struct tiny {
    rnnc_engine engine;
    uint16_t counters[3];
} tiny_t;

extern const rnnc_model tiny_model;

int tiny_init(tiny_t *m, void *arena, size_t size);
int tiny_run(tiny_t *m, const int8_t *input, int8_t *output);

#endif
