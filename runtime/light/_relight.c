/* Applies the light map to full-size pictures in one pass over memory.
 *
 * For each pixel: log2 light = slope * luma + offset, the two coefficient maps being interpolated bilinearly from
 * proxy size; clamped to [floor, 0]; luma and the brightest channel, `peak`, go through the tone curve
 * x * ((1 - x^2) * light^2 + x^2)^(-1/2), and chroma is scaled by the curve's slope between the two. What cleans
 * shadows (runtime/light/shadows.py) is added before.
 *
 * runtime/light/gain.py holds the same in numpy: the definition, the fall-back and what the tests compare with.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "_loops.h"

/* ------------------------------------------------------------------ the formula */

#define BLACK 1e-12f

INLINE float unit(float x)
{
    return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; /* NaN becomes 0 */
}

/* The square of the light where luma is `luma`, in [0, 1]; exactly 1 where the light is 1. */
INLINE float squared_light(float slope, float offset, float luma, float floor)
{
    float light = slope * luma + offset;
    light = light < 0.0f ? light : 0.0f;
    light = light > floor ? light : floor;
    return exp2_nonpositive(2.0f * light);
}

/* x^(-1/2) of a positive number, relative error 2e-7; exactly 1 at 1. Newton's steps from a guess by the exponent: a
   third of the time of a division and a root, and the same on every processor. */
INLINE float inverse_root(float x)
{
    union { float value; uint32_t bits; } guess;
    float y, half = 0.5f * x;
    guess.value = x;
    guess.bits = 0x5f375a86u - (guess.bits >> 1); /* C. Lomont, Fast inverse square root, 2003 */
    y = guess.value;
    y = y * (1.5f - half * y * y);
    y = y * (1.5f - half * y * y);
    return y + y * (0.5f - half * y * y);
}

/* What `x` in [0, 1] is multiplied by; exactly 1 where the light is 1. */
INLINE float gain_of(float square, float x)
{
    return inverse_root(square + (1.0f - square) * x * x);
}

/* What chroma is multiplied by, luma <= peak in [0, 1] being multiplied by `of_luma`. */
INLINE float chroma_gain_of(float square, float luma, float peak, float of_luma)
{
    float of_peak = gain_of(square, peak), both = of_luma * of_peak;
    peak += BLACK; /* of 0 / 0 in black becomes the limit, 1 / light */
    return square * both * both * (peak + luma) / (peak * of_peak + luma * of_luma);
}

/* ------------------------------------------------------------------ coefficient maps */

typedef struct {
    const float *slope, *offset; /* (rows, columns), contiguous */
    int rows, columns;           /* proxy size */
    int height, width;           /* full size */
    int *index;                  /* width: left neighbour of each column */
    float *fraction;             /* width: weight of its right neighbour */
    void *memory;                /* of the rows */
    float *line[4];              /* slope and offset of two proxy rows, widened */
    int held[2];                 /* which proxy rows these are */
    float *row_slope, *row_offset; /* the interpolated row */
} Maps;

/* Rows of floats, each beginning where wide loads are fast; the memory to be freed goes into `memory`. */
static float *rows_of_floats(int count, int width, size_t *stride, void **memory)
{
    *stride = ((size_t)width + 15) & ~(size_t)15;
    *memory = malloc((size_t)count * *stride * sizeof(float) + 64);
    return *memory ? (float *)(((uintptr_t)*memory + 63) & ~(uintptr_t)63) : NULL;
}

static void maps_free(Maps *m)
{
    free(m->index);
    free(m->memory);
}

static int maps_init(Maps *m)
{
    int x;
    size_t stride;
    m->index = malloc((size_t)m->width * sizeof(int));
    m->fraction = rows_of_floats(7, m->width, &stride, &m->memory);
    if (!m->index || !m->fraction) {
        maps_free(m);
        return -1;
    }
    for (x = 0; x < 4; x++)
        m->line[x] = m->fraction + (size_t)(x + 1) * stride;
    m->row_slope = m->fraction + 5 * stride;
    m->row_offset = m->fraction + 6 * stride;
    m->held[0] = m->held[1] = -1;
    for (x = 0; x < m->width; x++) {
        double at = (x + 0.5) * m->columns / m->width - 0.5, f;
        int left = (int)floor(at);
        left = left < m->columns - 2 ? left : m->columns - 2;
        left = left > 0 ? left : 0;
        f = at - left;
        f = f > 0.0 ? (f < 1.0 ? f : 1.0) : 0.0;
        m->index[x] = left;
        m->fraction[x] = (float)f;
    }
    return 0;
}

