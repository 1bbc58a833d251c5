/* What lifted shadows are cleaned of: the steps between codes, and the noise of chroma.
 *
 * Each pixel is compared with a fixed star of others around it, the taps. runtime/light/shadows.py says why and holds
 * the same in numpy: the definition, the fall-back and what the tests compare with.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "_loops.h"

#define TAPS 64  /* at most */
#define FLUSH 8  /* taps whose differences, of up to 15 codes each, int8_t can hold */

typedef struct {
    int count, weight[TAPS], weights; /* weights: their sum */
    ptrdiff_t at[TAPS];               /* samples from the middle, in a padded plane */
} Taps;

/* ------------------------------------------------------------------ rows */

/* Adds the differences of -1, 0 or 1 of four taps; others count as 0. No sample of `c` and its taps is 255, so that
   a difference of 255 does not pass for one of -1. */
FAST static void step_row(const uint8_t *restrict c, const uint8_t *restrict p, const uint8_t *restrict q,
                          const uint8_t *restrict r, const uint8_t *restrict s, int8_t *restrict sum, int width,
                          int weight)
{
    int x;
#define STEP(tap) ((uint8_t)(tap[x] - c[x] + 1) < 3 ? (uint8_t)(tap[x] - c[x]) : 0)
    for (x = 0; x < width; x++) {
        int8_t steps = (int8_t)(STEP(p) + STEP(q));
        steps = (int8_t)(steps + STEP(r) + STEP(s));
        sum[x] = (int8_t)(sum[x] + steps * weight);
    }
}

FAST static void bound_row(int8_t *restrict sum, int width, int8_t bound)
{
    int x;
    for (x = 0; x < width; x++) {
        int8_t value = sum[x] < bound ? sum[x] : bound;
        sum[x] = value > -bound ? value : (int8_t)-bound;
    }
}

/* Adds the chroma differences of one tap where luma and both chromas are alike, and counts it there. */
FAST static void alike_row_u8(const uint8_t *restrict y, const uint8_t *restrict u, const uint8_t *restrict v,
                              const uint8_t *restrict ty, const uint8_t *restrict tu, const uint8_t *restrict tv,
                              int8_t *restrict us, int8_t *restrict vs, int8_t *restrict counts, int width,
                              uint8_t luma_gate, uint8_t gate)
{
    int x;
#define DISTANCE(a, b) ((a)[x] > (b)[x] ? (uint8_t)((a)[x] - (b)[x]) : (uint8_t)((b)[x] - (a)[x]))
    for (x = 0; x < width; x++) {
        uint8_t luma = DISTANCE(ty, y), first = DISTANCE(tu, u), second = DISTANCE(tv, v);
        uint8_t alike = (uint8_t)-((luma <= luma_gate) & (first <= gate) & (second <= gate));
        us[x] = (int8_t)(us[x] + (int8_t)((uint8_t)(tu[x] - u[x]) & alike));
        vs[x] = (int8_t)(vs[x] + (int8_t)((uint8_t)(tv[x] - v[x]) & alike));
        counts[x] = (int8_t)(counts[x] - (int8_t)alike);
    }
}

FAST static void flush_row(int8_t *restrict some, int16_t *restrict sum, int width)
{
    int x;
    for (x = 0; x < width; x++) {
        sum[x] = (int16_t)(sum[x] + some[x]);
        some[x] = 0;
    }
}

FAST static void alike_row_u16(const uint16_t *restrict y, const uint16_t *restrict u, const uint16_t *restrict v,
                               const uint16_t *restrict ty, const uint16_t *restrict tu, const uint16_t *restrict tv,
                               int16_t *restrict us, int16_t *restrict vs, int16_t *restrict counts, int width,
                               int16_t luma_gate, int16_t gate)
{
    int x;
    for (x = 0; x < width; x++) {
        int16_t luma = (int16_t)(ty[x] - y[x]), first = (int16_t)(tu[x] - u[x]), second = (int16_t)(tv[x] - v[x]);
        int16_t alike = (int16_t)-((luma <= luma_gate) & (luma >= -luma_gate) & (first <= gate) & (first >= -gate) &
                                   (second <= gate) & (second >= -gate));
        us[x] = (int16_t)(us[x] + (first & alike));
        vs[x] = (int16_t)(vs[x] + (second & alike));
        counts[x] = (int16_t)(counts[x] - alike);
    }
}

