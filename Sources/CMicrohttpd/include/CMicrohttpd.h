#pragma once

#include <microhttpd.h>
#include <stddef.h>
#include <stdint.h>

// What Swift cannot call of libmicrohttpd: its variadic functions. Everything else is called as it is.

/// What one daemon is started with. Every callback gets `context` as its first argument and runs on the thread that
/// calls `MHD_run_wait`.
struct belfry_http_options {
    int listen_socket;                 // bound and listening; the caller closes it after MHD_stop_daemon
    unsigned int connection_limit;     // beyond it the daemon stops accepting
    size_t connection_memory;          // bytes of one connection's pool
    unsigned int idle_timeout_seconds; // 0: never
    int suspends;                      // whether MHD_suspend_connection may be called
    MHD_AccessHandlerCallback handle;
    MHD_RequestCompletedCallback completed;
    MHD_NotifyConnectionCallback connection_changed;
    void *(*target_received)(void *context, const char *target, struct MHD_Connection *connection);
    void *context;
};

/// Starts a daemon that has no thread of its own: the caller's thread runs it with `MHD_run_wait`. NULL on failure,
/// with the reason in `errno`.
struct MHD_Daemon *belfry_http_start(const struct belfry_http_options *options);

/// The connection's socket, or -1.
int belfry_http_socket(struct MHD_Connection *connection);

/// How long ago bytes last came on a TCP socket, at least, in nanoseconds: what the kernel counts in its ticks, less one
/// tick. 0 where it does not tell.
uint64_t belfry_http_silence(int socket);

/// What `connection_changed` stored for the connection, or NULL.
void *belfry_http_socket_context(struct MHD_Connection *connection);

/// Gives one connection another idle timeout than the daemon's.
void belfry_http_set_idle_timeout(struct MHD_Connection *connection, unsigned int seconds);

// Two GNU functions that Swift's Glibc module leaves out, for the same worker.

/// accept4 with SOCK_CLOEXEC and SOCK_NONBLOCK, whoever the peer is; -1 with the reason in `errno`.
int belfry_http_accept(int listen_socket);

/// Names the calling thread; at most 15 bytes.
void belfry_http_name_thread(const char *name);