GATHERING static void widen(const Maps *m, const float *restrict src, float *restrict dst)
{
    const int *restrict index = m->index;
    const float *restrict fraction = m->fraction;
    int x, width = m->width, step = m->columns > 1 ? 1 : 0;
    for (x = 0; x < width; x++) {
        float left = src[index[x]];
        dst[x] = left + fraction[x] * (src[index[x] + step] - left);
    }
}

static int hold(Maps *m, int row, int keep)
{
    int slot = m->held[0] == row ? 0 : m->held[1] == row ? 1 : -1;
    if (slot >= 0)
        return slot;
    slot = m->held[0] == keep ? 1 : 0;
    m->held[slot] = row;
    widen(m, m->slope + (size_t)row * m->columns, m->line[2 * slot]);
    widen(m, m->offset + (size_t)row * m->columns, m->line[2 * slot + 1]);
    return slot;
}

FAST static void blend(const Maps *m, int a, int b, float f)
{
    const float *s0 = m->line[2 * a], *s1 = m->line[2 * b], *o0 = m->line[2 * a + 1], *o1 = m->line[2 * b + 1];
    float *restrict s = m->row_slope, *restrict o = m->row_offset;
    int x, width = m->width;
    for (x = 0; x < width; x++) {
        s[x] = s0[x] + f * (s1[x] - s0[x]);
        o[x] = o0[x] + f * (o1[x] - o0[x]);
    }
}

/* Fills row_slope and row_offset for one full-size row. */
static void maps_row(Maps *m, int y)
{
    double at = (y + 0.5) * m->rows / m->height - 0.5;
    int top = (int)floor(at), bottom, a, b;
    float f = (float)(at - top);
    bottom = top + 1;
    if (top < 0) { top = 0; }
    if (bottom > m->rows - 1) bottom = m->rows - 1;
    a = hold(m, top, bottom);
    b = hold(m, bottom, top);
    blend(m, a, b, f);
}

/* ------------------------------------------------------------------ rows */

/* The pixel loops keep to one idea each and write through restrict pointers, so that compilers vectorise them. */

/* For (luma, peak): what the channels are multiplied by, into `luma`, and what is added to each, into `peak`, with
   what cleans luma. */
FAST static void gain_row(float *restrict luma, float *restrict peak, const int8_t *restrict fine, float unit_of_fine,
                          const Maps *m, int width, float floor)
{
    const float *restrict slope = m->row_slope, *restrict offset = m->row_offset;
    int x;
    for (x = 0; x < width; x++) {
        float y = luma[x], square = squared_light(slope[x], offset[x], y, floor);
        float of_luma = gain_of(square, y), of_chroma = chroma_gain_of(square, y, peak[x], of_luma);
        luma[x] = of_chroma;
        peak[x] = y * (of_luma - of_chroma) + (float)fine[x] * unit_of_fine * of_luma;
    }
}

/* How much of what cleans chroma counts: none of it at a gain of 1, all from 1.5 on. */
INLINE float share_of_cleanup(float gain)
{
    return unit(2.0f * (gain - 1.0f));
}

/* One row of runtime/light/shadows.py's `Cleanup`; zeros where there is none. */
typedef struct {
    const int8_t *fine; /* of luma, in `unit` */
    float unit;         /* codes */
    const float *cb, *cr;
} CleanRow;

/* Full-range Y'CbCr of ITU-T T.871, in which RGB is cleaned. */
#define R_CR 1.402f
#define G_CB (-0.3441363f)
#define G_CR (-0.7141363f)
#define B_CB 1.772f

/* What cleans a colour makes no channel darker than it was. */
INLINE float not_below(float from, float to)
{
    return from < 0.0f || to > from ? to : from;
}

