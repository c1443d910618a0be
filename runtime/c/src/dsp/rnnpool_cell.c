/* Products of RNNPool's matrices with the vectors of RNNC_RNN_LANES sweeps, for Armv7E-M.
 *
 * The fused product keeps two rows of weights times four lanes in registers: 6 loads for 8 SMLADs
 * per pair of columns. RNNC_RNNPOOL_LIBRARY takes CMSIS-DSP's arm_mat_vec_mult_q15 in its place,
 * which gives the same bytes.
 */
#include "rnnc_rnnpool_simd.h"

#if RNNC_USE_DSP

#if RNNC_RNNPOOL_LIBRARY
#include "dsp/basic_math_functions.h"
#include "dsp/matrix_functions.h"

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

/* The assembly below knows this place. */
typedef char place_of_rows[offsetof(rnnc_rnn_matrix, rows) == 4 ? 1 : -1];

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

/* The products of matrices with 16 and 8 columns and no shift. In assembly because eight sums and two
 * addresses leave four registers, which compilers do not make do with. */
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

#endif
