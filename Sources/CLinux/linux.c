#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

int belfry_epoll_set(int epoll, int operation, int descriptor, uint32_t events, uint32_t token) {
    struct epoll_event event = {.events = events, .data = {.u32 = token}};
    return epoll_ctl(epoll, operation, descriptor, &event);
}

int belfry_epoll_wait(int epoll, struct belfry_event *events, int capacity, int timeout_ms) {
    enum { most = 64 };
    struct epoll_event found[most];
    int count = epoll_wait(epoll, found, capacity < most ? capacity : most, timeout_ms);
    for (int index = 0; index < count; index++)
        events[index] = (struct belfry_event){.token = found[index].data.u32, .events = found[index].events};
    return count;
}

void belfry_set_timer_slack(unsigned long nanoseconds) {
    prctl(PR_SET_TIMERSLACK, nanoseconds, 0, 0, 0);
}

uint64_t belfry_allowed_cores(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 0;
    uint64_t cores = 0;
    for (int core = 0; core < 64; core++)
        if (CPU_ISSET(core, &set)) cores |= (uint64_t)1 << core;
    return cores;
}

const void *belfry_find(const void *text, size_t text_bytes, const void *needle, size_t needle_bytes) {
    return memmem(text, text_bytes, needle, needle_bytes);
}

int belfry_note_arrivals(int descriptor) {
    int wanted = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
    return setsockopt(descriptor, SOL_SOCKET, SO_TIMESTAMPING, &wanted, sizeof wanted);
}

long belfry_receive(int descriptor, void *buffer, size_t capacity, uint64_t *arrived) {
    struct iovec part = {.iov_base = buffer, .iov_len = capacity};
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct scm_timestamping))];
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    long count = recvmsg(descriptor, &message, 0);
    *arrived = 0;
    if (count <= 0) return count;
    for (struct cmsghdr *each = CMSG_FIRSTHDR(&message); each; each = CMSG_NXTHDR(&message, each)) {
        if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_TIMESTAMPING) continue;
        struct scm_timestamping stamps;
        memcpy(&stamps, CMSG_DATA(each), sizeof stamps);
        *arrived = (uint64_t)stamps.ts[0].tv_sec * 1000000000 + (uint64_t)stamps.ts[0].tv_nsec;
    }
    return count;
}

int belfry_spawn_idle(char *const arguments[], int errors, int *process) {
    // The child runs in this process's memory until it is the other program, and tells so why it could not become it. Whatever
    // it calls is a system call; posix_spawn knows no SCHED_IDLE.
    volatile int fault = 0;
    pid_t child = vfork();
    if (child < 0) return errno;
    if (child == 0) {
        struct sched_param parameters = {.sched_priority = 0};
        cpu_set_t all;
        memset(&all, 0xFF, sizeof all);
        sched_setaffinity(0, sizeof all, &all);
        sched_setscheduler(0, SCHED_IDLE, &parameters);
        int nothing = open("/dev/null", O_RDWR);
        if (nothing >= 0 && dup2(nothing, 0) >= 0 && dup2(nothing, 1) >= 0 && dup2(errors, 2) >= 0)
            execv(arguments[0], arguments);
        fault = errno;
        _exit(127);
    }
    if (fault) waitpid(child, NULL, 0);
    *process = child;
    return fault;
}

uint64_t belfry_wait(int process, int *ending) {
    int status = 0;
    struct rusage usage = {};
    while (wait4(process, &status, 0, &usage) < 0 && errno == EINTR) {}
    *ending = WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000
        + (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

int belfry_pipe(int ends[2]) {
    return pipe2(ends, O_CLOEXEC);
}
