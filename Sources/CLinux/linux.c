#define _GNU_SOURCE
#include "CLinux.h"

#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

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
