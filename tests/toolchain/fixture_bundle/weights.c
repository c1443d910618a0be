/* weights.c: the built-in input of the fixture model. */
#include <stdint.h>

extern const int8_t tiny_sample[12];
const int8_t tiny_sample[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 127};
