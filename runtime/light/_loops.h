/* What the compiled pixel loops share. */
#ifndef CLIPLIT_LOOPS_H
#define CLIPLIT_LOOPS_H

#include <stdint.h> /* says whether this is glibc, too */

/* One binary for old and new x86 processors: the loader picks the clone by what the processor has. musl's cannot. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__)
#if __GNUC__ >= 12
#define FAST __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define FAST __attribute__((target_clones("avx2", "default")))
#endif
/* Loads from anywhere are vectorized only where the compiler is told of a processor, not of a level. */
#define GATHERING __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#else
#define FAST
#define GATHERING
#endif

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

/* What Y'CbCr codes mean: `CodeNumbers` of runtime/light/colour.py. */
typedef struct {
    float y_offset, y_scale; /* code of black, 1 / codes from black to white */
    float c_offset, c_scale; /* code of no colour, 1 / codes of full chroma (Cb, Cr in [-0.5, 0.5]) */
    float r_cr, g_cb, g_cr, b_cb; /* R' = Y' + r_cr Cr, G' = Y' + g_cb Cb + g_cr Cr, B' = Y' + b_cb Cb */
    float top;               /* largest code */
} Coding;

/* 2^x for x in [-120, 0]; exactly 1 at 0, relative error of the polynomial (minimax fit on [-1, 0]) 9e-8. */
INLINE float exp2_nonpositive(float x)
{
    int whole = (int)x;
    float f = x - (float)whole; /* in (-1, 0] */
    float p = 9.449668708e-04f;
    union { uint32_t bits; float value; } scale;
    p = p * f + 9.205939261e-03f;
    p = p * f + 5.529746490e-02f;
    p = p * f + 2.401801737e-01f;
    p = p * f + 6.931437237e-01f;
    p = p * f + 1.0f;
    scale.bits = (uint32_t)(whole + 127) << 23;
    return p * scale.value;
}

#endif
