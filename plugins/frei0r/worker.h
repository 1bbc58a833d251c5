/* A Python worker process of cliplit's, and the protocol spoken with it: protocol.py says what the fields mean. */
#ifndef CLIPLIT_WORKER_H
#define CLIPLIT_WORKER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct {
    char magic[4];
    uint32_t version, pixels, width, height, exact;
    double strength, max_gain, time_constant, time;
    char model[16];
    uint64_t profile; /* bytes of one that follows; 0 for sRGB */
} Request;

typedef struct {
    char magic[4];
    uint32_t version, status, unused;
    uint64_t length;
} Reply;

enum { PIXELS_NONE = 0, PIXELS_RGBA8 = 1 };

typedef struct {
    pid_t process;   /* 0: none */
    int control;     /* socket; -1: none */
    uint8_t *memory; /* shared: the picture to relight, then the relighted one; NULL: none */
    size_t size;     /* of one picture in bytes */
    char error[512]; /* why the last call failed, one line */
} Worker;

/* Start the worker named in `cliplit.worker` beside this library, for pictures of `size` bytes, and wait until it is
 * ready. All functions return 0, or -1 with `error` set. */
int worker_start(Worker *worker, size_t size);

/* Have the picture in `memory` relighted. */
int worker_relight(Worker *worker, Request *request);

/* End the process, at once or within half a second, and release everything. Can be called at any time. */
void worker_stop(Worker *worker, int at_once);

#endif
