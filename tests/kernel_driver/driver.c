/* driver.c: runs every case of cases.c on the trials in input.bin and writes the outputs to
 * output.bin.
 *
 * Each row that a kernel may see is copied to a block of its own of exactly the row's size, so that
 * reading or writing anything else is caught: by the address sanitizer on a host; on the emulated
 * board by guard bytes and, for one row per job in turn, by the end of the memory.
 *
 * A trial is a byte of misalignment, a byte naming the window whose row is also the output row (or
 * NO_WINDOW), and the inputs. A result is a byte (nonzero: a guard was overwritten), the counter's
 * ticks within the kernel (4 bytes, little endian) and the output.
 */
#include <string.h>

#include "board.h"
#include "cases.h"

#define POISON 0xA5
#define GUARD 0x5C
#define GUARD_BYTES 16u
#define MAX_BLOCKS (RNNC_MAX_ROWS + 3)

typedef struct {
    uint8_t *start;
    size_t size;
} block;

typedef struct {
    block blocks[MAX_BLOCKS];
    unsigned n_blocks;
} block_list;

#ifdef RNNC_BOARD_BARE

/* No memory is mapped from here on: KERNEL_FENCE is where the board's second bank ends. */
static uint8_t pool[1u << 20] __attribute__((aligned(8)));
static size_t pool_used;

static uint8_t *obtain(size_t size, size_t offset, int fenced) {
    if (fenced) {
        return (uint8_t *)(uintptr_t)(KERNEL_FENCE - size);
    }
    size_t start = pool_used + GUARD_BYTES + offset;
    pool_used = (start + size + GUARD_BYTES + 7u) / 8u * 8u;
    memset(&pool[start - GUARD_BYTES], GUARD, size + 2u * GUARD_BYTES);
    return &pool[start];
}

static int guards_damaged(const block_list *list) {
    int damaged = 0;
    for (unsigned i = 0; i < list->n_blocks; ++i) {
        const block *b = &list->blocks[i];
        int fenced = (uintptr_t)b->start + b->size == KERNEL_FENCE;
        for (unsigned k = 1; k <= GUARD_BYTES && !fenced; ++k) {
            damaged |= *(b->start - k) != GUARD || b->start[b->size + k - 1u] != GUARD;
        }
    }
    return damaged;
}

static void release(const block_list *list, size_t mark) {
    (void)list;
    pool_used = mark;
}

static size_t pool_mark(void) {
    return pool_used;
}

#else

#include <stdlib.h>

static uint8_t *obtain(size_t size, size_t offset, int fenced) {
    (void)fenced;
    uint8_t *start = malloc(size + offset);
    if (start == NULL) {
        abort();
    }
    /* malloc aligns to 8 at least, so release() finds the start again. */
    return start + offset;
}

static size_t pool_mark(void) {
    return 0;
}

static int guards_damaged(const block_list *list) {
    (void)list;
    return 0;
}

static void release(const block_list *list, size_t mark) {
    (void)mark;
    for (unsigned i = 0; i < list->n_blocks; ++i) {
        free(list->blocks[i].start - ((uintptr_t)list->blocks[i].start & 7u));
    }
}

#endif

static uint8_t *add_block(block_list *list, size_t size, size_t offset, int fenced) {
    uint8_t *start = obtain(size, offset, fenced);
    memset(start, POISON, size);
    list->blocks[list->n_blocks].start = start;
    list->blocks[list->n_blocks].size = size;
    ++list->n_blocks;
    return start;
}

/* Rows of wider elements stay aligned to them. */
static size_t row_offset(const case_tensor *t, unsigned misalignment) {
    return misalignment / t->element_bytes * t->element_bytes;
}

static const uint8_t *input_start(const kernel_case *c, unsigned input) {
    const uint8_t *start = kernel_inputs;
    for (unsigned i = 0; i < input; ++i) {
        start += c->inputs[i].row_bytes * c->inputs[i].height;
    }
    return start;
}

/* Fills `rows` with copies of the rows that a job needs; returns the one that is also the output,
 * if any. */
