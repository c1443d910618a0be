/* board.h: what the firmware needs from a board. Each folder beside this one implements it.
 *
 * The board calls rnnc_firmware_main() once the core, the clocks and RAM are ready.
 */
#ifndef RNNC_BOARD_H
#define RNNC_BOARD_H

#include <stddef.h>
#include <stdint.h>

/* Where the linker script keeps the model's memory banks. On a hosted system any place will do. */
#if defined(RNNC_BOARD_BARE)
#define BOARD_BANK0 __attribute__((section(".arena"), aligned(8)))
#define BOARD_BANK1 __attribute__((section(".arena1"), aligned(8)))
#elif defined(__GNUC__)
#define BOARD_BANK0 __attribute__((aligned(8)))
#define BOARD_BANK1 __attribute__((aligned(8)))
#else
#error "the firmware needs a compiler with GNU attributes"
#endif

#define BOARD_NO_FILE (-1)

/* The program, in firmware/main.c; returns the exit code. */
int rnnc_firmware_main(void);

/* Make the console and the counter ready; idempotent. */
void board_init(void);

/* A free-running counter that wraps at 2^32; only differences have a meaning. */
uint32_t board_ticks(void);

/* Core cycles (or the board's documented estimate of them) in a sum of tick differences. */
uint64_t board_cycles(uint64_t ticks);

/* Writes a zero-terminated text to the console. */
void board_puts(const char *text);

/* Byte streams by name. open returns BOARD_NO_FILE if there is no such file or no host to ask; read
 * returns the number of bytes got, less than `size` only at the end of the stream; write and close
 * return zero on success. */
int board_open(const char *name, int for_writing);
size_t board_read(int file, void *data, size_t size);
int board_write(int file, const void *data, size_t size);
int board_close(int file);

/* The most bytes of stack used so far, or 0 where the board cannot tell. */
uint32_t board_stack_used(void);

#endif
