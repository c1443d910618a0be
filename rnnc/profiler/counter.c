/* counter.c: a TCG plugin that counts, for each layer of a model, how often each translation block ran
 * and how often it was left by a jump, and what it loaded and fetched from flash.
 *
 * It uses version 1 of QEMU's plugin interface (QEMU 4.2 to 8.2), whose header Debian does not ship; what is
 * needed of it is declared below. Counting begins and ends at the firmware's markers. The engine calls
 * rnnc_marker_layer before each job; which layer the n-th call means is read from a file, since plugins
 * cannot read registers. A layer's time is what runs between that call and the return to the caller;
 * the rest belongs to entry 0, the engine.
 *
 * Arguments: out=FILE order=FILE layers=N, and addresses in hex: begin, end, layer, trace (functions),
 * caller_low, caller_high (the function that calls rnnc_marker_layer), flash_low, flash_high.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t plugin_id;
typedef uint32_t plugin_memory;
typedef void on_block(plugin_id id, struct qemu_plugin_tb *tb);
typedef void on_execution(unsigned cpu, void *data);
typedef void on_access(unsigned cpu, plugin_memory info, uint64_t address, void *data);
typedef void on_exit(plugin_id id, void *data);
enum { NO_REGISTERS = 0, LOADS_AND_STORES = 3 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, on_block *callback);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, on_execution *callback, int flags,
                                          void *data);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, on_access *callback, int flags, int rw,
                                      void *data);
void qemu_plugin_register_atexit_cb(plugin_id id, on_exit *callback, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
unsigned qemu_plugin_mem_size_shift(plugin_memory info);
_Bool qemu_plugin_mem_is_store(plugin_memory info);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;
__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const void *info, int argc,
                                                               char **argv);

/* The STM32F4's flash accelerator: lines of 16 bytes, 64 for code and 8 for data. */
enum { LINE_SHIFT = 4, CODE_LINES = 64, DATA_LINES = 8, MAX_LINES = 64 };

typedef struct {
    uint64_t executed;
    uint64_t left; /* the next block was not the one behind it */
} tally;

typedef enum { ORDINARY, BEGIN, END, LAYER, HOOK } kind;

typedef struct block {
    struct block *next;
    uint64_t start, end;
    kind kind;
    int in_caller;
    tally *by_layer;
} block;

typedef struct {
    uint64_t flash_loads, data_misses, unaligned_loads, unaligned_cycles, unaligned_stores, code_lines,
        code_misses;
} memory;

/* Least recently used lines are replaced. `used` is the time of the last use by line, 0 if not held. */
typedef struct {
    uint64_t *used;
    uint64_t held[MAX_LINES];
    unsigned size;
    uint64_t clock;
} cache;

static struct {
    uint64_t begin, end, layer, trace, caller_low, caller_high, flash_low, flash_high;
    const char *out;
} where;

static block *blocks;
static memory *memories;
static uint8_t *order; /* little-endian 16-bit layers, by call of the marker */
static size_t order_length;
static unsigned layers;
static uint64_t calls;
static int active;
static unsigned current, pending;
static const block *last;
static tally *last_tally;
static uint64_t last_line;
static cache code = {.size = CODE_LINES}, data_cache = {.size = DATA_LINES};

static void *allocate(size_t count, size_t size) {
    void *result = calloc(count, size);
    if (result == NULL) {
        fputs("rnnc: error: the profiler is out of memory\n", stderr);
        exit(1);
    }
    return result;
}

static int misses(cache *c, uint64_t line) {
    int missed = c->used[line] == 0;
    if (missed) {
        unsigned oldest = 0;
        for (unsigned i = 1; i < c->size; ++i) {
            if (c->used[c->held[i]] < c->used[c->held[oldest]]) {
                oldest = i;
            }
        }
        c->used[c->held[oldest]] = 0;
        c->held[oldest] = line;
    }
    c->used[line] = ++c->clock;
    return missed;
}

static void make_cache(cache *c) {
    size_t lines = (size_t)((where.flash_high - where.flash_low) >> LINE_SHIFT);
    c->used = allocate(lines + c->size, sizeof *c->used);
    for (unsigned i = 0; i < c->size; ++i) {
        c->held[i] = lines + i; /* lines that nothing asks for: an empty cache */
    }
}

static int in_flash(uint64_t address) {
    return address >= where.flash_low && address < where.flash_high;
}

static uint64_t line_of(uint64_t address) {
    return (address - where.flash_low) >> LINE_SHIFT;
}

static void fetch(const block *b) {
    memory *m = &memories[current];
    if (!in_flash(b->start) || !in_flash(b->end - 1)) {
        return;
    }
    for (uint64_t line = line_of(b->start); line <= line_of(b->end - 1); ++line) {
        if (line != last_line) {
            last_line = line;
            ++m->code_lines;
            m->code_misses += (uint64_t)misses(&code, line);
        }
    }
}

static void start_layer(void) {
    if (calls < order_length) {
        pending = 1u + order[2 * calls] + 256u * order[2 * calls + 1];
    }
    ++calls;
}

static void enter(const block *b) {
    if (b->in_caller) {
        current = 0;
    } else if (pending != 0) {
        current = pending;
        pending = 0;
    }
}

static void block_runs(unsigned cpu, void *data) {
    const block *b = data;
    (void)cpu;
    if (last_tally != NULL && last->end != b->start) {
        ++last_tally->left;
    }
    last = b;
    last_tally = NULL;
    if (b->kind == BEGIN) {
        active = 1;
        current = pending = 0;
    } else if (b->kind == END) {
        active = 0;
    } else if (b->kind == LAYER && active) {
        start_layer();
    } else if (b->kind == ORDINARY && active) {
        enter(b);
        last_tally = &b->by_layer[current];
        ++last_tally->executed;
        fetch(b);
    }
}