/* `step` is a literal 3 or 4 in each, as strides must be for compilers to vectorise. */
#define RGB_ROW(NAME, T, TOP, STORE, step)                                                                        \
    FAST static void measure_##NAME(const T *restrict src, float *restrict luma, float *restrict peak, int width) \
    {                                                                                                             \
        const float scale = 1.0f / (float)(TOP);                                                                  \
        int x;                                                                                                    \
        for (x = 0; x < width; x++) {                                                                             \
            float r = unit((float)src[step * x] * scale), g = unit((float)src[step * x + 1] * scale);             \
            float b = unit((float)src[step * x + 2] * scale), top = r > g ? r : g;                                \
            luma[x] = 0.2126f * r + 0.7152f * g + 0.0722f * b;                                                    \
            peak[x] = top > b ? top : b;                                                                          \
        }                                                                                                         \
    }                                                                                                             \
    FAST static void multiply_##NAME(const T *restrict src, T *restrict dst, const float *restrict scales,        \
                                     const float *restrict shares, const float *restrict tops,                    \
                                     const float *restrict cb, const float *restrict cr, int width)               \
    {                                                                                                             \
        int x;                                                                                                    \
        for (x = 0; x < width; x++) {                                                                             \
            float scale = scales[x], share = shares[x] * (float)(TOP), top = tops[x];                             \
            float clean = share_of_cleanup(scale) * scale, u = clean * cb[x], v = clean * cr[x];                  \
            float r = share + R_CR * v, g = share + G_CB * u + G_CR * v, b = share + B_CB * u;                    \
            dst[step * x] = (T)STORE((float)src[step * x], scale, r);                                             \
            dst[step * x + 1] = (T)STORE((float)src[step * x + 1], scale, g);                                     \
            dst[step * x + 2] = (T)STORE((float)src[step * x + 2], scale, b);                                     \
            if (step == 4)                                                                                        \
                dst[step * x + 3] = src[step * x + 3];                                                            \
            (void)top;                                                                                            \
        }                                                                                                         \
    }                                                                                                             \
    static void NAME(const void *source, void *target, const Maps *m, const CleanRow *clean, float *buffer,       \
                     int width, float floor)                                                                      \
    {                                                                                                             \
        const T *src = source;                                                                                    \
        T *dst = target;                                                                                          \
        float *luma = buffer, *peak = buffer + width, *tops = buffer + 2 * (size_t)width;                         \
        int x;                                                                                                    \
        measure_##NAME(src, luma, peak, width);                                                                   \
        for (x = 0; x < width; x++)                                                                               \
            tops[x] = peak[x] < 1.0f ? (float)(TOP) - 1.0f : (float)(TOP);                                        \
        gain_row(luma, peak, clean->fine, clean->unit / (float)(TOP), m, width, floor);                           \
        multiply_##NAME(src, dst, luma, peak, tops, clean->cb, clean->cr, width);                                 \
    }

/* Integers: what was below the maximum stays below it after rounding. Floats: what is at the maximum or above it stays,
   and what is not a number. */
#define STORE_CODE(v, scale, share)                                                                                   \
    (not_below(v, (v) * (scale) + (share) + 0.5f) < top ? not_below(v, (v) * (scale) + (share) + 0.5f) : top)
#define STORE_FLOAT(v, scale, share) ((v) < 1.0f ? not_below(v, (v) * (scale) + (share)) : (v))

RGB_ROW(rgb_u8, uint8_t, 255, STORE_CODE, 3)
RGB_ROW(rgba_u8, uint8_t, 255, STORE_CODE, 4)
RGB_ROW(rgb_u16, uint16_t, 65535, STORE_CODE, 3)
RGB_ROW(rgba_u16, uint16_t, 65535, STORE_CODE, 4)
RGB_ROW(rgb_f32, float, 1, STORE_FLOAT, 3)
RGB_ROW(rgba_f32, float, 1, STORE_FLOAT, 4)

typedef void (*Row)(const void *, void *, const Maps *, const CleanRow *, float *, int, float);

