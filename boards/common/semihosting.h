/* semihosting.h: files and console of the machine that debugs or emulates this core (Arm IHI
 * semihosting). */
#ifndef RNNC_SEMIHOSTING_H
#define RNNC_SEMIHOSTING_H

#include <stddef.h>
#include <stdint.h>

/* Nonzero if a host answers. The first call asks with a breakpoint; with no host that is a
 * HardFault, which the fault handler turns into "no". */
int semihosting_present(void);

void semihosting_puts(const char *text);
int semihosting_open(const char *name, int for_writing);
size_t semihosting_read(int file, void *data, size_t size);
int semihosting_write(int file, const void *data, size_t size);
int semihosting_close(int file);

/* Ends the program as far as the host is concerned; returns if there is no host. */
void semihosting_exit(int code);

/* For the fault handler: the trapped program counter holds a semihosting call that nobody answered.
 */
int semihosting_is_call(uint32_t pc);
void semihosting_set_absent(void);

#endif