/* The mean difference; the pixel itself counts as one that does not differ. */
FAST static void mean_row(const int16_t *restrict sum, const int16_t *restrict counts, float *restrict mean, int width)
{
    int x;
    for (x = 0; x < width; x++)
        mean[x] = (float)sum[x] / (float)(counts[x] + 1);
}

/* ------------------------------------------------------------------ Python */

static int get(PyObject *object, Py_buffer *view, const char *format, int dimensions, int writable, const char *name)
{
    if (PyObject_GetBuffer(object, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0)) < 0)
        return -1;
    if (view->ndim != dimensions || !strchr(format, view->format[0]) || view->format[1]) {
        PyErr_Format(PyExc_ValueError, "%s must be contiguous, with %d dimensions and a type of \"%s\"", name, dimensions,
                     format);
        PyBuffer_Release(view);
        return -1;
    }
    return 0;
}

/* Reads (dy, dx, weight) of each tap; the padding must reach as far. */
static int get_taps(PyObject *object, Taps *taps, int reach, Py_ssize_t stride)
{
    Py_ssize_t i;
    PyObject *fast = PySequence_Fast(object, "taps must be a sequence of (dy, dx, weight)");
    if (!fast)
        return -1;
    taps->count = (int)PySequence_Fast_GET_SIZE(fast);
    taps->weights = 0;
    for (i = 0; taps->count <= TAPS && i < taps->count; i++) {
        int dy, dx;
        if (!PyTuple_Check(PySequence_Fast_GET_ITEM(fast, i)))
            break;
        if (!PyArg_ParseTuple(PySequence_Fast_GET_ITEM(fast, i), "iii", &dy, &dx, &taps->weight[i]))
            break;
        if (abs(dy) > reach || abs(dx) > reach || taps->weight[i] < 1 || taps->weight[i] > 127)
            break;
        taps->at[i] = dy * stride + dx;
        taps->weights += taps->weight[i];
    }
    Py_DECREF(fast);
    if (!taps->count || i < taps->count) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "no taps, too many, or one that is no (dy, dx, weight) within the padding");
        return -1;
    }
    return 0;
}

/* Whether `padded` is (H + 2 reach, W + 2 reach) and `spans` (H, 2), within W, for an `out` of (H, W). */
static int sizes_fit(const Py_buffer *padded, int reach, const Py_buffer *spans, const Py_buffer *out)
{
    int fit = reach >= 0 && padded->shape[0] == out->shape[0] + 2 * (Py_ssize_t)reach &&
              padded->shape[1] == out->shape[1] + 2 * (Py_ssize_t)reach && spans->shape[0] == out->shape[0] &&
              spans->shape[1] == 2;
    Py_ssize_t y;
    for (y = 0; fit && y < spans->shape[0]; y++) {
        const int *span = (const int *)spans->buf + 2 * y;
        fit = 0 <= span[0] && span[0] <= span[1] && span[1] <= out->shape[1];
    }
    if (!fit)
        PyErr_SetString(PyExc_ValueError, "the sizes of planes, padding and spans do not fit");
    return fit;
}

PyDoc_STRVAR(steps_doc,
             "steps(padded, reach, taps, spans, out)\n\n"
             "Sum the weighted differences of taps that differ by one code, bounded to less than half a code, into\n"
             "`out` (H, W) int8. `padded` is uint8 of at most 254, by `reach` samples on all sides. `spans` (H, 2) int32\n"
             "is the first column of each row and the one behind the last; what lies outside becomes 0. The number of\n"
             "taps is a multiple of 4, of one weight each four.");

