/* RNNPool's primitives for cores with the Armv7E-M SIMD instructions: two hidden units at a time.
 *
 * The fused product keeps two rows of weights times four lanes in registers: 10 loads for 16 SMLADs
 * per pair of columns. RNNC_RNNPOOL_LIBRARY takes CMSIS-DSP's arm_mat_vec_mult_q15 in its place,
 * which gives the same bytes.
 */
#include "rnnc_rnnpool.h"

#if RNNC_USE_DSP

#include <arm_acle.h>
#include <string.h>

#if RNNC_RNNPOOL_LIBRARY
#include "dsp/basic_math_functions.h"
#include "dsp/matrix_functions.h"
#endif

static inline int32_t load_pair(const int16_t *from) {
    int32_t pair;
    memcpy(&pair, from, sizeof(pair));
    return pair;
}

static inline void store_pair(int16_t *to, int32_t low, int32_t high) {
    uint32_t pair;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(pair) : "r"(low), "r"(high));
    memcpy(to, &pair, sizeof(pair));
}

/* ssat and usat with the shift that they can do on the way, which compilers do not fuse into ACLE's
 * intrinsics. */
#define RNNC_SATURATE(name, instruction, bits, shift)                       \
    static inline int32_t name(int32_t x) {                                 \
        int32_t y;                                                          \
        __asm__(instruction " %0, #" bits ", %1" shift : "=r"(y) : "r"(x)); \
        return y;                                                           \
    }

RNNC_SATURATE(saturate, "ssat", "16", "")
RNNC_SATURATE(saturate_q15, "ssat", "16", ", asr #15")
RNNC_SATURATE(saturate_q15_positive, "usat", "15", ", asr #15")
RNNC_SATURATE(saturate_times_8_positive, "usat", "15", ", lsl #3")
RNNC_SATURATE(saturate_times_16, "ssat", "16", ", lsl #4")
RNNC_SATURATE(saturate_pair_to_15_bits, "ssat16", "15", "")

#if RNNC_RNNPOOL_LIBRARY

void rnnc_rnn_product(const rnnc_rnn_matrix *m, const int16_t *vectors, int16_t *out, int32_t pitch) {
    arm_matrix_instance_q15 matrix;
    /* the library's type has no const, but its product only reads */
    arm_mat_init_q15(&matrix, (uint16_t)m->rows, (uint16_t)m->columns, (q15_t *)(uintptr_t)m->weights);
    for (int32_t lane = 0; lane < RNNC_RNN_LANES; ++lane, out += pitch) {
        arm_mat_vec_mult_q15(&matrix, vectors + lane * m->columns, out);
        if (m->shift > 0) {
            arm_shift_q15(out, (int8_t)m->shift, out, (uint32_t)m->rows);
        }
    }
}

#else

static inline int32_t shifted(int32_t sum, int32_t shift) {
    return saturate(rnnc_shift_left(saturate_q15(sum), shift));
}

/* Two units of one lane. */
static inline void store_sums(int16_t *to, int32_t low, int32_t high, int32_t shift) {
    if (shift == 0) {
        store_pair(to, saturate_q15(low), saturate_q15(high));
    } else {
        store_pair(to, shifted(low, shift), shifted(high, shift));
    }
}

/* Columns 2 j and 2 j + 1 of two units by four lanes; `mac` is "smuad" and `sum` empty for the first
 * ones. By hand because compilers separate the loads, which then do not pipeline, and spill. */
#define RNNC_COLUMN_PAIR(j, mac, a0, b0, a1, b1, a2, b2, a3, b3)                              \
    "ldr %[a], [%[w], #4*" j                                                                  \
    "]\n"                                                                                     \
    "ldr %[b], [%[w], #4*" j                                                                  \
    "+2*%c[columns]]\n"                                                                       \
    "ldr %[x], [%[v], #4*" j                                                                  \
    "]\n"                                                                                     \
    "ldr %[y], [%[v], #4*" j "+2*%c[columns]]\n" mac " %[a0], %[a], %[x]" a0 "\n" mac         \
    " %[b0], %[b], %[x]" b0 "\n" mac " %[a1], %[a], %[y]" a1 "\n" mac " %[b1], %[b], %[y]" b1 \
    "\n"                                                                                      \
    "ldr %[x], [%[v], #4*" j                                                                  \
    "+4*%c[columns]]\n"                                                                       \
    "ldr %[y], [%[v], #4*" j "+6*%c[columns]]\n" mac " %[a2], %[a], %[x]" a2 "\n" mac         \
    " %[b2], %[b], %[x]" b2 "\n" mac " %[a3], %[a], %[y]" a3 "\n" mac " %[b3], %[b], %[y]" b3 "\n"
