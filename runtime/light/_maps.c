/* The small maps of a clip's light, point by point: shrunk planes, the temporal filter, the guided filter.
 *
 * The functions of runtime/light that call these hold the same in numpy and OpenCV: the definition, the fall-back and what
 * the tests compare with. Maps are contiguous float32 of one size (h, w); where one may be None, it counts as 0 everywhere.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "_loops.h"

#define MOST 24 /* maps of one call */

INLINE float larger(float a, float b)
{
    return a > b ? a : b;
}

INLINE float smaller(float a, float b)
{
    return a < b ? a : b;
}

/* Within [low, high]; NaN becomes low. */
INLINE float within(float x, float low, float high)
{
    return smaller(larger(x, low), high);
}

/* ------------------------------------------------------------------ arguments */

typedef struct {
    Py_buffer view[MOST];
    float *at[MOST]; /* NULL for None */
    float *zeros;    /* a row that stands for None */
    int count, height, width;
} Maps;

static void maps_free(Maps *maps)
{
    int i;
    for (i = 0; i < maps->count; i++)
        if (maps->at[i])
            PyBuffer_Release(&maps->view[i]);
    free(maps->zeros);
}

/* Opens `wanted` maps of a tuple, those from `written` on to be written to. The last `bytes` ones are uint8. */
static int maps_get(PyObject *tuple, Maps *maps, int wanted, int written, int bytes)
{
    int i;
    maps->count = 0;
    maps->height = maps->width = 0;
    maps->zeros = NULL;
    if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != wanted) {
        PyErr_Format(PyExc_ValueError, "expected a tuple of %d maps", wanted);
        return -1;
    }
    for (i = 0; i < wanted; i++) {
        PyObject *object = PyTuple_GET_ITEM(tuple, i);
        Py_buffer *view = &maps->view[i];
        const char *format = i >= wanted - bytes ? "B" : "f";
        maps->at[i] = NULL;
        if (object == Py_None && i < written) {
            maps->count++;
            continue;
        }
        if (PyObject_GetBuffer(object, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (i >= written ? PyBUF_WRITABLE : 0)) < 0)
            goto fail;
        maps->at[i] = view->buf;
        maps->count++;
        if (view->ndim != 2 || strcmp(view->format, format) || view->shape[0] < 1 || view->shape[1] < 1 ||
            view->shape[0] > 1 << 20 || view->shape[1] > 1 << 20) {
            PyErr_Format(PyExc_ValueError, "map %d must be (h, w) of type \"%s\", neither empty nor huge", i, format);
            goto fail;
        }
        if (!maps->width) {
            maps->height = (int)view->shape[0];
            maps->width = (int)view->shape[1];
        } else if (view->shape[0] != maps->height || view->shape[1] != maps->width) {
            PyErr_SetString(PyExc_ValueError, "the maps must be of one size");
            goto fail;
        }
    }
    maps->zeros = calloc((size_t)maps->width + 1, sizeof(float));
    if (maps->zeros)
        return 0;
    PyErr_NoMemory();
fail:
    maps_free(maps);
    return -1;
}

/* Whether none of the maps is None; frees them otherwise. */
static int all_given(Maps *maps)
{
    int i;
    for (i = 0; i < maps->count; i++)
        if (!maps->at[i]) {
            PyErr_SetString(PyExc_ValueError, "a map is None");
            maps_free(maps);
            return 0;
        }
    return 1;
}

#define ROW(maps, i, y) ((maps).at[i] ? (maps).at[i] + (size_t)(y) * (size_t)(maps).width : (maps).zeros)
#define BYTES(maps, i, y) ((uint8_t *)(maps).at[i] + (size_t)(y) * (size_t)(maps).width)

/* ------------------------------------------------------------------ what has changed */

typedef struct {
    float still, span, elapsed, longest, share, noise, still_change, calm;
    int returning;
} Change;

FAST static void change_row(const float *restrict luma, const float *restrict blurred, const float *restrict kept_blurred,
                            const float *restrict mean, const float *restrict kept, const float *restrict age,
                            const float *restrict disturbed, const float *restrict carried, float *restrict drift,
                            float *restrict deviation, float *restrict changed, float *restrict rate,
                            float *restrict quiet, float *restrict new_age, float *restrict new_disturbed,
                            uint8_t *restrict fresh, int width, const Change *c, float *restrict lanes)
{
    const float still = c->still, span = c->span, elapsed = c->elapsed, longest = c->longest, share = c->share;
    const float noise = c->noise, still_change = c->still_change, calm = c->calm;
    const float least = c->returning ? 1.0f : 0.0f;
    int x, k;
    for (x = 0; x < width; x++) {
        float difference = blurred[x] - mean[x], size = fabsf(difference), change, weight, seconds, part;
        drift[x] = drift[x] * (1.0f - share) + difference * share;
        deviation[x] = deviation[x] * (1.0f - share) + size * share;
        change = larger(larger(size, fabsf(blurred[x] - kept_blurred[x])), fabsf(drift[x]) * noise);
        change = smaller(change, fabsf(luma[x] - kept[x]));
        change = within((change - still) * span, 0.0f, 1.0f);
        seconds = larger(age[x], elapsed) + elapsed;
        weight = smaller(larger(elapsed / smaller(seconds, longest), change), 1.0f);
        changed[x] = change;
        rate[x] = weight;
        new_age[x] = elapsed / weight;
        quiet[x] = within(1.0f - still_change * change, 0.0f, 1.0f);
        part = quiet[x] * (1.0f - carried[x]);
        part = larger(larger(disturbed[x] - calm, part <= 0.0f ? 1.0f : 0.0f), least);
        new_disturbed[x] = part;
    }
    for (x = 0; x + 16 <= width; x += 16)
        for (k = 0; k < 16; k++)
            lanes[k] += quiet[x + k];
    for (; x < width; x++)
        lanes[0] += quiet[x];
    for (x = 0; x < width; x++) {
        quiet[x] *= 1.0f - carried[x];
        fresh[x] = new_disturbed[x] > 0.0f;
    }
}

