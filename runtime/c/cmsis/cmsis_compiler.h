/* cmsis_compiler.h: the few core intrinsics that CMSIS-DSP expects from CMSIS-Core, over
 * arm_acle.h.
 *
 * CMSIS-DSP's only tie to CMSIS-Core is a header of this name. Supplying it here lets the library
 * be built from its own source distribution alone, for any Armv7E-M core and any compiler that has
 * the ACLE.
 */
#ifndef RNNC_CMSIS_COMPILER_H
#define RNNC_CMSIS_COMPILER_H

#include <arm_acle.h>
#include <stdint.h>

#define __ASM __asm
#define __INLINE inline
#define __STATIC_INLINE static inline
#define __STATIC_FORCEINLINE static inline __attribute__((always_inline))
#define __WEAK __attribute__((weak))
#define __ALIGNED(x) __attribute__((aligned(x)))
#define __PACKED __attribute__((packed))
#define __RESTRICT __restrict
#define __NOP() __nop()

__STATIC_FORCEINLINE uint8_t __CLZ(uint32_t value) {
    return value == 0u ? 32u : (uint8_t)__builtin_clz(value);
}

__STATIC_FORCEINLINE uint32_t __ROR(uint32_t value, uint32_t count) {
    count &= 31u;
    return count == 0u ? value : (value >> count) | (value << (32u - count));
}

#if defined(__ARM_FEATURE_SAT)
#define __SSAT(value, bits) __ssat((int32_t)(value), (bits))
#define __USAT(value, bits) __usat((int32_t)(value), (bits))
#endif

#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32)

#define RNNC_CMSIS_BINARY(name, intrinsic)                       \
    __STATIC_FORCEINLINE uint32_t name(uint32_t a, uint32_t b) { \
        return (uint32_t)intrinsic((int32_t)a, (int32_t)b);      \
    }
#define RNNC_CMSIS_ACCUMULATE(name, intrinsic)                               \
    __STATIC_FORCEINLINE uint32_t name(uint32_t a, uint32_t b, uint32_t c) { \
        return (uint32_t)intrinsic((int32_t)a, (int32_t)b, (int32_t)c);      \
    }
#define RNNC_CMSIS_ACCUMULATE_LONG(name, intrinsic)                          \
    __STATIC_FORCEINLINE uint64_t name(uint32_t a, uint32_t b, uint64_t c) { \
        return (uint64_t)intrinsic((int32_t)a, (int32_t)b, (int64_t)c);      \
    }

RNNC_CMSIS_BINARY(__QADD8, __qadd8)
RNNC_CMSIS_BINARY(__QSUB8, __qsub8)
RNNC_CMSIS_BINARY(__QADD16, __qadd16)
RNNC_CMSIS_BINARY(__QSUB16, __qsub16)
RNNC_CMSIS_BINARY(__QASX, __qasx)
RNNC_CMSIS_BINARY(__QSAX, __qsax)
RNNC_CMSIS_BINARY(__SADD16, __sadd16)
RNNC_CMSIS_BINARY(__SSUB16, __ssub16)
RNNC_CMSIS_BINARY(__SHADD16, __shadd16)
RNNC_CMSIS_BINARY(__SHSUB16, __shsub16)
RNNC_CMSIS_BINARY(__SHASX, __shasx)
RNNC_CMSIS_BINARY(__SHSAX, __shsax)
RNNC_CMSIS_BINARY(__SMUAD, __smuad)
RNNC_CMSIS_BINARY(__SMUADX, __smuadx)
RNNC_CMSIS_BINARY(__SMUSD, __smusd)
RNNC_CMSIS_BINARY(__SMUSDX, __smusdx)
RNNC_CMSIS_BINARY(__SXTAB16, __sxtab16)
RNNC_CMSIS_ACCUMULATE(__SMLAD, __smlad)
RNNC_CMSIS_ACCUMULATE(__SMLADX, __smladx)
RNNC_CMSIS_ACCUMULATE(__SMLSD, __smlsd)
RNNC_CMSIS_ACCUMULATE(__SMLSDX, __smlsdx)
RNNC_CMSIS_ACCUMULATE_LONG(__SMLALD, __smlald)
RNNC_CMSIS_ACCUMULATE_LONG(__SMLALDX, __smlaldx)

__STATIC_FORCEINLINE uint32_t __SXTB16(uint32_t a) {
    return (uint32_t)__sxtb16((int8x4_t)a);
}

__STATIC_FORCEINLINE int32_t __QADD(int32_t a, int32_t b) {
    return __qadd(a, b);
}

__STATIC_FORCEINLINE int32_t __QSUB(int32_t a, int32_t b) {
    return __qsub(a, b);
}

/* The compilers recognise the product's high word and emit SMMLA. */
__STATIC_FORCEINLINE int32_t __SMMLA(int32_t a, int32_t b, int32_t c) {
    return (int32_t)((uint32_t)c + (uint32_t)(((int64_t)a * b) >> 32));
}

#define __PKHBT(a, b, shift) ((((uint32_t)(a)) & 0x0000FFFFu) | ((((uint32_t)(b)) << (shift)) & 0xFFFF0000u))
#define __PKHTB(a, b, shift) \
    ((((uint32_t)(a)) & 0xFFFF0000u) | ((uint32_t)((int32_t)(b) >> (shift)) & 0x0000FFFFu))

#endif
#endif