#define RNNC_FIRST RNNC_COLUMN_PAIR("0", "smuad", "", "", "", "", "", "", "", "")
#define RNNC_MORE(j)                                                                               \
    RNNC_COLUMN_PAIR(j, "smlad", ", %[a0]", ", %[b0]", ", %[a1]", ", %[b1]", ", %[a2]", ", %[b2]", \
                     ", %[a3]", ", %[b3]")
#define RNNC_COLUMNS_4 RNNC_FIRST RNNC_MORE("1")
#define RNNC_COLUMNS_8 RNNC_COLUMNS_4 RNNC_MORE("2") RNNC_MORE("3")
#define RNNC_COLUMNS_16 RNNC_COLUMNS_8 RNNC_MORE("4") RNNC_MORE("5") RNNC_MORE("6") RNNC_MORE("7")

#define RNNC_STORE_UNITS(a, b) \
    "ssat %[" a "], #16, %[" a \
    "], asr #15\n"             \
    "ssat %[" b "], #16, %[" b \
    "], asr #15\n"             \
    "pkhbt %[" a "], %[" a "], %[" b "], lsl #16\n"

/* All units of four lanes for a literal number of columns and a shift of 0. */
#define RNNC_PRODUCT(name, count)                                                                           \
    static void name(const rnnc_rnn_matrix *m, const int16_t *v, int16_t *out, int32_t pitch) {             \
        const int16_t *w = m->weights, *end = w + m->rows * (count);                                        \
        int32_t pitch_bytes = 2 * pitch, a0, a1, a2, a3, b0, b1, b2, b3, a, b, x, y;                        \
        __asm__ volatile(                                                                                 \
            "1:\n" RNNC_COLUMNS_##count RNNC_STORE_UNITS("a0", "b0") RNNC_STORE_UNITS("a1", "b1")         \
                RNNC_STORE_UNITS("a2", "b2") RNNC_STORE_UNITS("a3", "b3")                                 \
            "ldr %[a], %[out]\n"                                                                          \
            "ldr %[b], %[pitch]\n"                                                                        \
            "ldr %[y], %[end]\n"                                                                          \
            "add %[w], #4*%c[columns]\n"                                                                  \
            "add %[x], %[a], %[b], lsl #1\n"                                                              \
            "str %[a0], [%[a]]\n"                                                                         \
            "str %[a1], [%[a], %[b]]\n"                                                                   \
            "str %[a2], [%[x]]\n"                                                                         \
            "str %[a3], [%[x], %[b]]\n"                                                                   \
            "adds %[a], #4\n"                                                                             \
            "str %[a], %[out]\n"                                                                          \
            "cmp %[w], %[y]\n"                                                                            \
            "bne 1b\n"                                                                                    \
            : [w] "+r"(w), [a0] "=&r"(a0), [a1] "=&r"(a1), [a2] "=&r"(a2), [a3] "=&r"(a3),                \
              [b0] "=&r"(b0), [b1] "=&r"(b1), [b2] "=&r"(b2), [b3] "=&r"(b3), [a] "=&r"(a),               \
              [b] "=&r"(b), [x] "=&r"(x), [y] "=&r"(y), [out] "+m"(out)                                   \
            : [v] "r"(v), [pitch] "m"(pitch_bytes), [end] "m"(end), [columns] "i"(count)                  \
            : "cc", "memory"); \
    }

RNNC_PRODUCT(product_of_4, 4)
RNNC_PRODUCT(product_of_8, 8)
RNNC_PRODUCT(product_of_16, 16)

/* Any number of columns: two lanes at a time, as the addresses need registers too. */
static void product_of_any(const rnnc_rnn_matrix *m, const int16_t *vectors, int16_t *out, int32_t pitch) {
    int32_t columns = m->columns;
    for (int32_t lane = 0; lane < RNNC_RNN_LANES; lane += 2, out += 2 * pitch) {
        const int16_t *v = vectors + lane * columns;
        const int16_t *w = m->weights;
        for (int32_t i = 0; i < m->rows; i += 2, w += columns) {
            int32_t a0 = 0, a1 = 0, b0 = 0, b1 = 0;
            for (int32_t j = 0; j < columns; j += 2, w += 2) {
                int32_t a = load_pair(w), b = load_pair(w + columns);
                int32_t x = load_pair(v + j), y = load_pair(v + columns + j);
                a0 = __smlad(a, x, a0);
                b0 = __smlad(b, x, b0);
                a1 = __smlad(a, y, a1);
                b1 = __smlad(b, y, b1);
            }
            store_sums(out + i, a0, b0, m->shift);
            store_sums(out + pitch + i, a1, b1, m->shift);
        }
    }
}

