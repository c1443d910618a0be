/* Addition for the Armv7E-M SIMD instructions: one SMLAD per element, four elements per iteration. */
#include "rnnc_elementwise.h"

#if RNNC_USE_DSP

#include <string.h>

typedef struct {
    int16x2_t multipliers; /* a in the low half, b in the high half */
    int32_t bias, shift;
    int8x4_t low, high; /* in all four lanes */
} add_constants;

static inline uint32_t load4(const int8_t *p) {
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

static inline uint32_t low_halves(uint32_t a, uint32_t b) {
    uint32_t pair;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(pair) : "r"(a), "r"(b));
    return pair;
}

static inline uint32_t high_halves(uint32_t a, uint32_t b) {
    uint32_t pair;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(pair) : "r"(b), "r"(a));
    return pair;
}

/* bytes 1 and 3 as halfwords; 0 and 2 are __sxtb16 */
static inline uint32_t odd_bytes(uint32_t x) {
    uint32_t halves;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(halves) : "r"(x));
    return halves;
}

/* saturated (a * multiplier_a + b * multiplier_b + bias) >> shift; the pair holds a low and b high */
static inline uint32_t add_pair(uint32_t pair, const add_constants *k) {
    int32_t acc = __smlad((int16x2_t)pair, k->multipliers, k->bias) >> k->shift;
    uint32_t saturated;
    __asm__("ssat %0, #8, %1" : "=r"(saturated) : "r"(acc) : "cc");
    return saturated;
}

/* Lane-wise clamp of four int8: SSUB8 sets the flags by which SEL chooses. */
static inline uint32_t clamp4(uint32_t x, const add_constants *k) {
    (void)__ssub8((int8x4_t)x, k->low);
    x = (uint32_t)__sel((uint8x4_t)x, (uint8x4_t)k->low);
    (void)__ssub8((int8x4_t)x, k->high);
    return (uint32_t)__sel((uint8x4_t)k->high, (uint8x4_t)x);
}

static inline uint32_t add4(uint32_t a, uint32_t b, const add_constants *k) {
    uint32_t a02 = (uint32_t)__sxtb16((int8x4_t)a);
    uint32_t a13 = odd_bytes(a);
    uint32_t b02 = (uint32_t)__sxtb16((int8x4_t)b);
    uint32_t b13 = odd_bytes(b);
    uint32_t y0 = add_pair(low_halves(a02, b02), k);
    uint32_t y1 = add_pair(low_halves(a13, b13), k);
    uint32_t y2 = add_pair(high_halves(a02, b02), k);
    uint32_t y3 = add_pair(high_halves(a13, b13), k);
    uint32_t even = (uint32_t)__uxtb16((uint8x4_t)low_halves(y0, y2));
    uint32_t odd = (uint32_t)__uxtb16((uint8x4_t)low_halves(y1, y3));
    return clamp4(even | (odd << 8), k);
}

static void add_run(const int8_t *a, const int8_t *b, int8_t *out, int32_t count, const add_constants *k) {
    int32_t i = 0;
    for (; i + 4 <= count; i += 4) {
        uint32_t y = add4(load4(a + i), load4(b + i), k);
        memcpy(out + i, &y, sizeof y);
    }
    for (; i < count; ++i) {
        uint32_t pair = low_halves((uint32_t)a[i], (uint32_t)b[i]);
        out[i] = (int8_t)clamp4(add_pair(pair, k) & 0xFFu, k);
    }
}

void rnnc_add_s8(const void *params, const rnnc_job *job) {
    const rnnc_add *p = params;
    const int8_t *a = job->rows[0];
    const int8_t *b = job->rows[1];
    int8_t *out = job->out;
    const add_constants k = {
        .multipliers = (int16x2_t)low_halves((uint32_t)p->multiplier_a, (uint32_t)p->multiplier_b),
        .bias = p->bias,
        .shift = p->shift,
        .low = (int8x4_t)(((uint32_t)p->low & 0xFFu) * 0x01010101u),
        .high = (int8x4_t)(((uint32_t)p->high & 0xFFu) * 0x01010101u),
    };
    for (int32_t base = 0; base < p->elements; base += p->period) {
        add_run(a + base, b, out + base, p->period, &k);
    }
}

#endif
