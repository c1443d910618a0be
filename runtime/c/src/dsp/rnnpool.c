/* RNNPool's primitives for cores with the Armv7E-M SIMD instructions: two hidden units at a time.
 *
 * The fused product keeps two rows of weights times four lanes in registers: 10 loads for 16 SMLADs
 * per pair of columns. RNNC_RNNPOOL_LIBRARY takes CMSIS-DSP's arm_mat_vec_mult_q15 in its place,
 * which gives the same bytes.
 */
#include "rnnc_rnnpool.h"

#if RNNC_USE_DSP

#include <arm_acle.h>
#include <stddef.h>
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

/* `used` keeps compilers from changing the parameters, which they do not see the assembly use. */
#define ASSEMBLY __attribute__((naked, noinline, used))

#define UNUSED __attribute__((unused))

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

/* The assembly below knows these places. */
typedef char places_of_a_cell[offsetof(rnnc_rnn_matrix, rows) == 4 && offsetof(rnnc_rnn_cell, bias) == 16 &&
                                      offsetof(rnnc_rnn_cell, blend) == 28
                                  ? 1
                                  : -1];

/* Instructions stand one to a line. */
/* clang-format off */
#define SET(sum, a, b) "smuad " sum ", " a ", " b "\n"
#define ADD(sum, a, b) "smlad " sum ", " a ", " b ", " sum "\n"

/* Two units' products with two columns, `at` bytes from the first, of four lanes; `row` is the bytes
 * of a row. r0 weights, r1 vectors, sums r4 to r11 with the two units of a lane side by side. */
#define TWO_COLUMNS(at, row, SUM)                             \
    "ldr r2, [r0, #" at "]\n"                                 \
    "ldr r3, [r0, #" at "+" row "]\n"                         \
    "ldr r12, [r1, #" at "]\n"                                \
    "ldr lr, [r1, #" at "+" row "]\n"                         \
    SUM("r4", "r2", "r12") SUM("r5", "r3", "r12")             \
    SUM("r6", "r2", "lr") SUM("r7", "r3", "lr")               \
    "ldr r12, [r1, #" at "+2*" row "]\n"                      \
    "ldr lr, [r1, #" at "+3*" row "]\n"                       \
    SUM("r8", "r2", "r12") SUM("r9", "r3", "r12")             \
    SUM("r10", "r2", "lr") SUM("r11", "r3", "lr")

#define PACK(low, high)                       \
    "ssat " low ", #16, " low ", asr #15\n"   \
    "ssat " high ", #16, " high ", asr #15\n" \
    "pkhbt " low ", " low ", " high ", lsl #16\n"

/* The arguments are those of rnnc_rnn_product; r1's place on the stack holds the end of the weights.
 */
#define BEGIN_PRODUCT(row)                                        \
    "lsl r3, r3, #1\n"                                            \
    "push {r1-r11, lr}\n"                                         \
    "ldr r12, [r0, #4]\n"                                         \
    "ldr r0, [r0]\n"                                              \
    "mov r2, #" row "\n"                                          \
    "mla r12, r12, r2, r0\n"                                      \
    "str r12, [sp]\n"

#define PRODUCT_OF_FOUR_LANES(columns, row)                       \
    BEGIN_PRODUCT(row)                                            \
    "1: " columns                                                 \
    "ldr r2, [sp, #4]\n"                                          \
    "ldr r3, [sp, #8]\n"                                          \
    "ldr r12, [sp]\n"                                             \
    PACK("r4", "r5") PACK("r6", "r7") PACK("r8", "r9") PACK("r10", "r11") \
    "add r5, r2, r3\n"                                            \
    "add r7, r5, r3\n"                                            \
    "add r9, r7, r3\n"                                            \
    "add r0, r0, #2*" row "\n"                                    \
    "str r4, [r2], #4\n"                                          \
    "str r6, [r5]\n"                                              \
    "str r8, [r7]\n"                                              \
    "str r10, [r9]\n"                                             \
    "str r2, [sp, #4]\n"                                          \
    "cmp r0, r12\n"                                               \
    "bne 1b\n"                                                    \
    "pop {r1-r11, pc}\n"