void rnnc_rnn_product(const rnnc_rnn_matrix *m, const int16_t *vectors, int16_t *out, int32_t pitch) {
    if (m->shift == 0 && m->columns == 4) {
        product_of_4(m, vectors, out, pitch);
    } else if (m->shift == 0 && m->columns == 8) {
        product_of_8(m, vectors, out, pitch);
    } else if (m->shift == 0 && m->columns == 16) {
        product_of_16(m, vectors, out, pitch);
    } else {
        product_of_any(m, vectors, out, pitch);
    }
}

#endif

/* `table` points at the segment of 0; `index` and `within` are the upper and the lower bits of the
 * argument. */
static inline int32_t interpolate(const int32_t *table, int32_t index, int32_t within) {
    int32_t entry = table[index];
    return (entry >> 16) + (__smlabb(entry, within, 32) >> 6);
}

/* Gate values of two units whose arguments are packed in x; `smooth` is a literal. */
static inline __attribute__((always_inline)) void gates(const int32_t *table, int smooth, int32_t x,
                                                        int32_t *low, int32_t *high) {
    if (smooth) {
        x = saturate_pair_to_15_bits(x);
        *low = interpolate(table, (int16_t)x >> 6, x & 63);
        *high = interpolate(table, x >> 22, x >> 16 & 63);
    } else {
        *low = saturate_times_8_positive((int16_t)x + 2048);
        *high = saturate_times_8_positive((x >> 16) + 2048);
    }
}

static inline __attribute__((always_inline)) void updates(const int32_t *table, int smooth, int32_t x,
                                                          int32_t *low, int32_t *high) {
    if (smooth) {
        gates(table, smooth, x, low, high);
    } else {
        *low = saturate_times_16((int16_t)x);
        *high = saturate_times_16(x >> 16);
    }
}

static inline __attribute__((always_inline)) void update_lanes(const rnnc_rnn_cell *cell,
                                                               const int16_t *const *inputs,
                                                               const int16_t *recurrent, int16_t *state,
                                                               int smooth_gate, int smooth_update) {
    const int32_t hidden = cell->recurrent.rows, zeta = cell->zeta, mix = cell->mix;
    const int32_t *gate_table = smooth_gate ? cell->gate_table + 256 : NULL;
    const int32_t *update_table = smooth_update ? cell->update_table + 256 : NULL;
    for (int32_t lane = 0; lane < RNNC_RNN_LANES; ++lane) {
        const int16_t *input = inputs[lane];
        const int16_t *bias = cell->bias;
        for (const int16_t *end = input + hidden; input != end; input += 2, bias += 4) {
            int32_t sum = __qadd16(load_pair(input), load_pair(recurrent));
            int32_t z0, z1, u0, u1;
            gates(gate_table, smooth_gate, __qadd16(sum, load_pair(bias)), &z0, &z1);
            updates(update_table, smooth_update, __qadd16(sum, load_pair(bias + 2)), &u0, &u1);
            int32_t h = load_pair(state);
            int32_t low = __smlabb(z0, h, 1 << 14) + saturate_q15_positive(mix - zeta * z0) * u0;
            int32_t high = __smlabt(z1, h, 1 << 14) + saturate_q15_positive(mix - zeta * z1) * u1;
            store_pair(state, saturate_q15(low), saturate_q15(high));
            recurrent += 2;
            state += 2;
        }
    }
}

/* Sigmoid gate and tanh update of one lane, two units at a time. By hand because compilers separate
 * the loads, which then do not pipeline; zeta comes negative. */