static void memory_access(unsigned cpu, plugin_memory info, uint64_t address, void *data) {
    memory *m = &memories[current];
    uint64_t size = (uint64_t)1 << qemu_plugin_mem_size_shift(info);
    uint64_t odd = address & (size - 1);
    (void)cpu;
    (void)data;
    if (!active) {
        return;
    }
    if (qemu_plugin_mem_is_store(info)) {
        m->unaligned_stores += odd != 0;
        return;
    }
    if (odd != 0) {
        ++m->unaligned_loads;
        m->unaligned_cycles += size == 4 && (odd & 1) != 0 ? 2 : 1;
    }
    if (in_flash(address)) {
        ++m->flash_loads;
        m->data_misses += (uint64_t)misses(&data_cache, line_of(address));
    }
}

static kind kind_of(uint64_t start) {
    return start == where.begin   ? BEGIN
           : start == where.end   ? END
           : start == where.layer ? LAYER
           : start == where.trace ? HOOK
                                  : ORDINARY;
}

/* Bytes of a Thumb instruction. QEMU's own figure also counts what the translator peeked at before a page
 * boundary. */
static unsigned size_of(const struct qemu_plugin_insn *insn) {
    const uint8_t *data = qemu_plugin_insn_data(insn);
    return data[1] >> 3 >= 0x1d ? 4 : 2;
}

static void block_translated(plugin_id id, struct qemu_plugin_tb *tb) {
    size_t count = qemu_plugin_tb_n_insns(tb);
    struct qemu_plugin_insn *final = qemu_plugin_tb_get_insn(tb, count - 1);
    block *b = allocate(1, sizeof *b);
    (void)id;
    b->start = qemu_plugin_tb_vaddr(tb);
    b->end = qemu_plugin_insn_vaddr(final) + size_of(final);
    b->kind = kind_of(b->start);
    b->in_caller = b->start >= where.caller_low && b->start < where.caller_high;
    b->by_layer = allocate(layers + 1u, sizeof *b->by_layer);
    b->next = blocks;
    blocks = b;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, block_runs, NO_REGISTERS, b);
    for (size_t i = 0; i < count; ++i) {
        qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, i), memory_access, NO_REGISTERS,
                                         LOADS_AND_STORES, NULL);
    }
}

static void write_counts(plugin_id id, void *data) {
    FILE *out = fopen(where.out, "w");
    (void)id;
    (void)data;
    if (out == NULL) {
        return; /* who started QEMU misses the file */
    }
    fprintf(out, "calls %llu\n", (unsigned long long)calls);
    for (unsigned i = 0; i <= layers; ++i) {
        const uint64_t *figures = &memories[i].flash_loads;
        fprintf(out, "memory %u", i);
        for (size_t k = 0; k < sizeof(memory) / sizeof *figures; ++k) {
            fprintf(out, " %llu", (unsigned long long)figures[k]);
        }
        fputs("\n", out);
    }
    for (const block *b = blocks; b != NULL; b = b->next) {
        for (unsigned i = 0; i <= layers; ++i) {
            if (b->by_layer[i].executed != 0) {
                fprintf(out, "block %u %llu %llu %llu %llu\n", i, (unsigned long long)b->start,
                        (unsigned long long)b->end, (unsigned long long)b->by_layer[i].executed,
                        (unsigned long long)b->by_layer[i].left);
            }
        }
    }
    fclose(out);
}

static int read_order(const char *name) {
    FILE *in = fopen(name, "rb");
    long size;
    if (in == NULL || fseek(in, 0, SEEK_END) != 0 || (size = ftell(in)) < 0) {
        return -1;
    }
    rewind(in);
    order = allocate((size_t)size + 1u, 1);
    order_length = fread(order, 2, (size_t)size / 2u, in);
    return fclose(in);
}

static int read_argument(const char *text) {
    static const struct {
        const char *name;
        uint64_t *value;
    } addresses[] = {
        {"begin=", &where.begin},           {"end=", &where.end},
        {"layer=", &where.layer},           {"trace=", &where.trace},
        {"caller_low=", &where.caller_low}, {"caller_high=", &where.caller_high},
        {"flash_low=", &where.flash_low},   {"flash_high=", &where.flash_high},
    };
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; ++i) {
        if (strncmp(text, addresses[i].name, strlen(addresses[i].name)) == 0) {
            *addresses[i].value = strtoull(text + strlen(addresses[i].name), NULL, 16);
            return 0;
        }
    }
    if (strncmp(text, "out=", 4) == 0) {
        where.out = text + 4;
        return 0;
    }
    if (strncmp(text, "layers=", 7) == 0) {
        layers = (unsigned)strtoul(text + 7, NULL, 10);
        return 0;
    }
    return strncmp(text, "order=", 6) == 0 ? read_order(text + 6) : -1;
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
    (void)info;
    for (int i = 0; i < argc; ++i) {
        char *copy = allocate(strlen(argv[i]) + 1u, 1); /* QEMU frees its own */
        if (read_argument(strcpy(copy, argv[i])) != 0) {
            fprintf(stderr, "rnnc: error: the profiler does not understand %s\n", argv[i]);
            return -1;
        }
    }
    memories = allocate(layers + 1u, sizeof *memories);
    make_cache(&code);
    make_cache(&data_cache);
    last_line = UINT64_MAX;
    qemu_plugin_register_vcpu_tb_trans_cb(id, block_translated);
    qemu_plugin_register_atexit_cb(id, write_counts, NULL);
    return 0;
}