static Row row_of(char kind, int channels)
{
    if (kind == 'B')
        return channels == 3 ? rgb_u8 : rgba_u8;
    if (kind == 'H')
        return channels == 3 ? rgb_u16 : rgba_u16;
    return channels == 3 ? rgb_f32 : rgba_f32;
}

#define PLANES(T)                                                                                                 \
    /* Relights a row, and keeps its luma and squared light, both in [0, 1]. */                                   \
    FAST static void luma_##T(const T *restrict src, T *restrict dst, const int8_t *restrict fine,                \
                              float unit_of_fine, const Maps *m, float *restrict luma, float *restrict squares,   \
                              int width, const Coding *coding, float floor)                                       \
    {                                                                                                             \
        const Coding c = *coding;                                                                                 \
        const float *restrict slope = m->row_slope, *restrict offset = m->row_offset;                             \
        int x;                                                                                                    \
        for (x = 0; x < width; x++) {                                                                             \
            float d = (float)src[x] + (float)fine[x] * unit_of_fine - c.y_offset, y = unit(d * c.y_scale);        \
            float square = squared_light(slope[x], offset[x], y, floor);                                          \
            float out = c.y_offset + d * (d > 0.0f ? gain_of(square, y) : 1.0f) + 0.5f;                           \
            luma[x] = y;                                                                                          \
            squares[x] = square;                                                                                  \
            dst[x] = (T)(out < c.top ? out : c.top);                                                              \
        }                                                                                                         \
    }                                                                                                             \
    /* The gains of chroma from the means of luma and squared light over its samples. */                          \
    FAST static void chroma_gain_##T(const T *restrict u, const T *restrict v, const float *restrict luma,        \
                                     const float *restrict squares, float *restrict gains, int width,             \
                                     const Coding *coding)                                                        \
    {                                                                                                             \
        const Coding c = *coding;                                                                                 \
        int x;                                                                                                    \
        for (x = 0; x < width; x++) {                                                                             \
            float cb = ((float)u[x] - c.c_offset) * c.c_scale, cr = ((float)v[x] - c.c_offset) * c.c_scale;       \
            float r = c.r_cr * cr, g = c.g_cb * cb + c.g_cr * cr, b = c.b_cb * cb, y = luma[x];                   \
            float lift, high, gain; /* how far the brightest channel lies above luma */                           \
            r = r > g ? r : g;                                                                                    \
            lift = r > b ? r : b;                                                                                 \
            high = unit(y + lift);                                                                                \
            gain = chroma_gain_of(squares[x], y, high, gain_of(squares[x], y));                                   \
            /* What lies above white stays. */                                                                    \
            gains[x] = y + lift > 1.0f ? 1.0f + (gain - 1.0f) * (high - y) / (lift + BLACK) : gain;               \
        }                                                                                                         \
    }                                                                                                             \
    FAST static void chroma_##T(const T *restrict src, T *restrict dst, const float *restrict gains,              \
                                const float *restrict change, int width, const Coding *coding)                    \
    {                                                                                                             \
        const Coding c = *coding;                                                                                 \
        int x;                                                                                                    \
        for (x = 0; x < width; x++) {                                                                             \
            float clean = (float)src[x] + share_of_cleanup(gains[x]) * change[x];                                 \
            float out = c.c_offset + (clean - c.c_offset) * gains[x] + 0.5f;                                      \
            out = out > 0.0f ? out : 0.0f;                                                                        \
            dst[x] = (T)(out < c.top ? out : c.top);                                                              \
        }                                                                                                         \
    }

PLANES(uint8_t)
PLANES(uint16_t)

/* Adds one luma row's values into the running mean of its chroma row. */
FAST static void gather(const float *restrict values, float *restrict mean, int width, int shift, float weight, int first)
{
    int x, half = width / 2;
    if (first)
        memset(mean, 0, (size_t)(shift ? (width + 1) / 2 : width) * sizeof(float));
    if (!shift) {
        for (x = 0; x < width; x++)
            mean[x] += weight * values[x];
        return;
    }
    for (x = 0; x < half; x++)
        mean[x] += 0.5f * weight * (values[2 * x] + values[2 * x + 1]);
    if (width & 1)
        mean[half] += weight * values[width - 1];
}

