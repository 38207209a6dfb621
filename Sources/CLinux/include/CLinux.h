#pragma once

#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>

// What Swift's Glibc module leaves out of Linux's headers. Everything else is called as it is.

/// Registers or changes what is waited for on a descriptor; -1 with the reason in `errno`.
int belfry_epoll_set(int epoll, int operation, int descriptor, uint32_t events, uint32_t token);

/// Waits for up to `capacity` events. `events` gets each descriptor's token and what happened.
/// Returns how many, or -1 with the reason in `errno`.
struct belfry_event {
    uint32_t token;
    uint32_t events;
};
int belfry_epoll_wait(int epoll, struct belfry_event *events, int capacity, int timeout_ms);

/// Lets the calling thread's timers expire on time instead of within 50 us.
void belfry_set_timer_slack(unsigned long nanoseconds);

/// The cores the process may run on, as bits 0 to 63.
uint64_t belfry_allowed_cores(void);

/// Where `needle` begins in `text`, or NULL.
const void *belfry_find(const void *text, size_t text_bytes, const void *needle, size_t needle_bytes);

/// Asks the kernel to note when bytes arrive on a socket (SO_TIMESTAMPING); -1 where it does not, such as on Unix sockets.
int belfry_note_arrivals(int descriptor);

/// Like recv, and `arrived` gets the instant at which the kernel had the last of the bytes, in nanoseconds of CLOCK_REALTIME;
/// 0 if it was not noted.
long belfry_receive(int descriptor, void *buffer, size_t capacity, uint64_t *arrived);

/// Starts a program that takes only the time that nobody else wants (SCHED_IDLE), on any core the machine has, whatever the
/// calling thread is held to. Its standard output goes to /dev/null, its errors to `errors`, its input is empty.
/// Returns 0 and its process id, or the reason as in `errno`.
int belfry_spawn_idle(char *const arguments[], int errors, int *process);

/// Waits for the end of such a program. `ending` gets its exit status, or 256 and the signal that ended it; the result is what
/// it took of the processor, in microseconds.
uint64_t belfry_wait(int process, int *ending);

/// A pipe whose ends no other program inherits; -1 with the reason in `errno`.
int belfry_pipe(int ends[2]);
