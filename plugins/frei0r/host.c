/* FFmpeg's deviations from the specification, detected within a frame's call.
 *
 * All versions so far count time in milliseconds, and pass "no time" if they had to copy the frame to change its stride,
 * which happens at most widths. Before 7.1, rows are padded to a multiple of 16 pixels, or of what the version prefers,
 * without telling the filter. Pictures would be sheared, so the stride is detected from the picture: with the right one,
 * neighbouring rows are alike.
 */
#define _GNU_SOURCE
#include "host.h"

#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PACKED_SINCE = (10 << 16) | (4 << 8) }; /* libavfilter 10.4, FFmpeg 7.1 */
enum { USUAL_PADDING = 16 };                   /* pixels */
enum { SAMPLED_ROWS = 128 };
static const double LONGEST_TIME = 1e9; /* seconds; 30 years */

static int is_ffmpeg(const char *file)
{
    const char *name = strrchr(file, '/');
    name = name ? name + 1 : file;
    return !strncmp(name, "libavfilter", 11) || !strncmp(name, "ffmpeg", 6) || !strncmp(name, "ffplay", 6);
}

static unsigned avfilter_version_of(const char *file)
{
    unsigned (*version)(void) = NULL;
    void *library = dlopen(file, RTLD_LAZY | RTLD_NOLOAD), *symbol;
    unsigned answer;
    symbol = dlsym(library ? library : RTLD_DEFAULT, "avfilter_version");
    memcpy(&version, &symbol, sizeof version);
    answer = version ? version() : 0;
    if (library)
        dlclose(library);
    return answer;
}

/* Mean difference between neighbouring rows, within the part of the picture that exists with every stride. */
static double row_difference(const uint32_t *frame, size_t width, size_t height, size_t stride)
{
    size_t rows = (width * height - width) / stride, step, y, x, samples = 0;
    uint64_t sum = 0;
    step = rows > SAMPLED_ROWS ? rows / SAMPLED_ROWS : 1;
    for (y = 0; y < rows; y += step) {
        const uint8_t *a = (const uint8_t *)(frame + y * stride), *b = (const uint8_t *)(frame + (y + 1) * stride);
        for (x = 0; x < 4 * width; x++)
            sum += (uint64_t)abs(a[x] - b[x]);
        samples += 4 * width;
    }
    return samples ? (double)sum / (double)samples : 0.0;
}

static size_t rounded_up(size_t value, size_t unit)
{
    return (value + unit - 1) / unit * unit;
}

static void find_stride(Host *host, const uint32_t *frame, size_t width, size_t height)
{
    static const size_t units[] = {1, 2, 4, 8, 16, 32, 64};
    double best = 1e9, second = 1e9;
    size_t i, stride = 0, found = width;
    for (i = 0; i < sizeof units / sizeof *units; i++) {
        double difference;
        if (rounded_up(width, units[i]) == stride)
            continue; /* as with the unit before */
        stride = rounded_up(width, units[i]);
        difference = row_difference(frame, width, height, stride);
        if (difference < best) {
            second = best;
            best = difference;
            found = stride;
        } else if (difference < second) {
            second = difference;
        }
    }
    host->certain = second > 1.3 * best + 0.5;
    host->stride = host->certain ? found : rounded_up(width, USUAL_PADDING); /* a flat picture shows nothing */
}

Host host_of(const void *caller, const uint32_t *frame, size_t width, size_t height)
{
    Host host = {width, 1, 1.0};
    Dl_info module;
    if (!dladdr(caller, &module) || !module.dli_fname || !is_ffmpeg(module.dli_fname))
        return host;
    host.time_unit = 1e-3;
    if (avfilter_version_of(module.dli_fname) < PACKED_SINCE)
        find_stride(&host, frame, width, height);
    return host;
}

double seconds_of(const Host *host, double time)
{
    double seconds = time * host->time_unit;
    return seconds > -LONGEST_TIME && seconds < LONGEST_TIME ? seconds : NAN;
}