static uint8_t *gather(const kernel_case *c, int32_t job, unsigned misalignment, unsigned in_place,
                       block_list *list, const void **rows) {
    uint8_t *shared = NULL;
    int32_t index = 0;
    int32_t total = 0;
    for (unsigned w = 0; w < c->n_windows; ++w) {
        total += c->windows[w].rows;
    }
    for (unsigned w = 0; w < c->n_windows; ++w) {
        const rnnc_window *window = &c->windows[w];
        const case_tensor *t = &c->inputs[window->tensor];
        int32_t tap = job * window->stride - window->pad, last = (int32_t)t->height - 1;
        for (int32_t k = 0; k < window->rows; ++k, tap += window->dilation, ++index) {
            int32_t row = tap < 0 ? 0 : tap > last ? last : tap;
            if (row != tap && !window->edge) {
                rows[index] = NULL;
                continue;
            }
            size_t size = t->row_bytes;
            if (w == in_place && c->output.row_bytes > size) {
                size = c->output.row_bytes;
            }
            int fenced = index == job % total;
            uint8_t *copy = add_block(list, size, row_offset(t, misalignment), fenced);
            memcpy(copy, input_start(c, window->tensor) + (uint32_t)row * t->row_bytes, t->row_bytes);
            rows[index] = copy;
            shared = w == in_place ? copy : shared;
        }
    }
    return shared;
}

static int write_result(int file, int damaged, uint32_t ticks, const uint8_t *output, size_t size) {
    uint8_t head[5] = {(uint8_t)damaged, (uint8_t)ticks, (uint8_t)(ticks >> 8), (uint8_t)(ticks >> 16),
                       (uint8_t)(ticks >> 24)};
    return board_write(file, head, sizeof(head)) + board_write(file, output, size);
}

static int run_trial(const kernel_case *c, int file, unsigned misalignment, unsigned in_place) {
    size_t output_bytes = c->output.row_bytes * c->output.height;
    block_list kept = {.n_blocks = 0};
    size_t mark = pool_mark();
    uint8_t *output = add_block(&kept, output_bytes, row_offset(&c->output, misalignment), 0);
    uint8_t *state = add_block(&kept, c->state_bytes, 0, 0);
    uint32_t ticks = 0;
    int damaged = 0;
    for (int32_t number = 0; number < (int32_t)c->jobs; ++number) {
        const void *rows[RNNC_MAX_ROWS];
        block_list list = {.n_blocks = 0};
        size_t job_mark = pool_mark();
        uint8_t *shared = gather(c, number, misalignment, in_place, &list, rows);
        uint8_t *scratch = add_block(&list, c->scratch_bytes, 0, 0);
        uint8_t *out = shared != NULL
                           ? shared
                           : add_block(&list, c->output.row_bytes, row_offset(&c->output, misalignment), 0);
        int32_t row = number - (int32_t)(c->jobs - c->output.height);
        rnnc_job job = {.rows = rows,
                        .out = out,
                        .scratch = scratch,
                        .state = state,
                        .job = number,
                        .first = number == 0};
        uint32_t start = board_ticks();
        c->kernel(c->params, &job);
        ticks += board_ticks() - start;
        if (row >= 0) {
            memcpy(output + (uint32_t)row * c->output.row_bytes, out, c->output.row_bytes);
        }
        damaged |= guards_damaged(&list);
        release(&list, job_mark);
    }
    damaged |= guards_damaged(&kept);
    int failed = write_result(file, damaged, ticks, output, output_bytes);
    release(&kept, mark);
    return failed;
}

int rnnc_firmware_main(void) {
    board_init();
    int in = board_open("input.bin", 0);
    int out = board_open("output.bin", 1);
    if (in == BOARD_NO_FILE || out == BOARD_NO_FILE) {
        return 1;
    }
    int failed = 0;
    for (uint32_t i = 0; i < n_kernel_cases && !failed; ++i) {
        const kernel_case *c = &kernel_cases[i];
        size_t size = (size_t)(input_start(c, c->n_inputs) - kernel_inputs);
        board_puts(c->label);
        for (uint32_t trial = 0; trial < c->trials && !failed; ++trial) {
            uint8_t head[2];
            failed = board_read(in, head, 2) != 2 || board_read(in, kernel_inputs, size) != size;
            failed = failed || run_trial(c, out, head[0], head[1]);
        }
    }
    return board_close(out) + failed;
}
