/* The worker process: found, started, waited for with a time limit, and always ended. */
#define _GNU_SOURCE
#include "worker.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

#define MAGIC "CLIT"
enum { VERSION = 2, DONE = 0 };
enum { FRAMES = 3, ABOVE_STANDARD = 10 };                     /* file descriptors: in the worker, and here */
enum { SLICE = 100, STOPPED = 2000, ANSWER = 10000, READY = 60000, FAREWELL = 500 }; /* milliseconds */
enum { ARGUMENTS = 32, COMMAND = 16384 };

_Static_assert(sizeof(Request) == 80 && sizeof(Reply) == 24, "protocol.py says so");

static int fail(Worker *worker, const char *what, const char *detail)
{
    size_t i;
    snprintf(worker->error, sizeof worker->error, "%.250s%s%.250s", what, detail ? ": " : "", detail ? detail : "");
    for (i = 0; worker->error[i]; i++)
        if ((unsigned char)worker->error[i] < ' ')
            worker->error[i] = ' ';
    return -1;
}

/* ------------------------------------------------------------------ starting */

/* The command is in a file beside this library, one argument per line, so that installing needs no compiler. */
static int read_command(Worker *worker, char *text, char *arguments[])
{
    Dl_info own;
    char path[4096], *line, *rest = NULL;
    const char *slash;
    size_t length;
    int count = 0;
    FILE *file;
    if (!dladdr((void *)(uintptr_t)&worker_start, &own) || !(slash = strrchr(own.dli_fname, '/')) ||
        snprintf(path, sizeof path, "%.*scliplit.worker", (int)(slash - own.dli_fname + 1), own.dli_fname) >=
            (int)sizeof path)
        return fail(worker, "the plug-in cannot find its own path", NULL);
    file = fopen(path, "re");
    if (!file)
        return fail(worker, "run cliplit-plugins install frei0r; no", path);
    length = fread(text, 1, COMMAND - 1, file);
    fclose(file);
    text[length] = 0;
    for (line = strtok_r(text, "\n", &rest); line && count < ARGUMENTS; line = strtok_r(NULL, "\n", &rest))
        arguments[count++] = line;
    arguments[count] = NULL;
    return count ? 0 : fail(worker, "run cliplit-plugins install frei0r again; empty", path);
}

/* What a host sets for its own libraries breaks those of another Python. */
static char **clean_environment(void)
{
    static const char *const dropped[] = {"LD_LIBRARY_PATH=", "LD_PRELOAD=", "PYTHONHOME=", "PYTHONPATH="};
    size_t count = 0, kept = 0, i, k;
    char **clean;
    while (environ && environ[count])
        count++;
    clean = malloc((count + 1) * sizeof *clean);
    for (i = 0; clean && i < count; i++) {
        for (k = 0; k < sizeof dropped / sizeof *dropped; k++)
            if (!strncmp(environ[i], dropped[k], strlen(dropped[k])))
                break;
        if (k == sizeof dropped / sizeof *dropped)
            clean[kept++] = environ[i];
    }
    if (clean)
        clean[kept] = NULL;
    return clean;
}

/* A host may have closed its standard streams: keep our ends clear of the numbers that the worker's get. */
static int raised(int descriptor)
{
    int high = descriptor < 0 ? -1 : fcntl(descriptor, F_DUPFD_CLOEXEC, ABOVE_STANDARD);
    if (descriptor >= 0)
        close(descriptor);
    return high;
}

static int spawn(Worker *worker, char *arguments[], int control, int frames)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, standard;
    char **environment = clean_environment();
    int code;
    if (!environment)
        return fail(worker, "out of memory", NULL);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, control, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, frames, FRAMES);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_init(&attributes);
    sigemptyset(&none);
    sigemptyset(&standard);
    sigaddset(&standard, SIGPIPE);
    sigaddset(&standard, SIGTERM);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &standard);
    posix_spawnattr_setpgroup(&attributes, 0); /* Ctrl-C is for the host, which still wants its last frames */
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    code = posix_spawn(&worker->process, arguments[0], &actions, &attributes, arguments, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    free(environment);
    if (code) {
        worker->process = 0;
        return fail(worker, arguments[0], strerror(code));
    }
    return 0;
}

/* ------------------------------------------------------------------ talking */

static long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000L + t.tv_nsec / 1000000L;
}

