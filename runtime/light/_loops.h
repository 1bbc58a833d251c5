/* What the compiled pixel loops share. */
#ifndef CLIPLIT_LOOPS_H
#define CLIPLIT_LOOPS_H

/* One binary for old and new x86 processors: the loader picks the clone by what the processor has. */
#if defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__) && defined(__x86_64__) && defined(__linux__)
#define FAST __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#elif defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__linux__)
#define FAST __attribute__((target_clones("avx2", "default")))
#else
#define FAST
#endif

#endif
