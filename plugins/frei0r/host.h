/* What the host does differently from the frei0r specification. */
#ifndef CLIPLIT_HOST_H
#define CLIPLIT_HOST_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    size_t stride;    /* pixels from row to row */
    int certain;      /* whether the stride holds for all frames to come */
    double time_unit; /* seconds */
} Host;

/* Seconds, from what the host passes as time; NaN where that is none. */
double seconds_of(const Host *host, double time);

/* From the address that f0r_update returns to, and the frame it was given. */
Host host_of(const void *caller, const uint32_t *frame, size_t width, size_t height);

#endif