/* ------------------------------------------------------------------ Python */

static int get_plane(PyObject *object, Py_buffer *view, int dimensions, const char *name, int writable)
{
    if (PyObject_GetBuffer(object, view, PyBUF_STRIDES | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0)) < 0)
        return -1;
    if (view->ndim != dimensions || view->strides[dimensions - 1] != view->itemsize) {
        PyErr_Format(PyExc_ValueError, "%s must have %d dimensions, the last one contiguous", name, dimensions);
        PyBuffer_Release(view);
        return -1;
    }
    return 0;
}

static int get_maps(PyObject *slope, PyObject *offset, Py_buffer views[2], Maps *maps, int height, int width)
{
    PyObject *objects[2];
    int i;
    objects[0] = slope;
    objects[1] = offset;
    for (i = 0; i < 2; i++) {
        if (PyObject_GetBuffer(objects[i], &views[i], PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0) {
            if (i) PyBuffer_Release(&views[0]);
            return -1;
        }
    }
    if (views[0].ndim != 2 || views[1].ndim != 2 || views[0].shape[0] != views[1].shape[0] ||
        views[0].shape[1] != views[1].shape[1] || strcmp(views[0].format, "f") || strcmp(views[1].format, "f") ||
        views[0].shape[0] < 1 || views[0].shape[1] < 1) {
        PyErr_SetString(PyExc_ValueError, "slope and offset must be float32 maps of one size");
        goto fail;
    }
    maps->slope = views[0].buf;
    maps->offset = views[1].buf;
    maps->rows = (int)views[0].shape[0];
    maps->columns = (int)views[0].shape[1];
    maps->height = height;
    maps->width = width;
    if (maps_init(maps) < 0) {
        PyErr_NoMemory();
        goto fail;
    }
    return 0;
fail:
    PyBuffer_Release(&views[0]);
    PyBuffer_Release(&views[1]);
    return -1;
}

/* Whole-picture corrections, see runtime/light/shadows.py; a row of zeros stands for what is None. */
typedef struct {
    Py_buffer view[3]; /* luma's int8, Cb's and Cr's float32 */
    int held[3];
    float unit;  /* of luma's, in codes */
    void *zeros; /* a row */
} Clean;

static void clean_free(Clean *clean)
{
    int i;
    for (i = 0; i < 3; i++)
        if (clean->held[i])
            PyBuffer_Release(&clean->view[i]);
    free(clean->zeros);
}

/* `object` is None or (luma or None, Cb or None, Cr or None, unit). */
static int clean_init(Clean *clean, PyObject *object, int height, int width, int chroma_height, int chroma_width)
{
    PyObject *part[3] = {Py_None, Py_None, Py_None};
    int i;
    memset(clean, 0, sizeof *clean);
    if (object != Py_None && !PyTuple_Check(object)) {
        PyErr_SetString(PyExc_TypeError, "corrections must be None or a tuple");
        return -1;
    }
    if (object != Py_None && !PyArg_ParseTuple(object, "OOOf", &part[0], &part[1], &part[2], &clean->unit))
        return -1;
    clean->zeros = calloc((size_t)width, sizeof(float));
    if (!clean->zeros) {
        PyErr_NoMemory();
        return -1;
    }
    for (i = 0; i < 3; i++) {
        Py_buffer *view = &clean->view[i];
        if (part[i] == Py_None)
            continue;
        if (PyObject_GetBuffer(part[i], view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0)
            goto fail;
        clean->held[i] = 1;
        if (view->ndim != 2 || strcmp(view->format, i ? "f" : "b") || view->shape[0] != (i ? chroma_height : height) ||
            view->shape[1] != (i ? chroma_width : width)) {
            PyErr_SetString(PyExc_ValueError, "corrections must be int8 of luma's and float32 of chroma's size");
            goto fail;
        }
    }
    return 0;
fail:
    clean_free(clean);
    return -1;
}

static const void *clean_row(const Clean *clean, int part, int row)
{
    if (!clean->held[part])
        return clean->zeros;
    return (const char *)clean->view[part].buf + (Py_ssize_t)row * clean->view[part].strides[0];
}

PyDoc_STRVAR(rgb_doc,
             "rgb(source, target, slope, offset, floor, clean, start, stop)\n\n"
             "Relight rows [start, stop) of an interleaved (H, W, 3 or 4) uint8, uint16 or float32 picture into `target`;\n"
             "alpha is copied. `clean` is None or (luma, Cb, Cr, unit of luma in codes).");

static PyObject *relight_rgb(PyObject *self, PyObject *args)
{
    PyObject *source, *target, *slope, *offset, *cleanup, *result = NULL;
    Py_buffer src, dst, views[2];
    Maps maps;
    Clean clean;
    float floor, *buffer;
    int y, height, width, channels, start, stop;
    char kind;
    Row row;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOOfOii", &source, &target, &slope, &offset, &floor, &cleanup, &start, &stop))
        return NULL;
    if (get_plane(source, &src, 3, "source", 0) < 0)
        return NULL;
    if (get_plane(target, &dst, 3, "target", 1) < 0) {
        PyBuffer_Release(&src);
        return NULL;
    }
    kind = src.format[0];
    height = (int)src.shape[0];
    width = (int)src.shape[1];
    channels = (int)src.shape[2];
    start = start > 0 ? start : 0;
    stop = stop < height ? stop : height;
    if (memcmp(src.shape, dst.shape, 3 * sizeof(Py_ssize_t)) || strcmp(src.format, dst.format) ||
        !strchr("BHf", kind) || (channels != 3 && channels != 4) ||
        src.strides[1] != channels * src.itemsize || dst.strides[1] != channels * dst.itemsize) {
        PyErr_SetString(PyExc_ValueError, "source and target must both be (H, W, 3 or 4) uint8, uint16 or float32");
        goto done;
    }
    if (clean_init(&clean, cleanup, height, width, height, width) < 0)
        goto done;
    if (get_maps(slope, offset, views, &maps, height, width) < 0)
        goto release_clean;
    buffer = malloc((size_t)width * 3 * sizeof(float));
    if (!buffer) {
        PyErr_NoMemory();
        goto release;
    }
    row = row_of(kind, channels);
    Py_BEGIN_ALLOW_THREADS
    for (y = start; y < stop; y++) {
        CleanRow of_row;
        of_row.fine = clean_row(&clean, 0, y);
        of_row.unit = clean.unit;
        of_row.cb = clean_row(&clean, 1, y);
        of_row.cr = clean_row(&clean, 2, y);
        maps_row(&maps, y);
        row((const char *)src.buf + y * src.strides[0], (char *)dst.buf + y * dst.strides[0], &maps, &of_row, buffer,
            width, floor);
    }
    Py_END_ALLOW_THREADS
    free(buffer);
    result = Py_NewRef(Py_None);
release:
    maps_free(&maps);
    PyBuffer_Release(&views[0]);
    PyBuffer_Release(&views[1]);
release_clean:
    clean_free(&clean);
done:
    PyBuffer_Release(&src);
    PyBuffer_Release(&dst);
    return result;
}

#define RUN_PLANES(T)                                                                                              \
    do {                                                                                                           \
        for (row = 0; row < chroma_height; row++) {                                                                \
            int first = row << shift_y, count = shift_y && first + 1 < height ? 2 : 1, k;                          \
            for (k = 0; k < count; k++) {                                                                          \
                maps_row(&maps, first + k);                                                                        \
                luma_##T((const T *)ROW(0, first + k), (T *)ROW(3, first + k), FINE(first + k), clean.unit, &maps, \
                         luma, squares, width, &coding, floor);                                                    \
                gather(luma, mean_luma, width, shift_x, 1.0f / (float)count, k == 0);                              \
                gather(squares, mean_square, width, shift_x, 1.0f / (float)count, k == 0);                         \
            }                                                                                                      \
            chroma_gain_##T((const T *)ROW(1, row), (const T *)ROW(2, row), mean_luma, mean_square, gains,         \
                            chroma_width, &coding);                                                                \
            chroma_##T((const T *)ROW(1, row), (T *)ROW(4, row), gains, CHANGE(1, row), chroma_width, &coding);    \
            chroma_##T((const T *)ROW(2, row), (T *)ROW(5, row), gains, CHANGE(2, row), chroma_width, &coding);    \
        }                                                                                                          \
    } while (0)