/* The products of matrices with 16, 8 and 4 columns and no shift. In assembly because
 * eight sums and two addresses leave four registers, which compilers do not make do with. */
ASSEMBLY static void product_of_16(const rnnc_rnn_matrix *m UNUSED, const int16_t *vectors UNUSED,
                                   int16_t *out UNUSED, int32_t pitch UNUSED) {
    __asm__ volatile(
        PRODUCT_OF_FOUR_LANES(
            TWO_COLUMNS("0", "32", SET) TWO_COLUMNS("4", "32", ADD) TWO_COLUMNS("8", "32", ADD)
            TWO_COLUMNS("12", "32", ADD) TWO_COLUMNS("16", "32", ADD) TWO_COLUMNS("20", "32", ADD)
            TWO_COLUMNS("24", "32", ADD) TWO_COLUMNS("28", "32", ADD), "32") ::: "memory");
}

ASSEMBLY static void product_of_8(const rnnc_rnn_matrix *m UNUSED, const int16_t *vectors UNUSED,
                                  int16_t *out UNUSED, int32_t pitch UNUSED) {
    __asm__ volatile(
        PRODUCT_OF_FOUR_LANES(
            TWO_COLUMNS("0", "16", SET) TWO_COLUMNS("4", "16", ADD) TWO_COLUMNS("8", "16", ADD)
            TWO_COLUMNS("12", "16", ADD), "16") ::: "memory");
}

/* Two units of one lane whose vector is in x and y; weights r8 to r11. */
#define FOUR_COLUMNS(x, y, to)                    \
    SET("r12", "r8", x) ADD("r12", "r9", y)       \
    SET("lr", "r10", x) ADD("lr", "r11", y)       \
    PACK("r12", "lr")                             \
    "str r12, [" to "], #4\n"

/* Two lanes' vectors stay in r4 to r7 while the weights pass by. No LDM: it would want more than the
 * alignment of int16. */
#define TWO_LANES                                 \
    "ldr r4, [r1]\n"                              \
    "ldr r5, [r1, #4]\n"                          \
    "ldr r6, [r1, #8]\n"                          \
    "ldr r7, [r1, #12]\n"                         \
    "add r1, r1, #16\n"                           \
    "add r3, r2, r3\n"                            \
    "push {r0, r1, r3}\n"                         \
    "ldr r1, [sp, #12]\n"                         \
    "1: ldr r8, [r0]\n"                           \
    "ldr r9, [r0, #4]\n"                          \
    "ldr r10, [r0, #8]\n"                         \
    "ldr r11, [r0, #12]\n"                        \
    "add r0, r0, #16\n"                           \
    FOUR_COLUMNS("r4", "r5", "r2")                \
    FOUR_COLUMNS("r6", "r7", "r3")                \
    "cmp r0, r1\n"                                \
    "bne 1b\n"                                    \
    "pop {r0, r1, r2}\n"                          \
    "ldr r3, [sp, #8]\n"

ASSEMBLY static void product_of_4(const rnnc_rnn_matrix *m UNUSED, const int16_t *vectors UNUSED,
                                  int16_t *out UNUSED, int32_t pitch UNUSED) {
    __asm__ volatile(
        BEGIN_PRODUCT("8")
        "ldr r2, [sp, #4]\n"
        TWO_LANES
        "add r2, r2, r3\n"
        TWO_LANES
        "pop {r1-r11, pc}\n" ::: "memory");
}

/* clang-format on */

/* Any number of columns: two lanes at a time, as the addresses need registers too. Not
 * inlined: its registers would be saved for the other products as well. */
__attribute__((noinline)) static void product_of_any(const rnnc_rnn_matrix *m, const int16_t *vectors,
                                                     int16_t *out, int32_t pitch) {
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
    if (m->shift == 0 && m->columns == 16) {
        product_of_16(m, vectors, out, pitch);
    } else if (m->shift == 0 && m->columns == 8) {
        product_of_8(m, vectors, out, pitch);
    } else if (m->shift == 0 && m->columns == 4) {
        product_of_4(m, vectors, out, pitch);
    } else {
        product_of_any(m, vectors, out, pitch);
    }
}

