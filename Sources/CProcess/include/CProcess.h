#pragma once

#include <stddef.h>
#include <stdint.h>

// What Swift cannot call of Linux: variadic functions, macros and structures with flexible ends.

/// Lets the calling thread, and the processes it starts, run only when nothing else wants the processor (SCHED_IDLE) and
/// read only when nothing else wants the disk. An unprivileged thread cannot take it back. 0, or the `errno` of what failed;
/// then it is still as nice as it can be.
int belfry_lower_priority(void);

/// Processor time of the calling thread in nanoseconds.
uint64_t belfry_thread_cpu_time(void);

/// How a child process ended.
struct belfry_child_end {
    int error;        // errno of what could not be started or read; 0 if it ran
    int exit_status;  // -1 if a signal ended it
    int signal;       // 0 if it exited
    int timed_out;    // it was killed because it took too long
    uint64_t cpu_ns;  // processor time it took
};

/// Runs a program to its end: standard input and output are /dev/null, of standard error the first `capacity - 1` bytes are
/// kept, with a zero at the end. Its memory is limited to `memory_bytes` of address space and its time to `timeout_ms`.
struct belfry_child_end belfry_run_child(
    const char *path, const char *const *arguments, size_t memory_bytes, int timeout_ms, char *errors, size_t capacity);

/// Watches a directory for names that come and go (inotify). The descriptor, or -1 with the reason in `errno`.
int belfry_watch_directory(const char *path);

/// Forgets the events of a watch. Nothing is lost by that: whoever asks looks at the directory anyway.
void belfry_clear_watch(int descriptor);

/// A descriptor that becomes readable when it is written to, for waking a thread in poll(); -1 on failure.
int belfry_make_bell(void);
void belfry_ring_bell(int descriptor);
void belfry_clear_bell(int descriptor);

/// Waits until one of the descriptors is readable; negative ones are left out. Their bits are set in the result: 1 for the
/// first, 2 for the second.
int belfry_wait_readable(int first, int second, int timeout_ms);

/// Tells the kernel that a file's pages need not stay in its cache.
void belfry_drop_file_cache(const char *path);

/// Keeps blocks of a megabyte and more out of the heap, so that they go back to the system as soon as they are freed.
void belfry_keep_heap_small(void);

/// Names the calling thread; at most 15 bytes.
void belfry_name_thread(const char *name);