PyDoc_STRVAR(planes_doc,
             "planes(y, u, v, y_out, u_out, v_out, slope, offset, floor, clean, coding)\n\n"
             "Relight Y'CbCr planes, uint8 or uint16, 4:4:4, 4:2:2 or 4:2:0. `clean` is as for `rgb`; `coding` is\n"
             "(y_offset, y_scale, c_offset, c_scale, r_cr, g_cb, g_cr, b_cb, top).");

static PyObject *relight_planes(PyObject *self, PyObject *args)
{
    PyObject *object[6], *slope, *offset, *cleanup, *result = NULL;
    Py_buffer plane[6], views[2];
    Maps maps;
    Clean clean;
    Coding coding;
    float floor, *luma, *squares, *mean_luma, *mean_square, *gains;
    void *memory;
    size_t stride;
    int i, got, row, height, width, chroma_height, chroma_width, shift_x, shift_y;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOOOOOOfO(fffffffff)", &object[0], &object[1], &object[2], &object[3], &object[4],
                          &object[5], &slope, &offset, &floor, &cleanup, &coding.y_offset, &coding.y_scale, &coding.c_offset,
                          &coding.c_scale, &coding.r_cr, &coding.g_cb, &coding.g_cr, &coding.b_cb, &coding.top))
        return NULL;
    for (got = 0; got < 6; got++)
        if (get_plane(object[got], &plane[got], 2, "a plane", got >= 3) < 0)
            goto done;
    height = (int)plane[0].shape[0];
    width = (int)plane[0].shape[1];
    chroma_height = (int)plane[1].shape[0];
    chroma_width = (int)plane[1].shape[1];
    shift_x = chroma_width < width;
    shift_y = chroma_height < height;
    for (i = 0; i < 6; i++) {
        int chroma = i % 3 != 0;
        if (plane[i].shape[0] != (chroma ? (height + shift_y) >> shift_y : height) ||
            plane[i].shape[1] != (chroma ? (width + shift_x) >> shift_x : width) ||
            strcmp(plane[i].format, plane[0].format) || !strchr("BH", plane[0].format[0])) {
            PyErr_SetString(PyExc_ValueError, "planes must be uint8 or uint16, chroma full or half the size of luma");
            goto done;
        }
    }
    if (clean_init(&clean, cleanup, height, width, chroma_height, chroma_width) < 0)
        goto done;
    if (get_maps(slope, offset, views, &maps, height, width) < 0)
        goto release_clean;
    luma = rows_of_floats(5, width, &stride, &memory);
    if (!luma) {
        PyErr_NoMemory();
        goto release;
    }
    squares = luma + stride;
    mean_luma = luma + 2 * stride;
    mean_square = luma + 3 * stride;
    gains = luma + 4 * stride;
#define ROW(p, r) ((char *)plane[p].buf + (Py_ssize_t)(r) * plane[p].strides[0])
#define FINE(r) (const int8_t *)clean_row(&clean, 0, r)
#define CHANGE(p, r) (const float *)clean_row(&clean, p, r)
    Py_BEGIN_ALLOW_THREADS
    if (plane[0].itemsize == 1)
        RUN_PLANES(uint8_t);
    else
        RUN_PLANES(uint16_t);
    Py_END_ALLOW_THREADS
    free(memory);
    result = Py_NewRef(Py_None);
release:
    maps_free(&maps);
    PyBuffer_Release(&views[0]);
    PyBuffer_Release(&views[1]);
release_clean:
    clean_free(&clean);
done:
    while (got > 0)
        PyBuffer_Release(&plane[--got]);
    return result;
}

static PyMethodDef methods[] = {
    {"rgb", relight_rgb, METH_VARARGS, rgb_doc},
    {"planes", relight_planes, METH_VARARGS, planes_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_relight", "The light map applied to full-size pictures.", -1, methods, NULL, NULL, NULL,
    NULL,
};

PyMODINIT_FUNC PyInit__relight(void)
{
    return PyModule_Create(&module);
}
