/* main.c: the firmware of every board, the host included.
 *
 * With input.bin at hand: runs the model on every input in it, appends the outputs to output.bin
 * and prints the cycles of each run. Without: runs the model once on built-in noise and prints
 * cycles and a checksum, so that an image can be started with no files and no host attached. Inputs
 * are read straight into the model's arena, so no RAM is needed beyond the arena and the stack, but for
 * streamed outputs, which are gathered, and for inputs that the model wants to be lent.
 */
#include "board.h"
#include "model.h"
#include "rnnc.h"
#include "rnnc_firmware.h"

#include <string.h>

#define NOINLINE __attribute__((noinline, used))
#define STEP_BUDGET                                                               \
    64u /* jobs between two looks at the counter, which may wrap after 2^32 ticks \
         */
#define FNV_OFFSET 2166136261u
#define FNV_PRIME 16777619u

#define NOISE_SEED 1u
#define SKIP_CHUNK 32

#define READ_END 0
#define READ_OK 1
#define READ_PARTIAL (-1)

static RNNC_FW_STATE model_state;
static uint8_t arena[RNNC_FW_ARENA_SIZE] BOARD_BANK0;
#ifdef RNNC_FW_BANK1_SIZE
static uint8_t arena1[RNNC_FW_BANK1_SIZE] BOARD_BANK1;
#endif

/* Where the bytes of the inputs come from: a stream, or noise if there is no file. */
typedef struct {
    int file;
    uint32_t noise;
} source;

#ifdef RNNC_FW_OUTPUT_BYTES
/* The rows of streamed outputs, gathered until the run is over; a part of the firmware, not of the model. */
static uint8_t gathered[RNNC_FW_OUTPUT_BYTES];
#endif

#ifdef RNNC_FW_INPUT_BYTES
/* The frames that are lent to the model. */
static uint8_t lent[RNNC_FW_INPUT_BYTES] __attribute__((aligned(4)));
#endif

#ifdef RNNC_TRACE
static int trace_file = BOARD_NO_FILE;
#endif

/* Profilers and debuggers look for these by name; a barrier keeps the calls in place. */
void rnnc_marker_begin(void);
void rnnc_marker_end(void);
NOINLINE void rnnc_marker_begin(void) {
    __asm__ volatile("" ::: "memory");
}
NOINLINE void rnnc_marker_end(void) {
    __asm__ volatile("" ::: "memory");
}
NOINLINE void rnnc_marker_layer(unsigned op) {
    __asm__ volatile("" ::"r"(op) : "memory");
}

/* With RNNC_TRACE each row becomes a record {u16 op, u16 row, u32 bytes, data}, little endian. */
NOINLINE void rnnc_trace_row(unsigned op, unsigned row, const void *data, size_t bytes) {
#ifdef RNNC_TRACE
    uint8_t head[8];
    if (trace_file == BOARD_NO_FILE) {
        return;
    }
    head[0] = (uint8_t)op;
    head[1] = (uint8_t)(op >> 8);
    head[2] = (uint8_t)row;
    head[3] = (uint8_t)(row >> 8);
    for (unsigned i = 0; i < 4; ++i) {
        head[4 + i] = (uint8_t)(bytes >> (8 * i));
    }
    if (board_write(trace_file, head, sizeof head) != 0 || board_write(trace_file, data, bytes) != 0) {
        board_puts("rnnc: error: cannot write trace.bin\n");
        (void)board_close(trace_file);
        trace_file = BOARD_NO_FILE;
    }
#else
    __asm__ volatile("" ::"r"(op), "r"(row), "r"(data), "r"(bytes) : "memory");
#endif
}

static void put_decimal(uint64_t value) {
    char text[21];
    size_t at = sizeof text - 1;
    text[at] = '\0';
    do {
        text[--at] = (char)('0' + (int)(value % 10u));
        value /= 10u;
    } while (value != 0u);
    board_puts(&text[at]);
}

static void put_hex(uint32_t value) {
    static const char digits[] = "0123456789abcdef";
    char text[11] = "0x";
    for (unsigned i = 0; i < 8; ++i) {
        text[2 + i] = digits[(value >> (28u - 4u * i)) & 15u];
    }
    text[10] = '\0';
    board_puts(text);
}

static int fail(const char *message) {
    board_puts("rnnc: error: ");
    board_puts(message);
    board_puts("\n");
    return 1;
}

static uint32_t hash_bytes(uint32_t hash, const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; ++i) {
        hash = (hash ^ data[i]) * FNV_PRIME;
    }
    return hash;
}

static const rnnc_engine *engine(void) {
    return (const rnnc_engine *)(const void *)&model_state;
}

static rnnc_engine *engine_mutable(void) {
    return (rnnc_engine *)(void *)&model_state;
}

static uint8_t *row_address(const rnnc_port *port, unsigned row) {
    return rnnc_engine_row(engine(), port->tensor, row);
}

