/* rnnc_firmware.h: how a program that does not know the model gets at it. */
#ifndef RNNC_FIRMWARE_H
#define RNNC_FIRMWARE_H

#define RNNC_FW_STATE tiny_t
#define RNNC_FW_MODEL tiny_model
#define RNNC_FW_INIT tiny_init
#define RNNC_FW_ARENA_SIZE TINY_ARENA_SIZE

#endif
