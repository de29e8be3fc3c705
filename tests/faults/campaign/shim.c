/* Loaded with LD_PRELOAD into a server under test: writes and syncs of its database file fail, hang or kill, and its
 * wall clock is off, as a control file says that is mapped into memory. shim.py has the other end. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { WRITES = 1, SYNCS = 2 };
enum { FAIL, DO_AND_FAIL, HALF, HANG, KILL };

struct control {
    int64_t shift;  /* nanoseconds that the wall clock is ahead */
    int32_t calls;  /* which ones are meant */
    int32_t skip;   /* so many go well first */
    int32_t count;  /* then this happens to so many; 0: nothing is armed */
    int32_t action;
    int32_t error;
    int32_t milliseconds; /* of HANG */
    int32_t struck; /* so many calls it has happened to */
};

static struct control none, *control = &none;
static const char *file; /* what the paths begin with */

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("SHIM_CONTROL");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED)
        control = mapped;
    file = getenv("SHIM_FILE");
}

static int meant(int fd)
{
    char name[40], path[4096];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, sizeof path - 1);
    if (length < 0 || !file)
        return 0;
    path[length] = 0;
    return strncmp(path, file, strlen(file)) == 0;
}

/* Whether this call is one of those that are struck. */
static int strikes(int call, int fd)
{
    int saved = errno, hit = 0;
    if (__atomic_load_n(&control->count, __ATOMIC_SEQ_CST) > 0 && (control->calls & call) && meant(fd)) {
        if (__atomic_fetch_sub(&control->skip, 1, __ATOMIC_SEQ_CST) <= 0)
            hit = __atomic_fetch_sub(&control->count, 1, __ATOMIC_SEQ_CST) > 0;
    }
    errno = saved;
    if (hit)
        __atomic_fetch_add(&control->struck, 1, __ATOMIC_SEQ_CST);
    if (hit && control->action == KILL)
        raise(SIGKILL);
    if (hit && control->action == HANG)
        usleep(1000 * control->milliseconds);
    return hit && control->action != HANG;
}

#define REAL(result, name, ...)                                 \
    static result (*real)(__VA_ARGS__);                         \
    if (!real)                                                  \
        real = (result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

static ssize_t fail(void)
{
    errno = control->error;
    return -1;
}

/* HALF: the first struck call writes half of it, the next ones fail. */
#define WRITE(name, length, ...)                                        \
    do {                                                                \
        if (!strikes(WRITES, fd))                                       \
            return real(__VA_ARGS__);                                   \
        if (control->action == HALF && control->struck == 1) {          \
            length = (length + 1) / 2;                                  \
            return real(__VA_ARGS__);                                   \
        }                                                               \
        if (control->action == DO_AND_FAIL)                             \
            real(__VA_ARGS__);                                          \
        return fail();                                                  \
    } while (0)

ssize_t write(int fd, const void *data, size_t length)
{
    REAL(ssize_t, write, int, const void *, size_t);
    WRITE(write, length, fd, data, length);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t at)
{
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
    WRITE(pwrite, length, fd, data, length, at);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at)
{
    REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
    WRITE(pwrite64, length, fd, data, length, at);
}

#define SYNC()                                  \
    do {                                        \
        if (!strikes(SYNCS, fd))                \
            return real(fd);                    \
        if (control->action == DO_AND_FAIL)     \
            real(fd);                           \
        return (int)fail();                     \
    } while (0)

int fsync(int fd)
{
    REAL(int, fsync, int);
    SYNC();
}

int fdatasync(int fd)
{
    REAL(int, fdatasync, int);
    SYNC();
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    REAL(int, clock_gettime, clockid_t, struct timespec *);
    int failed = real(clock, now);
    int64_t shift = control->shift;
    if (!failed && shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t total = now->tv_sec * 1000000000LL + now->tv_nsec + shift;
        now->tv_sec = total / 1000000000LL;
        now->tv_nsec = total % 1000000000LL;
    }
    return failed;
}

time_t time(time_t *result)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result)
        *result = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *result, void *zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    result->tv_sec = now.tv_sec;
    result->tv_usec = now.tv_nsec / 1000;
    return 0;
}