#ifdef RNNC_FW_INPUT_BYTES
static uint8_t *input_row(unsigned input, unsigned row) {
    uint8_t *start = lent;
    for (unsigned i = 0; i < input; ++i) {
        start += RNNC_FW_MODEL.inputs[i].bytes;
    }
    return start + (size_t)row * RNNC_FW_MODEL.inputs[input].row_bytes;
}
#else
static uint8_t *input_row(unsigned input, unsigned row) {
    return row_address(&RNNC_FW_MODEL.inputs[input], row);
}
#endif

#ifdef RNNC_FW_OUTPUT_BYTES
static uint8_t *output_row(unsigned output, unsigned row) {
    uint8_t *start = gathered;
    for (unsigned i = 0; i < output; ++i) {
        start += RNNC_FW_MODEL.outputs[i].bytes;
    }
    return start + (size_t)row * RNNC_FW_MODEL.outputs[output].row_bytes;
}

static void gather_row(void *context, unsigned output, unsigned row, const void *data, size_t bytes) {
    (void)context;
    memcpy(output_row(output, row), data, bytes);
}
#else
static uint8_t *output_row(unsigned output, unsigned row) {
    return row_address(&RNNC_FW_MODEL.outputs[output], row);
}
#endif

/* A linear congruential generator (Numerical Recipes); the toolchain knows it too, to check the
 * self-test. */
static size_t read_noise(source *from, uint8_t *to, size_t size) {
    for (size_t i = 0; i < size; ++i) {
        from->noise = from->noise * 1664525u + 1013904223u;
        to[i] = (uint8_t)(from->noise >> 24);
    }
    return size;
}

static size_t read_bytes(source *from, uint8_t *to, size_t size) {
    return from->file == BOARD_NO_FILE ? read_noise(from, to, size) : board_read(from->file, to, size);
}

static int read_row(source *from, unsigned input, unsigned row) {
    const rnnc_port *port = &RNNC_FW_MODEL.inputs[input];
    size_t got = read_bytes(from, input_row(input, row), port->row_bytes);
    if (got == port->row_bytes) {
        return READ_OK;
    }
    return got == 0 ? READ_END : READ_PARTIAL;
}

static int is_whole(const rnnc_port *port) {
    const rnnc_tensor *t = &RNNC_FW_MODEL.tensors[port->tensor];
    return t->ring >= t->height;
}

/* Reads every input that is held whole; READ_END only if nothing of a next run is there. */
static int read_inputs(source *from) {
    rnnc_engine *e = engine_mutable();
    int started = 0;
    for (unsigned i = 0; i < RNNC_FW_MODEL.n_inputs; ++i) {
        const rnnc_port *port = &RNNC_FW_MODEL.inputs[i];
        /* Of a streamed input the first row tells whether there is another run. */
        unsigned rows = is_whole(port) ? port->height : 1u;
        for (unsigned row = 0; row < rows; ++row) {
            int result = read_row(from, i, row);
            if (result != READ_OK) {
                return result == READ_END && !started ? READ_END : READ_PARTIAL;
            }
            started = 1;
        }
#ifdef RNNC_FW_INPUT_BYTES
        rnnc_engine_lend(e, i, (const int8_t *)input_row(i, 0));
#else
        e->given[i] = (uint16_t)rows;
#endif
    }
    return READ_OK;
}

/* Pushes the next row of the streamed input that is not yet complete. */
static int read_next_row(source *from) {
    rnnc_engine *e = engine_mutable();
    for (unsigned i = 0; i < RNNC_FW_MODEL.n_inputs; ++i) {
        const rnnc_port *port = &RNNC_FW_MODEL.inputs[i];
        if (e->given[i] < port->height) {
            if (read_row(from, i, e->given[i]) != READ_OK) {
                return READ_PARTIAL;
            }
            ++e->given[i];
            return READ_OK;
        }
    }
    return READ_PARTIAL;
}

/* Passes over streamed rows that no output depends on; their place in the arena may be in use by
 * now. */
static int skip_unused_rows(source *from) {
    uint8_t chunk[SKIP_CHUNK];
    for (unsigned i = 0; i < RNNC_FW_MODEL.n_inputs; ++i) {
        const rnnc_port *port = &RNNC_FW_MODEL.inputs[i];
        size_t left = (size_t)(port->height - engine()->given[i]) * port->row_bytes;
        while (left != 0) {
            size_t size = left < sizeof chunk ? left : sizeof chunk;
            if (read_bytes(from, chunk, size) != size) {
                return READ_PARTIAL;
            }
            left -= size;
        }
    }
    return READ_OK;
}