static PyObject *steps(PyObject *self, PyObject *args)
{
    PyObject *padded, *sequence, *spans, *out, *result = NULL;
    Py_buffer source, wanted, target;
    Taps taps;
    int reach, y, t, height, width;
    (void)self;
    if (!PyArg_ParseTuple(args, "OiOOO", &padded, &reach, &sequence, &spans, &out))
        return NULL;
    if (get(padded, &source, "B", 2, 0, "padded") < 0)
        return NULL;
    if (get(spans, &wanted, "i", 2, 0, "spans") < 0)
        goto release_source;
    if (get(out, &target, "b", 2, 1, "out") < 0)
        goto release_spans;
    if (!sizes_fit(&source, reach, &wanted, &target) || get_taps(sequence, &taps, reach, source.shape[1]) < 0)
        goto done;
    if (taps.count % 4 || taps.weights > 127) {
        PyErr_SetString(PyExc_ValueError, "the number of taps must be a multiple of 4, their weights at most 127 in all");
        goto done;
    }
    height = (int)target.shape[0];
    width = (int)target.shape[1];
    Py_BEGIN_ALLOW_THREADS
    memset(target.buf, 0, (size_t)height * (size_t)width);
    for (y = 0; y < height; y++) {
        const int *span = (const int *)wanted.buf + 2 * (size_t)y, length = span[1] - span[0];
        const uint8_t *c = (const uint8_t *)source.buf + (size_t)(y + reach) * (size_t)source.shape[1] + reach + span[0];
        int8_t *sum = (int8_t *)target.buf + (size_t)y * (size_t)width + span[0];
        for (t = 0; length > 0 && t < taps.count; t += 4)
            step_row(c, c + taps.at[t], c + taps.at[t + 1], c + taps.at[t + 2], c + taps.at[t + 3], sum, length,
                     taps.weight[t]);
        bound_row(sum, length, (int8_t)((taps.weights - 1) / 2));
    }
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    PyBuffer_Release(&target);
release_spans:
    PyBuffer_Release(&wanted);
release_source:
    PyBuffer_Release(&source);
    return result;
}

/* One row of T samples; `memory` is 3 * width int16_t, and behind them 3 * width int8_t. */
#define ALIKE(T)                                                                                                      \
    static void alike_##T(const T *y, const T *u, const T *v, const Taps *taps, int16_t *memory, int width,           \
                          int luma_gate, int gate)                                                                    \
    {                                                                                                                 \
        int16_t *us = memory, *vs = memory + width, *counts = memory + 2 * (size_t)width;                             \
        int8_t *some = (int8_t *)(memory + 3 * (size_t)width);                                                        \
        int t;                                                                                                        \
        memset(memory, 0, 3 * (size_t)width * (sizeof(int16_t) + 1));                                                 \
        for (t = 0; t < taps->count; t++)                                                                             \
            TAP_##T(taps->at[t], t % FLUSH == FLUSH - 1 || t == taps->count - 1)                                      \
    }
#define TAP_uint8_t(at, full)                                                                                         \
    {                                                                                                                 \
        alike_row_u8(y, u, v, y + at, u + at, v + at, some, some + width, some + 2 * (size_t)width, width,            \
                     (uint8_t)luma_gate, (uint8_t)gate);                                                              \
        if (full) {                                                                                                   \
            flush_row(some, us, width);                                                                               \
            flush_row(some + width, vs, width);                                                                       \
            flush_row(some + 2 * (size_t)width, counts, width);                                                       \
        }                                                                                                             \
    }
#define TAP_uint16_t(at, full)                                                                                        \
    {                                                                                                                 \
        (void)some;                                                                                                   \
        (void)(full);                                                                                                 \
        alike_row_u16(y, u, v, y + at, u + at, v + at, us, vs, counts, width, (int16_t)luma_gate, (int16_t)gate);                       \
    }
ALIKE(uint8_t)
ALIKE(uint16_t)

