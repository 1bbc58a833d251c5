/* A frei0r host for the memory checkers: linked with the filter, it passes frames through two instances.
 *
 * Usage: host MODE, one of: frames, kill (the worker dies in between), idle (instances without a frame).
 * Prints how many frames came back changed. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int f0r_init(void);
void f0r_deinit(void);
void *f0r_construct(unsigned width, unsigned height);
void f0r_destruct(void *instance);
void f0r_set_param_value(void *instance, void *value, int index);
void f0r_get_param_value(void *instance, void *value, int index);
void f0r_update(void *instance, double time, const uint32_t *in, uint32_t *out);

enum { WIDTH = 123, HEIGHT = 67, FRAMES = 4 };

int main(int count, char **arguments)
{
    const char *mode = count > 1 ? arguments[1] : "frames";
    size_t bytes = WIDTH * HEIGHT * 4, i;
    uint32_t *in = malloc(bytes), *out = malloc(bytes);
    void *instances[2];
    double strength = 1.5, back = 0.0;
    int frame, which, changed = 0;
    for (i = 0; i < bytes; i++)
        ((uint8_t *)in)[i] = i % 4 == 3 ? 255 : (uint8_t)(i < bytes / 3 ? 230 : 20 + i % 7);
    f0r_init();
    for (which = 0; which < 2; which++)
        instances[which] = f0r_construct(WIDTH, HEIGHT);
    f0r_set_param_value(instances[0], &strength, 0);
    f0r_get_param_value(instances[0], &back, 0);
    if (back != strength)
        return 2;
    for (frame = 0; frame < (strcmp(mode, "idle") ? FRAMES : 0); frame++) {
        for (which = 0; which < 2; which++) {
            memset(out, 0, bytes);
            f0r_update(instances[which], frame / 25.0, in, out);
            changed += memcmp(in, out, bytes) != 0;
        }
        if (!strcmp(mode, "kill") && frame == 1 && system("kill -9 $(pgrep -P $PPID -f 'plugins[.]worker')"))
            return 3;
    }
    for (which = 0; which < 2; which++)
        f0r_destruct(instances[which]);
    f0r_deinit();
    free(in);
    free(out);
    printf("%d\n", changed);
    return 0;
}
