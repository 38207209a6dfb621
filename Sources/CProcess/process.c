#define _GNU_SOURCE
#include "CProcess.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

int belfry_lower_priority(void) {
    enum { who_process = 1, class_idle = 3, class_shift = 13 }; // linux/ioprio.h, which libc does not have
    int error = 0;
    if (syscall(SYS_ioprio_set, who_process, 0, class_idle << class_shift) != 0) error = errno;
    struct sched_param parameters = {.sched_priority = 0};
    if (sched_setscheduler(0, SCHED_IDLE, &parameters) != 0) {
        error = errno;
        (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 19);
    }
    return error;
}

uint64_t belfry_thread_cpu_time(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec;
}

static uint64_t monotonic_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

struct belfry_child_end belfry_run_child(
    const char *path, const char *const *arguments, size_t memory_bytes, int timeout_ms, char *errors,
    size_t capacity) {
    struct belfry_child_end end = {.exit_status = -1};
    errors[0] = 0;
    int pipe_ends[2];
    if (pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        end.error = errno;
        return end;
    }
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], 2);
    // Threads of the server block signals; the child must end when it is told to.
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    pid_t child;
    end.error = posix_spawn(&child, path, &actions, &attributes, (char *const *)arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    close(pipe_ends[1]);
    if (end.error != 0) {
        close(pipe_ends[0]);
        return end;
    }
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    memory_bytes = 0; // they reserve terabytes of addresses
#endif
#endif
    if (memory_bytes > 0) {
        struct rlimit limit = {.rlim_cur = memory_bytes, .rlim_max = memory_bytes};
        (void)prlimit(child, RLIMIT_AS, &limit, NULL);
    }
    // Readable when the child has ended. Without it, on an old kernel, the child is looked after every two milliseconds.
    int ending = (int)syscall(SYS_pidfd_open, child, 0);
    uint64_t deadline = monotonic_ms() + (uint64_t)timeout_ms;
    size_t length = 0;
    int status = 0;
    struct rusage usage;
    for (;;) {
        char scrap[256];
        long count;
        while ((count = read(
                    pipe_ends[0], length + 1 < capacity ? errors + length : scrap,
                    length + 1 < capacity ? capacity - 1 - length : sizeof scrap)) > 0) {
            if (length + 1 < capacity) length += (size_t)count;
        }
        pid_t ended = wait4(child, &status, WNOHANG, &usage);
        if (ended == child) break;
        if (ended < 0 && errno != EINTR) {
            end.error = errno;
            break;
        }
        if (!end.timed_out && monotonic_ms() >= deadline) {
            end.timed_out = 1;
            kill(child, SIGKILL);
        }
        struct pollfd events[] = {
            {.fd = count == 0 ? -1 : pipe_ends[0], .events = POLLIN},
            {.fd = ending, .events = POLLIN},
        };
        uint64_t now = monotonic_ms();
        int rest_ms = now >= deadline ? 0 : deadline - now < 1000 ? (int)(deadline - now) : 1000;
        (void)poll(events, 2, ending < 0 || end.timed_out ? 2 : rest_ms);
    }
    // What it said last.
    long count;
    while (length + 1 < capacity && (count = read(pipe_ends[0], errors + length, capacity - 1 - length)) > 0)
        length += (size_t)count;
    errors[length] = 0;
    close(pipe_ends[0]);
    if (ending >= 0) close(ending);
    if (end.error == 0) {
        if (WIFEXITED(status)) end.exit_status = WEXITSTATUS(status);
        if (WIFSIGNALED(status)) end.signal = WTERMSIG(status);
        end.cpu_ns = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * UINT64_C(1000000000) +
                     (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
    }
    return end;
}

int belfry_watch_directory(const char *path) {
    int descriptor = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (descriptor < 0) return -1;
    if (inotify_add_watch(descriptor, path, IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CLOSE_WRITE | IN_ONLYDIR) < 0) {
        int error = errno;
        close(descriptor);
        errno = error;
        return -1;
    }
    return descriptor;
}

void belfry_clear_watch(int descriptor) {
    char events[4096];
    while (read(descriptor, events, sizeof events) > 0) {
    }
}

int belfry_make_bell(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

void belfry_ring_bell(int descriptor) {
    uint64_t one = 1;
    (void)!write(descriptor, &one, sizeof one);
}

void belfry_clear_bell(int descriptor) {
    uint64_t count;
    (void)!read(descriptor, &count, sizeof count);
}

int belfry_wait_readable(int first, int second, int timeout_ms) {
    struct pollfd events[2] = {{.fd = first, .events = POLLIN}, {.fd = second, .events = POLLIN}};
    if (poll(events, 2, timeout_ms) <= 0) return 0;
    return (events[0].revents ? 1 : 0) | (events[1].revents ? 2 : 0);
}

void belfry_drop_file_cache(const char *path) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) return;
    (void)posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
    close(descriptor);
}

void belfry_keep_heap_small(void) {
    // A fixed threshold: by default it grows with every large block that is freed, and the next ones stay in the heap.
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

void belfry_name_thread(const char *name) { (void)pthread_setname_np(pthread_self(), name); }