/* One inference on inputs that are in place; reading streamed rows is not counted. */
static int run_once(source *from, uint64_t *cycles) {
    uint64_t ticks = 0;
    int result;
    rnnc_marker_begin();
    do {
        uint32_t before = board_ticks();
        result = rnnc_engine_step(engine_mutable(), STEP_BUDGET);
        ticks += (uint32_t)(board_ticks() - before);
        if (result == RNNC_NEED_INPUT && read_next_row(from) == READ_OK) {
            result = RNNC_BUSY;
        }
    } while (result == RNNC_BUSY);
    rnnc_marker_end();
    *cycles = board_cycles(ticks);
    if (result == RNNC_OK && skip_unused_rows(from) != READ_OK) {
        return RNNC_NEED_INPUT;
    }
    return result;
}

static int write_outputs(int file) {
    for (unsigned i = 0; i < RNNC_FW_MODEL.n_outputs; ++i) {
        const rnnc_port *port = &RNNC_FW_MODEL.outputs[i];
        for (unsigned row = 0; row < port->height; ++row) {
            if (board_write(file, output_row(i, row), port->row_bytes) != 0) {
                return 1;
            }
        }
    }
    return 0;
}

static uint32_t hash_outputs(void) {
    uint32_t hash = FNV_OFFSET;
    for (unsigned i = 0; i < RNNC_FW_MODEL.n_outputs; ++i) {
        const rnnc_port *port = &RNNC_FW_MODEL.outputs[i];
        for (unsigned row = 0; row < port->height; ++row) {
            hash = hash_bytes(hash, output_row(i, row), port->row_bytes);
        }
    }
    return hash;
}

static void put_stack(void) {
    uint32_t used = board_stack_used();
    if (used != 0u) {
        board_puts("rnnc: stack ");
        put_decimal(used);
        board_puts("\n");
    }
}

static int self_test(void) {
    source from = {BOARD_NO_FILE, NOISE_SEED};
    uint64_t cycles;
    rnnc_engine_start(engine_mutable());
    (void)read_inputs(&from);
    if (run_once(&from, &cycles) != RNNC_OK) {
        return fail("the model did not finish its self-test");
    }
    board_puts("rnnc: self-test cycles ");
    put_decimal(cycles);
    board_puts(" checksum ");
    put_hex(hash_outputs());
    board_puts("\n");
    put_stack();
    return 0;
}

static int run_file(int input, int output) {
    source from = {BOARD_NO_FILE, NOISE_SEED};
    uint64_t cycles;
    unsigned runs = 0;
    from.file = input;
    for (;;) {
        int result;
        rnnc_engine_start(engine_mutable());
        result = read_inputs(&from);
        if (result == READ_END) {
            break;
        }
        if (result == READ_PARTIAL) {
            return fail("input.bin ends in the middle of a run");
        }
        result = run_once(&from, &cycles);
        if (result != RNNC_OK) {
            return fail(result == RNNC_NEED_INPUT ? "input.bin ends in the middle of a run"
                                                  : "the model reported an error");
        }
        if (write_outputs(output) != 0) {
            return fail("cannot write output.bin");
        }
        board_puts("rnnc: run ");
        put_decimal(runs++);
        board_puts(" cycles ");
        put_decimal(cycles);
        board_puts("\n");
    }
    put_stack();
    board_puts("rnnc: done runs ");
    put_decimal(runs);
    board_puts("\n");
    return 0;
}

static int init_model(void) {
#ifdef RNNC_FW_BANK1_SIZE
    return RNNC_FW_INIT(&model_state, arena, sizeof arena, arena1, sizeof arena1);
#else
    return RNNC_FW_INIT(&model_state, arena, sizeof arena);
#endif
}

static int run_with(int input) {
    int output = board_open("output.bin", 1);
    int code;
    if (output == BOARD_NO_FILE) {
        return fail("cannot create output.bin");
    }
    code = run_file(input, output);
    if (board_close(output) != 0) {
        return fail("cannot write output.bin");
    }
    return code;
}

int rnnc_firmware_main(void) {
    int input;
    int code;
    board_init();
    if (init_model() != RNNC_OK) {
        return fail("the model refused its arena");
    }
#ifdef RNNC_FW_OUTPUT_BYTES
    RNNC_FW_ON_ROW(&model_state, gather_row, NULL);
#else
    for (unsigned i = 0; i < RNNC_FW_MODEL.n_outputs; ++i) {
        if (!is_whole(&RNNC_FW_MODEL.outputs[i])) {
            return fail("this firmware needs outputs that are held in a buffer");
        }
    }
#endif
#ifdef RNNC_TRACE
    trace_file = board_open("trace.bin", 1);
#endif
    input = board_open("input.bin", 0);
    if (input == BOARD_NO_FILE) {
        code = self_test();
    } else {
        code = run_with(input);
        (void)board_close(input);
    }
#ifdef RNNC_TRACE
    if (trace_file != BOARD_NO_FILE && board_close(trace_file) != 0) {
        return fail("cannot write trace.bin");
    }
#endif
    return code;
}