PyDoc_STRVAR(alike_doc,
             "alike(luma, cb, cr, reach, taps, spans, luma_gate, gate, cb_out, cr_out)\n\n"
             "Average how taps differ in chroma, of those that differ by at most `luma_gate` codes in luma and `gate` in\n"
             "each chroma, into `cb_out` and `cr_out` (H, W) float32. The planes are uint8, or uint16 of up to 14 bits,\n"
             "padded by `reach`; what lies outside `spans` (H, 2) int32, see `steps`, becomes 0. `gate` is at most 15 for\n"
             "uint8, else such that as many times as there are taps it is below 32768.");

static PyObject *alike(PyObject *self, PyObject *args)
{
    PyObject *object[5], *spans, *sequence, *result = NULL;
    Py_buffer view[5], wanted;
    Taps taps;
    int16_t *memory;
    int reach, luma_gate, gate, got, i, y, height, width, bytes;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOiOOiiOO", &object[0], &object[1], &object[2], &reach, &sequence, &spans, &luma_gate,
                          &gate, &object[3], &object[4]))
        return NULL;
    if (get(spans, &wanted, "i", 2, 0, "spans") < 0)
        return NULL;
    for (got = 0; got < 5; got++)
        if (get(object[got], &view[got], got < 3 ? "BH" : "f", 2, got >= 3, "a plane") < 0)
            goto done;
    bytes = (int)view[0].itemsize;
    for (i = 0; i < 5; i++)
        if (!sizes_fit(&view[i < 3 ? i : 0], reach, &wanted, &view[i < 3 ? 3 : i]) ||
            (i < 3 && view[i].itemsize != bytes)) {
            PyErr_SetString(PyExc_ValueError, "the planes must be of one type and one size");
            goto done;
        }
    if (get_taps(sequence, &taps, reach, view[0].shape[1]) < 0)
        goto done;
    if (luma_gate < 0 || gate < 0 || luma_gate > (bytes == 1 ? 255 : INT16_MAX) ||
        gate > (bytes == 1 ? 127 / FLUSH : INT16_MAX / taps.count)) {
        PyErr_SetString(PyExc_ValueError, "a gate is out of range");
        goto done;
    }
    height = (int)view[3].shape[0];
    width = (int)view[3].shape[1];
    memory = malloc(3 * (size_t)width * (sizeof(int16_t) + 1));
    if (!memory) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    for (y = 0; y < height; y++) {
        const int *span = (const int *)wanted.buf + 2 * (size_t)y, length = span[1] - span[0];
        size_t at = (size_t)(y + reach) * (size_t)view[0].shape[1] + (size_t)reach + (size_t)span[0];
        float *first = (float *)view[3].buf + (size_t)y * (size_t)width;
        float *second = (float *)view[4].buf + (size_t)y * (size_t)width;
        for (i = 0; i < 2; i++) {
            float *change = i ? second : first;
            memset(change, 0, (size_t)span[0] * sizeof(float));
            memset(change + span[1], 0, (size_t)(width - span[1]) * sizeof(float));
        }
        first += span[0];
        second += span[0];
#define AT(T, plane) ((const T *)view[plane].buf + at)
        if (bytes == 1)
            alike_uint8_t(AT(uint8_t, 0), AT(uint8_t, 1), AT(uint8_t, 2), &taps, memory, length, luma_gate, gate);
        else
            alike_uint16_t(AT(uint16_t, 0), AT(uint16_t, 1), AT(uint16_t, 2), &taps, memory, length, luma_gate, gate);
        mean_row(memory, memory + 2 * (size_t)length, first, length);
        mean_row(memory + length, memory + 2 * (size_t)length, second, length);
    }
    Py_END_ALLOW_THREADS
    free(memory);
    result = Py_NewRef(Py_None);
done:
    while (got > 0)
        PyBuffer_Release(&view[--got]);
    PyBuffer_Release(&wanted);
    return result;
}

static PyMethodDef methods[] = {
    {"steps", steps, METH_VARARGS, steps_doc},
    {"alike", alike, METH_VARARGS, alike_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_shadows", "What lifted shadows are cleaned of.", -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__shadows(void)
{
    return PyModule_Create(&module);
}