#endif

/* Bytes 0 and 2 of `four` less the zero point of both halves, shifted left by 7. */
static inline uint32_t centre_two(uint32_t four, int32_t zero_points) {
    return (uint32_t)__ssub16(__sxtb16((int32_t)four), zero_points) << 7 & 0xFF80FF80u;
}

void rnnc_rnn_centre(const int8_t *values, int32_t count, int32_t zero_point, int16_t *out) {
    const int32_t zero_points = (int32_t)(((uint32_t)zero_point & 0xFFFF) * 0x10001u);
    for (; count >= 4; count -= 4, values += 4, out += 4) {
        uint32_t four;
        memcpy(&four, values, sizeof(four));
        uint32_t even = centre_two(four, zero_points);
        uint32_t odd = centre_two(four >> 8 | four << 24, zero_points);
        uint32_t pairs[2] = {(even & 0xFFFF) | odd << 16, even >> 16 | (odd & 0xFFFF0000u)};
        memcpy(out, pairs, sizeof(pairs));
    }
    for (int32_t i = 0; i < count; ++i) {
        out[i] = (int16_t)((values[i] - zero_point) * 128);
    }
}

/* `table` points at the segment of 0; `index` and `within` are the upper and the lower bits of the
 * argument, the lower ones shifted left by 9. */
static inline int32_t interpolate(const int32_t *table, int32_t index, int32_t within) {
    int32_t entry = table[index];
    return __smlabb(entry, within, entry) >> 16;
}

/* Gate values of two units whose arguments are packed in x; `smooth` is a literal. */
static inline __attribute__((always_inline)) void gates(const int32_t *table, int smooth, int32_t x,
                                                        int32_t *low, int32_t *high) {
    if (smooth) {
        x = saturate_pair_to_15_bits(x);
        *low = interpolate(table, (int16_t)x >> 6, (x & 63) << 9);
        *high = interpolate(table, x >> 22, (x >> 16 & 63) << 9);
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
    const int32_t hidden = cell->recurrent.rows, blend = cell->blend;
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
            int32_t low = z0 * (int16_t)h + saturate_q15_positive(__smlabb(blend, z0, blend)) * u0;
            int32_t high = z1 * (h >> 16) + saturate_q15_positive(__smlabb(blend, z1, blend)) * u1;
            store_pair(state, saturate_q15(low), saturate_q15(high));
            recurrent += 2;
            state += 2;
        }
    }
}

/* clang-format off */
/* Two units of a lane. r0 input, r2 recurrent, r3 state, r4 bias, r5 mask and count: the mask takes
 * the positions in a segment out of a pair shifted left by 9, whose lower 9 bits are 0 and so free
 * for the count of pairs still to do. r6 and r7 the middles of the tables, r8 blend; the rest is free. Sums r1, gate and update arguments r10 and r11, values z0 r1,
 * z1 r9, u0 r12, u1 lr in the upper halves. */