static int is_stopped(pid_t process)
{
    siginfo_t info;
    info.si_pid = 0;
    return !waitid(P_PID, (id_t)process, &info, WSTOPPED | WNOHANG | WNOWAIT) && info.si_pid == process;
}

/* Wait until there is something to read. A busy machine is given time, a stopped process is not. */
static int wait_readable(Worker *worker, long patience)
{
    long start = now(), moving = start;
    for (;;) {
        struct pollfd control = {worker->control, POLLIN, 0};
        int ready = poll(&control, 1, SLICE);
        if (ready > 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return fail(worker, "the worker cannot be waited for", strerror(errno));
        if (!is_stopped(worker->process))
            moving = now();
        if (now() - moving >= STOPPED - SLICE)
            return fail(worker, "the worker is stopped", NULL);
        if (now() - start >= patience)
            return fail(worker, "the worker does not answer", NULL);
    }
}

static int receive(Worker *worker, void *data, size_t size, long patience)
{
    char *at = data;
    while (size) {
        ssize_t got;
        if (wait_readable(worker, patience))
            return -1;
        got = recv(worker->control, at, size, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return fail(worker, "the worker has ended", NULL);
        at += got;
        size -= (size_t)got;
    }
    return 0;
}

/* A request is far smaller than a socket's buffer, so sending it does not block. */
static int ask(Worker *worker, Request *request, long patience)
{
    Reply reply;
    char message[sizeof worker->error - 1];
    memcpy(request->magic, MAGIC, sizeof request->magic);
    request->version = VERSION;
    if (send(worker->control, request, sizeof *request, MSG_NOSIGNAL) != (ssize_t)sizeof *request)
        return fail(worker, "the worker has ended", NULL);
    if (receive(worker, &reply, sizeof reply, patience))
        return -1;
    if (memcmp(reply.magic, MAGIC, sizeof reply.magic) || reply.length >= sizeof message)
        return fail(worker, "the worker's answer is not one of cliplit's; run cliplit-plugins install frei0r", NULL);
    if (receive(worker, message, (size_t)reply.length, patience))
        return -1;
    message[reply.length] = 0;
    if (reply.status != DONE)
        return fail(worker, message, NULL);
    if (reply.version != VERSION)
        return fail(worker, "the worker speaks another version; run cliplit-plugins install frei0r again", NULL);
    return 0;
}

/* ------------------------------------------------------------------ the three calls */

int worker_start(Worker *worker, size_t size)
{
    char text[COMMAND], *arguments[ARGUMENTS + 1];
    Request hello = {.pixels = PIXELS_NONE};
    int pair[2] = {-1, -1}, frames, control, code = -1;
    worker->process = 0;
    worker->control = -1;
    worker->memory = NULL;
    worker->size = size;
    if (read_command(worker, text, arguments))
        return -1;
    frames = raised(memfd_create("cliplit", MFD_CLOEXEC));
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        pair[0] = pair[1] = -1;
    worker->control = raised(pair[0]);
    control = raised(pair[1]);
    if (frames >= 0 && !ftruncate(frames, (off_t)(2 * size))) {
        void *memory = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_SHARED, frames, 0);
        worker->memory = memory == MAP_FAILED ? NULL : memory;
    }
    if (worker->memory && worker->control >= 0 && control >= 0)
        code = spawn(worker, arguments, control, frames);
    else
        fail(worker, "no shared memory or socket", strerror(errno));
    if (frames >= 0)
        close(frames);
    if (control >= 0)
        close(control);
    return code ? code : ask(worker, &hello, READY);
}

int worker_relight(Worker *worker, Request *request)
{
    return ask(worker, request, ANSWER);
}

void worker_stop(Worker *worker, int at_once)
{
    static const struct timespec pause = {0, 5000000};
    long start = now();
    if (worker->control >= 0)
        close(worker->control); /* the worker ends when it reads the end of its requests */
    if (worker->process > 0) {
        /* Nothing is killed that is not our child any more: a host may have waited for it. */
        while (!waitpid(worker->process, NULL, WNOHANG)) {
            if (at_once || now() - start > FAREWELL) {
                kill(worker->process, SIGKILL);
                while (waitpid(worker->process, NULL, 0) < 0 && errno == EINTR)
                    ;
                break;
            }
            nanosleep(&pause, NULL);
        }
    }
    if (worker->memory)
        munmap(worker->memory, 2 * worker->size);
    worker->process = 0;
    worker->control = -1;
    worker->memory = NULL;
}
