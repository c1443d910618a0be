/* Addition for the Armv7E-M SIMD instructions: one SMLAD per element, four elements per iteration.
 */
#include "rnnc_elementwise.h"
#include "rnnc_simd.h"

#if RNNC_USE_DSP

typedef struct {
    uint32_t multipliers; /* a in the low half, b in the high half */
    int32_t bias, shift;
    uint32_t low, high; /* in all four bytes */
} add_constants;

/* Bytes 0 of the halfwords of `even` and of `odd`, in turn. */
static inline uint32_t interleave(uint32_t even, uint32_t odd) {
    return (even & 0x00FF00FFu) | ((odd & 0x00FF00FFu) << 8);
}

/* Byte by byte; SSUB8 sets the flags by which SEL chooses. */
static inline uint32_t clamp_bytes(uint32_t x, const add_constants *k) {
    uint32_t y, unused;
    __asm__(
        "ssub8 %1, %2, %3\n"
        "sel %0, %2, %3\n"
        "ssub8 %1, %0, %4\n"
        "sel %0, %4, %0\n"
        : "=&r"(y), "=&r"(unused)
        : "r"(x), "r"(k->low), "r"(k->high)
        : "cc");
    return y;
}

/* saturated (a * multiplier_a + b * multiplier_b + bias) >> shift; the pair holds a low and b high
 */
static inline uint32_t add_pair(uint32_t pair, const add_constants *k) {
    return (uint32_t)rnnc_saturate(rnnc_dual_mac(k->bias, pair, k->multipliers) >> k->shift);
}

static inline uint32_t add_word(uint32_t a, uint32_t b, const add_constants *k) {
    uint32_t a02 = rnnc_even_bytes(a);
    uint32_t a13 = rnnc_odd_bytes(a);
    uint32_t b02 = rnnc_even_bytes(b);
    uint32_t b13 = rnnc_odd_bytes(b);
    uint32_t y0 = add_pair(rnnc_low_halves(a02, b02), k);
    uint32_t y1 = add_pair(rnnc_low_halves(a13, b13), k);
    uint32_t y2 = add_pair(rnnc_high_halves(a02, b02), k);
    uint32_t y3 = add_pair(rnnc_high_halves(a13, b13), k);
    return interleave(rnnc_low_halves(y0, y2), rnnc_low_halves(y1, y3));
}

/* Words up to `end`; `clamped` is a literal. */
static inline __attribute__((always_inline)) void add_words(const int8_t *a, const int8_t *b, int8_t *out,
                                                            const int8_t *end, const add_constants *k,
                                                            int clamped) {
    for (; out != end; a += 4, b += 4, out += 4) {
        uint32_t y = add_word(rnnc_load_word(a), rnnc_load_word(b), k);
        y = clamped ? clamp_bytes(y, k) : y;
        memcpy(out, &y, sizeof(y));
    }
}

static void add_run(const int8_t *a, const int8_t *b, int8_t *out, int32_t count, const add_constants *k) {
    int32_t whole = count & ~3;
    if (k->low == 0x80808080u && k->high == 0x7F7F7F7Fu) {
        add_words(a, b, out, out + whole, k, 0);
    } else {
        add_words(a, b, out, out + whole, k, 1);
    }
    for (int32_t i = whole; i < count; ++i) {
        uint32_t pair = rnnc_low_halves((uint32_t)a[i], (uint32_t)b[i]);
        out[i] = (int8_t)clamp_bytes(add_pair(pair, k), k);
    }
}

void rnnc_add_s8(const void *params, const rnnc_job *job) {
    const rnnc_add *p = params;
    const int8_t *a = job->rows[0];
    const int8_t *b = job->rows[1];
    int8_t *out = job->out;
    const add_constants k = {
        .multipliers = rnnc_low_halves((uint32_t)p->multiplier_a, (uint32_t)p->multiplier_b),
        .bias = p->bias,
        .shift = p->shift,
        .low = ((uint32_t)p->low & 0xFFu) * 0x01010101u,
        .high = ((uint32_t)p->high & 0xFFu) * 0x01010101u,
    };
    for (int32_t base = 0; base < p->elements; base += p->period) {
        add_run(a + base, b, out + base, p->period, &k);
    }
}

#endif
