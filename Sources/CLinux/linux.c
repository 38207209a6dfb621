#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <spawn.h>
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
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    struct sched_param parameters = {.sched_priority = 0};
    cpu_set_t allowed, all;
    if (posix_spawn_file_actions_init(&actions) != 0) return ENOMEM;
    if (posix_spawnattr_init(&attributes) != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return ENOMEM;
    }
    int fault = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (!fault) fault = posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    if (!fault) fault = posix_spawn_file_actions_adddup2(&actions, errors, 2);
    if (!fault) fault = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSCHEDULER);
    if (!fault) fault = posix_spawnattr_setschedpolicy(&attributes, SCHED_IDLE);
    if (!fault) fault = posix_spawnattr_setschedparam(&attributes, &parameters);
    // Cores are inherited from the calling thread, and there is no attribute for them: it has them all for the moment.
    int is_known = sched_getaffinity(0, sizeof allowed, &allowed) == 0;
    memset(&all, 0xFF, sizeof all);
    if (is_known) sched_setaffinity(0, sizeof all, &all);
    pid_t child = 0;
    extern char **environ;
    if (!fault) fault = posix_spawn(&child, arguments[0], &actions, &attributes, arguments, environ);
    if (is_known) sched_setaffinity(0, sizeof allowed, &allowed);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
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