#define TWO_UNITS                      \
    "ldr r1, [r0], #4\n"               \
    "ldr r9, [r2], #4\n"               \
    "ldr r10, [r4], #4\n"              \
    "ldr r11, [r4], #4\n"              \
    "qadd16 r1, r1, r9\n"              \
    "qadd16 r10, r1, r10\n"            \
    "qadd16 r11, r1, r11\n"            \
    "ssat16 r10, #15, r10\n"           \
    "ssat16 r11, #15, r11\n"           \
    "sbfx r1, r10, #6, #10\n"          \
    "asr r9, r10, #22\n"               \
    "sbfx r12, r11, #6, #10\n"         \
    "asr lr, r11, #22\n"               \
    "and r10, r5, r10, lsl #9\n"       \
    "and r11, r5, r11, lsl #9\n"       \
    "ldr r1, [r6, r1, lsl #2]\n"       \
    "ldr r9, [r6, r9, lsl #2]\n"       \
    "ldr r12, [r7, r12, lsl #2]\n"     \
    "ldr lr, [r7, lr, lsl #2]\n"       \
    "smlabb r1, r1, r10, r1\n"         \
    "smlabt r9, r9, r10, r9\n"         \
    "ldr r10, [r3]\n"                  \
    "smlabb r12, r12, r11, r12\n"      \
    "smlabt lr, lr, r11, lr\n"         \
    "smlabt r11, r8, r1, r8\n"         \
    "usat r11, #15, r11, asr #15\n"    \
    "smultb r1, r1, r10\n"             \
    "smlabt r1, r11, r12, r1\n"        \
    "smlabt r11, r8, r9, r8\n"         \
    "usat r11, #15, r11, asr #15\n"    \
    "smultt r9, r9, r10\n"             \
    "smlabt r9, r11, lr, r9\n"         \
    "ssat r1, #16, r1, asr #15\n"      \
    "ssat r9, #16, r9, asr #15\n"      \
    "pkhbt r1, r1, r9, lsl #16\n"      \
    "str r1, [r3], #4\n"

/* rnnc_rnn_update with both tables. In assembly because the loop needs every register, and compilers
 * spill. Pairs of units are done four at a time, the remainder of a division by four first. On the stack: bias, mask and count,
 * end of inputs, inputs. */
ASSEMBLY static void update_smoothly(const rnnc_rnn_cell *cell UNUSED, const int16_t *const *inputs UNUSED,
                                     const int16_t *recurrent UNUSED, int16_t *state UNUSED) {
    __asm__ volatile(
        "ldr r12, [r0, #4]\n"
        "push {r0, r1, r4-r11, lr}\n"
        "add r0, r0, #16\n"
        "ldm r0, {r4, r6, r7, r8}\n"
        "movw r5, #0x7E00\n"
        "movt r5, #0x7E00\n"
        "add r5, r5, r12, lsr #1\n"
        "add r6, r6, #1024\n"
        "add r7, r7, #1024\n"
        "add r12, r1, #16\n"
        "str r12, [sp]\n"
        "push {r4, r5}\n"
        "1: ldrd r4, r5, [sp]\n"
        "ldr r9, [sp, #12]\n"
        "ldr r0, [r9], #4\n"
        "str r9, [sp, #12]\n"
        "ands r1, r5, #3\n"
        "beq 2f\n"
        "sub r5, r5, r1\n"
        "add r5, r5, #4\n"
        "cmp r1, #2\n"
        "bhi 3f\n"
        "beq 4f\n"
        "b 5f\n"
        "2: " TWO_UNITS "3: " TWO_UNITS "4: " TWO_UNITS "5: " TWO_UNITS
        "sub r5, r5, #4\n"
        "lsls r1, r5, #23\n"
        "bne 2b\n"
        "ldr r9, [sp, #8]\n"
        "ldr r12, [sp, #12]\n"
        "cmp r9, r12\n"
        "bne 1b\n"
        "add sp, sp, #16\n"
        "pop {r4-r11, pc}\n" ::: "memory");
}

/* clang-format on */

/* rnnc_rnn_update without tables, or with one. Not inlined: its registers would be saved for
 * update_smoothly too. */
__attribute__((noinline)) static void update_piecewise(const rnnc_rnn_cell *cell,
                                                       const int16_t *const *inputs, const int16_t *recurrent,
                                                       int16_t *state) {
    if (cell->gate_table != NULL) {
        update_lanes(cell, inputs, recurrent, state, 1, 0);
    } else if (cell->update_table != NULL) {
        update_lanes(cell, inputs, recurrent, state, 0, 1);
    } else {
        update_lanes(cell, inputs, recurrent, state, 0, 0);
    }
}

void rnnc_rnn_update(const rnnc_rnn_cell *cell, const int16_t *const *inputs, const int16_t *recurrent,
                     int16_t *state) {
    if (cell->gate_table != NULL && cell->update_table != NULL) {
        update_smoothly(cell, inputs, recurrent, state);
    } else {
        update_piecewise(cell, inputs, recurrent, state);
    }
}

#endif
