/* cliplit as a frei0r filter: frames go to a Python worker through shared memory and come back relighted.
 *
 * Only libc is needed, so that no libpython meets the host's. Whatever happens to the worker, the host gets its
 * frames: unchanged ones, and one line on standard error that says why.
 *
 * The declarations of the frei0r 1.2 interface are our own; its header is under the GPL.
 */
#include "host.h"
#include "worker.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

enum { INTERFACE_VERSION = 1, TYPE_FILTER = 0, COLOUR_RGBA8888 = 1, PARAMETER_NUMBER = 1 };

typedef struct {
    const char *name, *author;
    int plugin_type, color_model, frei0r_version, major_version, minor_version, num_params;
    const char *explanation;
} f0r_plugin_info_t;

typedef struct {
    const char *name;
    int type;
    const char *explanation;
} f0r_param_info_t;

EXPORT int f0r_init(void);
EXPORT void f0r_deinit(void);
EXPORT void f0r_get_plugin_info(f0r_plugin_info_t *info);
EXPORT void f0r_get_param_info(f0r_param_info_t *info, int index);
EXPORT void *f0r_construct(unsigned width, unsigned height);
EXPORT void f0r_destruct(void *instance);
EXPORT void f0r_set_param_value(void *instance, void *value, int index);
EXPORT void f0r_get_param_value(void *instance, void *value, int index);
EXPORT void f0r_update(void *instance, double time, const uint32_t *in, uint32_t *out);

static const double LONGEST_TIME_CONSTANT = 4.0; /* seconds; LONGEST in runtime/light/temporal.py */

enum { STRENGTH, TEMPORAL, MAX_GAIN, PARAMETERS };

static const struct {
    const char *name, *explanation;
    double standard, lowest, highest;
} parameters[PARAMETERS] = {
    {"strength", "0 leaves the picture as it is, 1 is what the model says, up to 2", 1.0, 0.0, 2.0},
    {"temporal", "Steadiness over time; 0 is frame by frame, 1 averages still scenes over four seconds", 0.5, 0.0, 1.0},
    {"max_gain", "Upper bound of the gain: above 1 the gain itself, up to 256; from 0 to 1 a slider, 0.5 for 16", 0.5, 0.0,
     256.0},
};

typedef struct {
    size_t width, height;
    double values[PARAMETERS];
    Host host;
    Worker worker;
    enum { IDLE, RUNNING, FAILED } state;
} Instance;

int f0r_init(void)
{
    return 1;
}

void f0r_deinit(void)
{
}

void f0r_get_plugin_info(f0r_plugin_info_t *info)
{
    info->name = "cliplit";
    info->author = "the cliplit authors";
    info->plugin_type = TYPE_FILTER;
    info->color_model = COLOUR_RGBA8888;
    info->frei0r_version = INTERFACE_VERSION;
    info->major_version = CLIPLIT_MAJOR; /* by setup.py, from cliplit/__init__.py */
    info->minor_version = CLIPLIT_MINOR;
    info->num_params = PARAMETERS;
    info->explanation = "Relights backlit video";
}

void f0r_get_param_info(f0r_param_info_t *info, int index)
{
    if (index < 0 || index >= PARAMETERS)
        return;
    info->name = parameters[index].name;
    info->type = PARAMETER_NUMBER;
    info->explanation = parameters[index].explanation;
}

/* Hosts make instances only to look at them, so nothing is started here. */
void *f0r_construct(unsigned width, unsigned height)
{
    Instance *instance = calloc(1, sizeof *instance);
    int i;
    if (!instance)
        return NULL;
    instance->width = width;
    instance->height = height;
    instance->worker.control = -1;
    for (i = 0; i < PARAMETERS; i++)
        instance->values[i] = parameters[i].standard;
    return instance;
}

void f0r_destruct(void *instance)
{
    if (instance)
        worker_stop(&((Instance *)instance)->worker, 0);
    free(instance);
}

void f0r_set_param_value(void *instance, void *value, int index)
{
    double number = *(double *)value;
    if (index < 0 || index >= PARAMETERS || isnan(number))
        return;
    number = number > parameters[index].lowest ? number : parameters[index].lowest;
    ((Instance *)instance)->values[index] = number < parameters[index].highest ? number : parameters[index].highest;
}

void f0r_get_param_value(void *instance, void *value, int index)
{
    if (index >= 0 && index < PARAMETERS)
        *(double *)value = ((Instance *)instance)->values[index];
}

static void copy_rows(uint32_t *to, size_t to_stride, const uint32_t *from, size_t from_stride, size_t width,
                      size_t height)
{
    size_t y;
    if (to_stride == width && from_stride == width) {
        memcpy(to, from, width * height * sizeof *to);
        return;
    }
    for (y = 0; y < height; y++)
        memcpy(to + y * to_stride, from + y * from_stride, width * sizeof *to);
}

static int relight(Instance *o, double time, const uint32_t *in, uint32_t *out)
{
    double gain = o->values[MAX_GAIN];
    Request request = {
        .pixels = PIXELS_RGBA8,
        .width = (uint32_t)o->width,
        .height = (uint32_t)o->height,
        .strength = o->values[STRENGTH],
        .max_gain = gain > 1.0 ? gain : 1.0 + 60.0 * gain * gain,
        .time_constant = LONGEST_TIME_CONSTANT * o->values[TEMPORAL] * o->values[TEMPORAL],
        .time = seconds_of(&o->host, time),
    };
    if (o->state == IDLE) {
        o->state = RUNNING;
        if (worker_start(&o->worker, o->width * o->height * sizeof *in))
            return -1;
    }
    copy_rows((uint32_t *)o->worker.memory, o->width, in, o->host.stride, o->width, o->height);
    if (worker_relight(&o->worker, &request))
        return -1;
    copy_rows(out, o->host.stride, (const uint32_t *)(o->worker.memory + o->worker.size), o->width, o->width,
              o->height);
    return 0;
}

void f0r_update(void *instance, double time, const uint32_t *in, uint32_t *out)
{
    static atomic_flag said = ATOMIC_FLAG_INIT;
    Instance *o = instance;
    if (!o->width || !o->height)
        return;
    if (!o->host.certain)
        o->host = host_of(__builtin_return_address(0), in, o->width, o->height);
    if (o->state != FAILED && o->values[STRENGTH] > 0.0) {
        if (!relight(o, time, in, out))
            return;
        o->state = FAILED;
        if (!atomic_flag_test_and_set(&said))
            fprintf(stderr, "cliplit: %s; frames pass through unchanged\n", o->worker.error);
        worker_stop(&o->worker, 1);
    }
    copy_rows(out, o->host.stride, in, o->host.stride, o->width, o->height);
}