PyDoc_STRVAR(change_doc,
             "change(maps, still, span, elapsed, longest, share, noise, still_change, calm, returning) -> float\n\n"
             "See `means.changes`. `maps`: luma, blurred, kept_blurred, mean, kept, age, disturbed, carried (may be\n"
             "None); drift, deviation (both changed), changed, rate, quiet, age, disturbed; and fresh (uint8). Returns the\n"
             "mean of quiet before what is carried is taken from it.");

static PyObject *change(PyObject *self, PyObject *args)
{
    PyObject *tuple;
    Maps m;
    Change c;
    double sum = 0.0;
    int y, k;
    (void)self;
    if (!PyArg_ParseTuple(args, "Offffffffp", &tuple, &c.still, &c.span, &c.elapsed, &c.longest, &c.share, &c.noise,
                          &c.still_change, &c.calm, &c.returning))
        return NULL;
    if (maps_get(tuple, &m, 16, 8, 1) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    for (y = 0; y < m.height; y++) {
        float lanes[16] = {0.0f};
        change_row(ROW(m, 0, y), ROW(m, 1, y), ROW(m, 2, y), ROW(m, 3, y), ROW(m, 4, y), ROW(m, 5, y), ROW(m, 6, y),
                   ROW(m, 7, y), ROW(m, 8, y), ROW(m, 9, y), ROW(m, 10, y), ROW(m, 11, y), ROW(m, 12, y), ROW(m, 13, y),
                   ROW(m, 14, y), BYTES(m, 15, y), m.width, &c, lanes);
        for (k = 0; k < 16; k++)
            sum += lanes[k];
    }
    Py_END_ALLOW_THREADS
    sum /= (double)m.height * m.width;
    maps_free(&m);
    return PyFloat_FromDouble(sum);
}

/* ------------------------------------------------------------------ what is taken of it */

typedef struct {
    float least_age, soon, back, dissolving, step, unbounded, still, span;
} Take;

FAST static void light_row(const float *restrict log_light, const float *restrict luma, const float *restrict light,
                           const float *restrict kept, const float *restrict changed, const float *restrict rate,
                           const float *restrict quiet, const float *restrict age, const float *restrict offset,
                           const uint8_t *restrict beside, float *restrict new_light, float *restrict new_kept,
                           float *restrict taken, int width, const Take *t)
{
    const float least_age = t->least_age, soon = t->soon, back = t->back, dissolving = t->dissolving;
    const float step = t->step, unbounded = t->unbounded;
    int x;
    for (x = 0; x < width; x++) {
        float calm = quiet[x] > 0.5f ? 1.0f : 0.0f, near = beside[x] ? 1.0f : 0.0f;
        float keeps = age[x] >= least_age ? calm * (1.0f - near) : 0.0f;
        float wanted = smaller(log_light[x] + (1.0f - keeps) * offset[x], 0.0f);
        float share = near * calm > 0.0f ? larger(rate[x], soon) : rate[x], most, part;
        share = keeps > 0.0f ? larger(changed[x], back) : share;
        share = larger(share, dissolving);
        most = step + unbounded * larger(1.0f - quiet[x], dissolving);
        part = share * (wanted - light[x]);
        part = smaller(larger(part, -most), most);
        new_light[x] = light[x] + part;
        new_kept[x] = kept[x] + share * (luma[x] - kept[x]);
        taken[x] = calm * larger(keeps, near) > 0.0f ? share : 1.0f;
    }
}

FAST static void average_row(const float *restrict luma, const float *restrict blurred, const float *restrict mean_luma,
                             const float *restrict mean, const float *restrict rate, const float *restrict moved,
                             float *restrict new_luma, float *restrict new_blurred, int width, float still, float span)
{
    int x;
    for (x = 0; x < width; x++) {
        float weight = larger(rate[x], moved[x]), fine = luma[x] - mean_luma[x];
        float thin = within((fabsf(fine) - still) * span, 0.0f, 1.0f);
        new_blurred[x] = mean[x] + weight * (blurred[x] - mean[x]);
        new_luma[x] = mean_luma[x] + larger(weight, thin) * fine;
    }
}

PyDoc_STRVAR(take_doc,
             "take(maps, least_age, soon, back, dissolving, step, unbounded, still, span)\n\n"
             "See `means.take`. `maps`: log_light, luma, blurred, light, mean_luma, mean, kept, changed, rate, quiet,\n"
             "age, offset (may be None), moved (may be None); light, kept, taken, luma, blurred; and beside (uint8).");

static PyObject *take(PyObject *self, PyObject *args)
{
    PyObject *tuple;
    Maps m;
    Take t;
    int y;
    (void)self;
    if (!PyArg_ParseTuple(args, "Offffffff", &tuple, &t.least_age, &t.soon, &t.back, &t.dissolving, &t.step, &t.unbounded,
                          &t.still, &t.span))
        return NULL;
    if (maps_get(tuple, &m, 19, 13, 1) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    for (y = 0; y < m.height; y++) {
        light_row(ROW(m, 0, y), ROW(m, 1, y), ROW(m, 3, y), ROW(m, 6, y), ROW(m, 7, y), ROW(m, 8, y), ROW(m, 9, y),
                  ROW(m, 10, y), ROW(m, 11, y), BYTES(m, 18, y), ROW(m, 13, y), ROW(m, 14, y), ROW(m, 15, y), m.width, &t);
        average_row(ROW(m, 1, y), ROW(m, 2, y), ROW(m, 4, y), ROW(m, 5, y), ROW(m, 8, y), ROW(m, 12, y), ROW(m, 16, y),
                    ROW(m, 17, y), m.width, t.still, t.span);
    }
    Py_END_ALLOW_THREADS
    maps_free(&m);
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------------ what was there before */

#define KNOWN 6 /* maps of what is known of a point: luma, blurred, light, kept, slope, offset */

typedef struct {
    float still, held, restless, unknown;
} Remember;

/* Keeps of `state` what changes now, and tells whether any point looks as it is known. */
FAST static int remember_row(const float *restrict luma, const float *restrict blurred, float *const *state,
                             float *const *known, float *restrict settled, uint8_t *restrict alike,
                             float *restrict leaving, size_t at, int width, const Remember *r)
{
    const float still = r->still, held = r->held, restless = r->restless, unknown = r->unknown;
    const float *restrict mean = state[1] + at, *restrict kept = state[3] + at;
    float *restrict known_blurred = known[1] + at;
    float leave = 0.0f, count = 0.0f;
    int x, k;
    for (x = 0; x < width; x++) {
        float change = smaller(fabsf(blurred[x] - mean[x]), fabsf(luma[x] - kept[x])), for_long = settled[x];
        float leaves = for_long > (known_blurred[x] == unknown ? 0.0f : held) ? 1.0f : 0.0f;
        float waves = for_long > 0.0f && for_long <= restless ? 1.0f - leaves : 0.0f;
        leaving[x] = change > still ? leaves : 0.0f;
        waves = change > still ? waves : 0.0f;
        known_blurred[x] = waves > 0.0f ? unknown : known_blurred[x];
        settled[x] = change > still ? 0.0f : for_long;
    }
    for (x = 0; x < width; x++)
        leave += leaving[x];
    for (k = 0; leave > 0.0f && k < KNOWN; k++) {
        const float *restrict from = state[k] + at;
        float *restrict to = known[k] + at;
        for (x = 0; x < width; x++)
            to[x] = leaving[x] > 0.0f ? from[x] : to[x];
    }
    for (x = 0; x < width; x++)
        leaving[x] = fabsf(blurred[x] - known_blurred[x]) < still ? 1.0f : 0.0f;
    for (x = 0; x < width; x++)
        count += leaving[x];
    for (x = 0; x < width; x++)
        alike[x] = larger(leaving[x], settled[x]) > 0.0f;
    return count > 0.0f;
}

PyDoc_STRVAR(remember_doc, "remember(maps, still, held, restless, unknown) -> bool\n\n"
                           "See `background.Background.remember`. `maps`: luma, blurred, the state's (luma, blurred, light,\n"
                           "kept, slope, offset); those known (the same six, changed), settled (changed), and alike (uint8).");

static PyObject *remember(PyObject *self, PyObject *args)
{
    PyObject *tuple;
    Maps m;
    Remember r;
    int y, any = 0;
    (void)self;
    if (!PyArg_ParseTuple(args, "Offff", &tuple, &r.still, &r.held, &r.restless, &r.unknown) ||
        maps_get(tuple, &m, 2 * KNOWN + 4, KNOWN + 2, 1) < 0)
        return NULL;
    if (!all_given(&m))
        return NULL;
    Py_BEGIN_ALLOW_THREADS /* none is None, so the row of zeros is free */
    for (y = 0; y < m.height; y++)
        any |= remember_row(ROW(m, 0, y), ROW(m, 1, y), m.at + 2, m.at + KNOWN + 2, ROW(m, 2 * KNOWN + 2, y),
                            BYTES(m, 2 * KNOWN + 3, y), m.zeros, (size_t)y * (size_t)m.width, m.width, &r);
    Py_END_ALLOW_THREADS
    maps_free(&m);
    return PyBool_FromLong(any);
}

/* Which points of a row are there again: those near others, of the luma that is known, and not settled. */
FAST static int back_row(const float *restrict luma, const float *restrict settled, const float *restrict known_luma,
                         const float *restrict known_blurred, const uint8_t *restrict near, float *restrict back,
                         int width, float alike, float unknown)
{
    float sum = 0.0f;
    int x;
    for (x = 0; x < width; x++)
        back[x] = (float)near[x];
    for (x = 0; x < width; x++) {
        float same = fabsf(luma[x] - known_luma[x]) < alike ? back[x] : 0.0f;
        same = known_blurred[x] < unknown ? same : 0.0f;
        back[x] = settled[x] > 0.0f ? 0.0f : same;
    }
    for (x = 0; x < width; x++)
        sum += back[x];
    return sum > 0.0f;
}

FAST static void choose_row(const float *restrict back, const float *restrict known, const float *restrict state,
                            float *restrict out, int width)
{
    int x;
    for (x = 0; x < width; x++)
        out[x] = back[x] > 0.0f ? known[x] : state[x];
}

FAST static void fill_row(const float *restrict back, float *restrict out, int width, float value)
{
    int x;
    for (x = 0; x < width; x++)
        out[x] = back[x] > 0.0f ? value : out[x];
}

PyDoc_STRVAR(recall_doc, "recall(maps, alike, unknown, age, elapsed)\n\n"
                         "See `background.Background.recall`. `maps`: luma, those known and the state's (as for `remember`);\n"
                         "the new state's, settled, age, drift and deviation (changed), and near (uint8, 0 or 1).");

static PyObject *recall(PyObject *self, PyObject *args)
{
    PyObject *tuple;
    Maps m;
    float alike, unknown, age, elapsed;
    int y, i;
    (void)self;
    if (!PyArg_ParseTuple(args, "Offff", &tuple, &alike, &unknown, &age, &elapsed) ||
        maps_get(tuple, &m, 3 * KNOWN + 6, 2 * KNOWN + 1, 1) < 0)
        return NULL;
    if (!all_given(&m))
        return NULL;
    Py_BEGIN_ALLOW_THREADS /* none is None, so the row of zeros is free */
    for (y = 0; y < m.height; y++) {
        const float value[4] = {elapsed, age, 0.0f, 0.0f};
        float *back = m.zeros;
        int any = back_row(ROW(m, 0, y), ROW(m, 3 * KNOWN + 1, y), ROW(m, 1, y), ROW(m, 2, y), BYTES(m, 3 * KNOWN + 5, y),
                           back, m.width, alike, unknown);
        for (i = 1; i <= KNOWN; i++)
            if (any)
                choose_row(back, ROW(m, i, y), ROW(m, KNOWN + i, y), ROW(m, 2 * KNOWN + i, y), m.width);
            else
                memcpy(ROW(m, 2 * KNOWN + i, y), ROW(m, KNOWN + i, y), (size_t)m.width * sizeof(float));
        for (i = 0; any && i < 4; i++)
            fill_row(back, ROW(m, 3 * KNOWN + 1 + i, y), m.width, value[i]);
    }
    Py_END_ALLOW_THREADS
    maps_free(&m);
    Py_RETURN_NONE;
}

FAST static void settle_row(const float *restrict quiet, const float *restrict age, float *restrict settled,
                            uint8_t *restrict beside, int width, float least_age, float elapsed)
{
    int x;
    for (x = 0; x < width; x++) {
        float calm = quiet[x] > 0.5f ? 1.0f : 0.0f;
        float stays = (age[x] >= least_age && !beside[x]) || settled[x] > 0.0f ? calm : 0.0f;
        settled[x] = stays * (settled[x] + elapsed);
        beside[x] = settled[x] > 0.0f ? 0 : beside[x];
    }
}

PyDoc_STRVAR(settle_doc, "settle(maps, least_age, elapsed)\n\n"
                         "See `background.Background.settle`. `maps`: quiet, age; settled, and beside (uint8; both changed).");

static PyObject *settle(PyObject *self, PyObject *args)
{
    PyObject *tuple;
    Maps m;
    float least_age, elapsed;
    int y;
    (void)self;
    if (!PyArg_ParseTuple(args, "Off", &tuple, &least_age, &elapsed) || maps_get(tuple, &m, 4, 2, 1) < 0)
        return NULL;
    if (!all_given(&m))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    for (y = 0; y < m.height; y++)
        settle_row(ROW(m, 0, y), ROW(m, 1, y), ROW(m, 2, y), BYTES(m, 3, y), m.width, least_age, elapsed);
    Py_END_ALLOW_THREADS
    maps_free(&m);
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------------ flicker */

FAST static void flicker_row(const float *restrict luma, const float *restrict mean, const float *restrict drift,
                             const float *restrict deviation, float *restrict own, int width, float one_sided, float span)
{
    int x;
    for (x = 0; x < width; x++) {
        float share = drift[x] / (deviation[x] + 1e-6f);
        own[x] = mean[x] + within((share - one_sided) * span, 0.0f, 1.0f) * (luma[x] - mean[x]);
    }
}

PyDoc_STRVAR(flicker_doc, "flicker(maps, one_sided, span)\n\n"
                          "See `means.flickering`. `maps`: luma, mean, drift, deviation; own.");

static PyObject *flicker(PyObject *self, PyObject *args)
{
    PyObject *tuple;
    Maps m;
    float one_sided, span;
    int y;
    (void)self;
    if (!PyArg_ParseTuple(args, "Off", &tuple, &one_sided, &span) || maps_get(tuple, &m, 5, 4, 0) < 0)
        return NULL;
    if (!all_given(&m))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    for (y = 0; y < m.height; y++) {
        size_t at = (size_t)y * (size_t)m.width;
        flicker_row(m.at[0] + at, m.at[1] + at, m.at[2] + at, m.at[3] + at, m.at[4] + at, m.width, one_sided, span);
    }
    Py_END_ALLOW_THREADS
    maps_free(&m);
    Py_RETURN_NONE;
}

typedef struct {
    float floor, darkest, least, limit;
} Suppress;

FAST static void suppress_row(const float *restrict luma, const float *restrict own, const float *restrict log_light,
                              const float *restrict slope, const float *restrict offset, float *restrict out, int width,
                              const Suppress *s)
{
    const float floor = s->floor, darkest = s->darkest, least = s->least, limit = s->limit;
    int x;
    for (x = 0; x < width; x++) /* a loop of its own: with more in it GCC 12 does not vectorize */
        out[x] = smaller(larger(slope[x] * luma[x] + offset[x], floor), 0.0f);
    for (x = 0; x < width; x++) {
        float y = luma[x], light = exp2_nonpositive(2.0f * out[x]);
        float effect = (1.0f - y * y) * light, divisor = effect + y * y;
        float growth = 1.0f / (y + darkest) - y * (1.0f - light) / divisor;
        float stops = (y - own[x]) * (growth / (0.69314718f * larger(effect / divisor, least)) - slope[x]);
        float most = smaller(larger(-log_light[x], 0.0f), limit);
        out[x] = offset[x] - smaller(larger(stops, -most), most);
    }
}

PyDoc_STRVAR(suppress_doc, "suppress(maps, floor, darkest, least, limit)\n\n"
                           "See `temporal.Steady.flicker_suppressed`. `maps`: luma, own, log_light, slope, offset; offset.");

static PyObject *suppress(PyObject *self, PyObject *args)
{
    PyObject *tuple;
    Maps m;
    Suppress s;
    int y;
    (void)self;
    if (!PyArg_ParseTuple(args, "Offff", &tuple, &s.floor, &s.darkest, &s.least, &s.limit))
        return NULL;
    if (!(s.floor >= -60.0f)) {
        PyErr_SetString(PyExc_ValueError, "the floor is below 60 stops");
        return NULL;
    }
    if (maps_get(tuple, &m, 6, 5, 0) < 0)
        return NULL;
    if (!all_given(&m))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    for (y = 0; y < m.height; y++) {
        size_t at = (size_t)y * (size_t)m.width;
        suppress_row(m.at[0] + at, m.at[1] + at, m.at[2] + at, m.at[3] + at, m.at[4] + at, m.at[5] + at, m.width, &s);
    }
    Py_END_ALLOW_THREADS
    maps_free(&m);
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------------ motion */

/* Where each point of a row was: four neighbours and their weights. The border repeats. */
FAST static void places_row(const float *restrict right, const float *restrict down, const float *restrict share, int y,
                            int height, int width, int *restrict first, int *restrict across, int *restrict along,
                            float *restrict fx, float *restrict fy)
{
    const float last_x = (float)(width - 1), last_y = (float)(height - 1);
    int x;
    for (x = 0; x < width; x++) {
        float at_x = within((float)x + right[x] * share[x], 0.0f, last_x);
        float at_y = within((float)y + down[x] * share[x], 0.0f, last_y);
        int column = (int)at_x, row = (int)at_y;
        first[x] = row * width + column;
        across[x] = column < width - 1 ? 1 : 0;
        along[x] = row < height - 1 ? width : 0;
        fx[x] = at_x - (float)column;
        fy[x] = at_y - (float)row;
    }
}

GATHERING static void fetch_row(const float *restrict map, const int *restrict first, const int *restrict across,
                           const int *restrict along, const float *restrict fx, const float *restrict fy,
                           float *restrict out, int width)
{
    int x;
    for (x = 0; x < width; x++) {
        int a = first[x], b = a + across[x], c = a + along[x], d = b + along[x];
        float above = map[a] + fx[x] * (map[b] - map[a]), below = map[c] + fx[x] * (map[d] - map[c]);
        out[x] = above + fy[x] * (below - above);
    }
}

static int moves(const float *share, int width)
{
    int x;
    for (x = 0; x < width; x++)
        if (share[x] != 0.0f)
            return 1;
    return 0;
}

PyDoc_STRVAR(warp_doc, "warp(maps, outs, flow)\n\n"
                       "See `motion.warped`. `flow`: right, down, share (may be None, for all of it). Each of the tuple\n"
                       "`outs` becomes what is there of each of `maps`.");

static PyObject *warp(PyObject *self, PyObject *args)
{
    PyObject *tuple, *outs, *flow, *result = NULL;
    Maps m, o, f;
    int *places, y, i, x;
    float *weights, *ones;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOO", &tuple, &outs, &flow))
        return NULL;
    if (!PyTuple_Check(tuple) || !PyTuple_Check(outs) || PyTuple_GET_SIZE(tuple) != PyTuple_GET_SIZE(outs) ||
        PyTuple_GET_SIZE(tuple) < 1 || PyTuple_GET_SIZE(tuple) > MOST) {
        PyErr_SetString(PyExc_ValueError, "expected two tuples of as many maps");
        return NULL;
    }
    if (maps_get(flow, &f, 3, 3, 0) < 0)
        return NULL;
    if (maps_get(tuple, &m, (int)PyTuple_GET_SIZE(tuple), MOST, 0) < 0)
        goto no_maps;
    if (maps_get(outs, &o, m.count, 0, 0) < 0)
        goto no_outs;
    for (i = 0; i < m.count; i++)
        if (!m.at[i] || !f.at[0] || !f.at[1] || f.width != m.width || f.height != m.height || o.width != m.width ||
            o.height != m.height) {
            PyErr_SetString(PyExc_ValueError, "the maps must be of one size, and none of them None");
            goto done;
        }
    if (m.height > INT_MAX / m.width) {
        PyErr_SetString(PyExc_ValueError, "the maps are too large");
        goto done;
    }
    places = malloc((size_t)m.width * 3 * sizeof(int));
    weights = malloc((size_t)m.width * 3 * sizeof(float));
    if (!places || !weights) {
        free(places);
        free(weights);
        PyErr_NoMemory();
        goto done;
    }
    ones = weights + 2 * (size_t)m.width;
    for (x = 0; x < m.width; x++)
        ones[x] = 1.0f;
    Py_BEGIN_ALLOW_THREADS
    for (y = 0; y < m.height; y++) {
        size_t at = (size_t)y * (size_t)m.width, bytes = (size_t)m.width * sizeof(float);
        const float *share = f.at[2] ? f.at[2] + at : ones;
        int moving = moves(share, m.width);
        if (moving)
            places_row(f.at[0] + at, f.at[1] + at, share, y, m.height, m.width, places, places + m.width,
                       places + 2 * (size_t)m.width, weights, weights + m.width);
        for (i = 0; i < m.count; i++)
            if (moving)
                fetch_row(m.at[i], places, places + m.width, places + 2 * (size_t)m.width, weights, weights + m.width,
                          o.at[i] + at, m.width);
            else
                memcpy(o.at[i] + at, m.at[i] + at, bytes);
    }
    Py_END_ALLOW_THREADS
    free(places);
    free(weights);
    result = Py_NewRef(Py_None);
done:
    maps_free(&o);
no_outs:
    maps_free(&m);
no_maps:
    maps_free(&f);
    return result;
}

/* ------------------------------------------------------------------ the guided filter */

#define RADIUS 3 /* GUIDE_RADIUS of cliplit/constants.py */
#define SIDE (2 * RADIUS + 1)

/* Means of SIDE x SIDE points around those of row `y` of one map, whose border repeats. `padded` has width + 2 RADIUS. */
FAST static void box_row(const float *restrict map, int y, int height, int width, float *restrict padded,
                         float *restrict out)
{
    const float *r[SIDE];
    float *inner = padded + RADIUS;
    int x, k;
    for (k = 0; k < SIDE; k++) {
        int row = y + k - RADIUS < 0 ? 0 : (y + k - RADIUS < height ? y + k - RADIUS : height - 1);
        r[k] = map + (size_t)row * (size_t)width;
    }
    for (x = 0; x < width; x++)
        inner[x] = (r[0][x] + r[1][x] + r[2][x]) + (r[3][x] + r[4][x]) + (r[5][x] + r[6][x]);
    for (k = 0; k < RADIUS; k++) {
        padded[k] = inner[0];
        inner[width + k] = inner[width - 1];
    }
    for (x = 0; x < width; x++)
        out[x] = ((padded[x] + padded[x + 1] + padded[x + 2]) + (padded[x + 3] + padded[x + 4]) +
                  (padded[x + 5] + padded[x + 6])) *
                 (1.0f / (SIDE * SIDE));
}

FAST static void multiply(const float *restrict a, const float *restrict b, float *restrict out, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++)
        out[i] = a[i] * b[i];
}

FAST static void line_row(const float *restrict y, const float *restrict l, const float *restrict yl,
                          const float *restrict yy, float *restrict slope, float *restrict offset, int width,
                          float epsilon)
{
    int x;
    for (x = 0; x < width; x++) {
        slope[x] = (yl[x] - y[x] * l[x]) / (yy[x] - y[x] * y[x] + epsilon);
        offset[x] = l[x] - slope[x] * y[x];
    }
}

PyDoc_STRVAR(guide_doc, "guide(maps, epsilon)\n\n"
                        "See `light_map.guided_coefficients`. `maps`: luma, log_light; slope, offset.");

static PyObject *guide(PyObject *self, PyObject *args)
{
    PyObject *tuple;
    Maps m;
    int y, i;
    float epsilon, *memory, *padded, *line[4], *product[2], *rough[2];
    size_t points;
    (void)self;
    if (!PyArg_ParseTuple(args, "Of", &tuple, &epsilon) || maps_get(tuple, &m, 4, 2, 0) < 0)
        return NULL;
    if (!all_given(&m))
        return NULL;
    points = (size_t)m.height * (size_t)m.width;
    memory = malloc((4 * points + 5 * (size_t)m.width + 2 * RADIUS) * sizeof(float));
    if (!memory) {
        maps_free(&m);
        return PyErr_NoMemory();
    }
    for (i = 0; i < 2; i++) {
        product[i] = memory + (size_t)i * points;
        rough[i] = memory + (size_t)(i + 2) * points;
    }
    for (i = 0; i < 4; i++)
        line[i] = memory + 4 * points + (size_t)i * (size_t)m.width;
    padded = memory + 4 * points + 4 * (size_t)m.width;
    Py_BEGIN_ALLOW_THREADS
    multiply(m.at[0], m.at[1], product[0], points);
    multiply(m.at[0], m.at[0], product[1], points);
    for (y = 0; y < m.height; y++) {
        const float *from[4] = {m.at[0], m.at[1], product[0], product[1]};
        for (i = 0; i < 4; i++)
            box_row(from[i], y, m.height, m.width, padded, line[i]);
        line_row(line[0], line[1], line[2], line[3], rough[0] + (size_t)y * (size_t)m.width,
                 rough[1] + (size_t)y * (size_t)m.width, m.width, epsilon);
    }
    for (y = 0; y < m.height; y++)
        for (i = 0; i < 2; i++)
            box_row(rough[i], y, m.height, m.width, padded, m.at[2 + i] + (size_t)y * (size_t)m.width);
    Py_END_ALLOW_THREADS
    free(memory);
    maps_free(&m);
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------------ shrinking */

#define ROWS 4 /* added at once */

/* Adds rows of samples, each so many times as its weight says. */
#define ADD(T)                                                                                                      \
    FAST static void add_##T(const T *restrict a, const T *restrict b, const T *restrict c, const T *restrict d,    \
                             const float *weight, float *restrict sum, int width)                                   \
    {                                                                                                               \
        const float wa = weight[0], wb = weight[1], wc = weight[2], wd = weight[3];                                 \
        int x;                                                                                                      \
        for (x = 0; x < width; x++)                                                                                 \
            sum[x] += (wa * (float)a[x] + wb * (float)b[x]) + (wc * (float)c[x] + wd * (float)d[x]);                \
    }
ADD(uint8_t)
ADD(uint16_t)

/* Sums the rows from `from` to `to`, of which the first and the last may be parts. */
static void sum_rows(const Py_buffer *plane, double from, double to, float *sum)
{
    int height = (int)plane->shape[0], width = (int)plane->shape[1], row = (int)from, k;
    memset(sum, 0, (size_t)width * sizeof(float));
    while (row < height && row < to) {
        const void *at[ROWS];
        float weight[ROWS] = {0.0f};
        for (k = 0; k < ROWS; k++) {
            int own = row < height && row < to;
            at[k] = own ? (const char *)plane->buf + (Py_ssize_t)row * plane->strides[0] : at[0];
            if (own) {
                weight[k] = (float)((to < row + 1 ? to : row + 1) - (from > row ? from : row));
                row++;
            }
        }
        if (plane->itemsize == 1)
            add_uint8_t(at[0], at[1], at[2], at[3], weight, sum, width);
        else
            add_uint16_t(at[0], at[1], at[2], at[3], weight, sum, width);
    }
}

typedef struct {
    int columns, taps;
    int *first;    /* of each column's samples */
    float *weight; /* of each of its `taps` samples */
} Columns;

/* Divides `width` samples among columns; the weights of each sum up to `scale` times as many as there are. */
static int columns_init(Columns *c, int width, int columns, double scale)
{
    double step = (double)width / columns;
    int x, k;
    c->columns = columns;
    c->taps = (int)ceil(step) + 1 < width ? (int)ceil(step) + 1 : width;
    c->first = malloc((size_t)columns * sizeof(int));
    c->weight = malloc((size_t)columns * (size_t)c->taps * sizeof(float));
    if (!c->first || !c->weight)
        return -1;
    for (x = 0; x < columns; x++) {
        double from = x * step, to = (x + 1) * step;
        int first = (int)from < width - c->taps ? (int)from : width - c->taps;
        c->first[x] = first;
        for (k = 0; k < c->taps; k++) {
            double low = from > first + k ? from : first + k, high = to < first + k + 1 ? to : first + k + 1;
            c->weight[(size_t)x * (size_t)c->taps + (size_t)k] = high > low ? (float)((high - low) * scale) : 0.0f;
        }
    }
    return 0;
}

static void columns_free(Columns *c)
{
    free(c->first);
    free(c->weight);
}

static void sum_columns(const float *restrict sum, const Columns *c, float *restrict out)
{
    int x, k;
    for (x = 0; x < c->columns; x++) {
        const float *from = sum + c->first[x], *weight = c->weight + (size_t)x * (size_t)c->taps;
        float even = 0.0f, odd = 0.0f;
        for (k = 0; k + 1 < c->taps; k += 2) {
            even += weight[k] * from[k];
            odd += weight[k + 1] * from[k + 1];
        }
        if (k < c->taps)
            even += weight[k] * from[k];
        out[x] = even + odd;
    }
}

PyDoc_STRVAR(shrink_doc, "shrink(plane, out)\n\n"
                         "See `maps.shrunk`. `plane` (H, W) uint8 or uint16, whose samples of a row lie side by side; `out`\n"
                         "(h, w) float32, no larger.");

static PyObject *shrink(PyObject *self, PyObject *args)
{
    PyObject *object, *tuple, *result = NULL;
    Py_buffer plane;
    Maps m;
    Columns columns;
    float *sum;
    double step;
    int y;
    (void)self;
    if (!PyArg_ParseTuple(args, "OO", &object, &tuple))
        return NULL;
    if (PyObject_GetBuffer(object, &plane, PyBUF_STRIDES | PyBUF_FORMAT) < 0)
        return NULL;
    if (plane.ndim != 2 || !strchr("BH", plane.format[0]) || plane.format[1] || plane.strides[1] != plane.itemsize ||
        plane.strides[0] % plane.itemsize || plane.shape[0] > 1 << 20 || plane.shape[1] > 1 << 20) {
        PyErr_SetString(PyExc_ValueError, "a plane must be (H, W) uint8 or uint16, the samples of a row side by side");
        goto no_maps;
    }
    if (maps_get(tuple, &m, 1, 0, 0) < 0)
        goto no_maps;
    if (m.height > plane.shape[0] || m.width > plane.shape[1]) {
        PyErr_SetString(PyExc_ValueError, "the plane is smaller than what it shall be shrunk to");
        goto done;
    }
    step = (double)plane.shape[0] / m.height;
    sum = malloc((size_t)plane.shape[1] * sizeof(float));
    if (columns_init(&columns, (int)plane.shape[1], m.width, (double)m.width / (double)plane.shape[1] / step) < 0 || !sum) {
        PyErr_NoMemory();
        goto no_memory;
    }
    Py_BEGIN_ALLOW_THREADS
    for (y = 0; y < m.height; y++) {
        sum_rows(&plane, y * step, (y + 1) * step, sum);
        sum_columns(sum, &columns, m.at[0] + (size_t)y * (size_t)m.width);
    }
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
no_memory:
    columns_free(&columns);
    free(sum);
done:
    maps_free(&m);
no_maps:
    PyBuffer_Release(&plane);
    return result;
}

FAST static void colour_row(const float *restrict y, const float *restrict cb, const float *restrict cr,
                            float *restrict rgb, float *restrict luma, int width, const Coding *c, float most)
{
    const float y_offset = c->y_offset, y_scale = c->y_scale, c_offset = c->c_offset, c_scale = c->c_scale;
    const float r_cr = c->r_cr, g_cb = c->g_cb, g_cr = c->g_cr, b_cb = c->b_cb;
    int x;
    for (x = 0; x < width; x++) {
        float bright = within((y[x] - y_offset) * y_scale, 0.0f, most);
        float blue = (cb[x] - c_offset) * c_scale, red = (cr[x] - c_offset) * c_scale;
        rgb[3 * x] = within(bright + r_cr * red, 0.0f, most);
        rgb[3 * x + 1] = within(bright + g_cb * blue + g_cr * red, 0.0f, most);
        rgb[3 * x + 2] = within(bright + b_cb * blue, 0.0f, most);
        luma[x] = smaller(bright, 1.0f);
    }
}

PyDoc_STRVAR(colours_doc, "colours(maps, rgb, coding, most)\n\n"
                          "See `proxy.planes_proxy`. `maps`: y, cb, cr; luma. `rgb` is (h, 3 w) float32; `coding` as for\n"
                          "`_relight.planes`.");

static PyObject *colours(PyObject *self, PyObject *args)
{
    PyObject *tuple, *object, *result = NULL;
    Maps m, rgb;
    Coding c;
    float most;
    int y;
    (void)self;
    if (!PyArg_ParseTuple(args, "OO(fffffffff)f", &tuple, &object, &c.y_offset, &c.y_scale, &c.c_offset, &c.c_scale,
                          &c.r_cr, &c.g_cb, &c.g_cr, &c.b_cb, &c.top, &most))
        return NULL;
    if (maps_get(tuple, &m, 4, 3, 0) < 0)
        return NULL;
    if (!all_given(&m))
        return NULL;
    if (maps_get(object, &rgb, 1, 0, 0) < 0)
        goto no_rgb;
    if (rgb.height != m.height || rgb.width != 3 * m.width) {
        PyErr_SetString(PyExc_ValueError, "rgb must be (h, 3 w)");
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    for (y = 0; y < m.height; y++) {
        size_t at = (size_t)y * (size_t)m.width;
        colour_row(m.at[0] + at, m.at[1] + at, m.at[2] + at, rgb.at[0] + 3 * at, m.at[3] + at, m.width, &c, most);
    }
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    maps_free(&rgb);
no_rgb:
    maps_free(&m);
    return result;
}

static PyMethodDef methods[] = {
    {"change", change, METH_VARARGS, change_doc},
    {"take", take, METH_VARARGS, take_doc},
    {"remember", remember, METH_VARARGS, remember_doc},
    {"recall", recall, METH_VARARGS, recall_doc},
    {"settle", settle, METH_VARARGS, settle_doc},
    {"flicker", flicker, METH_VARARGS, flicker_doc},
    {"suppress", suppress, METH_VARARGS, suppress_doc},
    {"warp", warp, METH_VARARGS, warp_doc},
    {"guide", guide, METH_VARARGS, guide_doc},
    {"shrink", shrink, METH_VARARGS, shrink_doc},
    {"colours", colours, METH_VARARGS, colours_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_maps", "The small maps of a clip's light.", -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__maps(void)
{
    return PyModule_Create(&module);
}