static void update_smooth_lane(const rnnc_rnn_cell *cell, const int16_t *input, const int16_t *recurrent,
                               int16_t *state) {
    const int32_t *gate_table = cell->gate_table + 256, *update_table = cell->update_table + 256;
    const int16_t *bias = cell->bias, *end = input + cell->recurrent.rows;
    int32_t t0, t1, t2, t3, t4;
    __asm__ volatile(
        "1:\n"
        "ldr %[t0], [%[input]], #4\n"
        "ldr %[t1], [%[recurrent]], #4\n"
        "ldr %[t2], [%[bias]], #4\n"
        "ldr %[t3], [%[bias]], #4\n"
        "qadd16 %[t0], %[t0], %[t1]\n"
        "qadd16 %[t2], %[t0], %[t2]\n"
        "qadd16 %[t3], %[t0], %[t3]\n"
        "ssat16 %[t2], #15, %[t2]\n"
        "ssat16 %[t3], #15, %[t3]\n"
        "sbfx %[t0], %[t2], #6, #10\n"
        "asr %[t1], %[t2], #22\n"
        "ldr %[t0], [%[gates], %[t0], lsl #2]\n"
        "ldr %[t1], [%[gates], %[t1], lsl #2]\n"
        "and %[t4], %[t2], #63\n"
        "ubfx %[t2], %[t2], #16, #6\n"
        "smlabb %[t4], %[t0], %[t4], %[half]\n"
        "smlabb %[t2], %[t1], %[t2], %[half]\n"
        "asr %[t0], %[t0], #16\n"
        "asr %[t1], %[t1], #16\n"
        "add %[t0], %[t0], %[t4], asr #6\n"
        "add %[t1], %[t1], %[t2], asr #6\n"
        "pkhbt %[t0], %[t0], %[t1], lsl #16\n"
        "sbfx %[t1], %[t3], #6, #10\n"
        "asr %[t2], %[t3], #22\n"
        "ldr %[t1], [%[updates], %[t1], lsl #2]\n"
        "ldr %[t2], [%[updates], %[t2], lsl #2]\n"
        "and %[t4], %[t3], #63\n"
        "ubfx %[t3], %[t3], #16, #6\n"
        "smlabb %[t4], %[t1], %[t4], %[half]\n"
        "smlabb %[t3], %[t2], %[t3], %[half]\n"
        "asr %[t1], %[t1], #16\n"
        "asr %[t2], %[t2], #16\n"
        "add %[t1], %[t1], %[t4], asr #6\n"
        "add %[t2], %[t2], %[t3], asr #6\n"
        "smlabb %[t3], %[t0], %[zeta], %[mix]\n"
        "smlatb %[t4], %[t0], %[zeta], %[mix]\n"
        "usat %[t3], #15, %[t3], asr #15\n"
        "usat %[t4], #15, %[t4], asr #15\n"
        "mul %[t1], %[t1], %[t3]\n"
        "mul %[t2], %[t2], %[t4]\n"
        "ldr %[t3], [%[state]]\n"
        "ldr %[t4], %[end]\n"
        "smlabb %[t1], %[t0], %[t3], %[t1]\n"
        "smlatt %[t2], %[t0], %[t3], %[t2]\n"
        "add %[t1], %[t1], #16384\n"
        "add %[t2], %[t2], #16384\n"
        "ssat %[t1], #16, %[t1], asr #15\n"
        "ssat %[t2], #16, %[t2], asr #15\n"
        "pkhbt %[t1], %[t1], %[t2], lsl #16\n"
        "str %[t1], [%[state]], #4\n"
        "cmp %[input], %[t4]\n"
        "bne 1b\n"
        : [input] "+r"(input), [recurrent] "+r"(recurrent), [bias] "+r"(bias), [state] "+r"(state),
          [t0] "=&r"(t0), [t1] "=&r"(t1), [t2] "=&r"(t2), [t3] "=&r"(t3), [t4] "=&r"(t4)
        : [gates] "r"(gate_table), [updates] "r"(update_table), [half] "r"(32), [zeta] "r"(-cell->zeta),
          [mix] "r"(cell->mix), [end] "m"(end)
        : "cc", "memory");
}

void rnnc_rnn_update(const rnnc_rnn_cell *cell, const int16_t *const *inputs, const int16_t *recurrent,
                     int16_t *state) {
    if (cell->gate_table != NULL && cell->update_table != NULL) {
        int32_t hidden = cell->recurrent.rows;
        for (int32_t lane = 0; lane < RNNC_RNN_LANES; ++lane) {
            update_smooth_lane(cell, inputs[lane], recurrent + lane * hidden, state + lane * hidden);
        }
    } else if (cell->gate_table != NULL) {
        update_lanes(cell, inputs, recurrent, state, 1, 0);
    } else if (cell->update_table != NULL) {
        update_lanes(cell, inputs, recurrent, state, 0, 1);
    } else {
        update_lanes(cell, inputs, recurrent, state, 0, 0);
    }
}

#endif
