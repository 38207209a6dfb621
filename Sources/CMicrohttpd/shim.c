#define _GNU_SOURCE
#include "CMicrohttpd.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

// Leaves percent-encoding alone: decoded in place, an encoded slash inside an item id could not be told from a separator.
static size_t keep_encoded(void *context, struct MHD_Connection *connection, char *text) {
    (void)context;
    (void)connection;
    return strlen(text);
}

struct MHD_Daemon *belfry_http_start(const struct belfry_http_options *options) {
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_TURBO | (options->suspends ? MHD_ALLOW_SUSPEND_RESUME : 0), 0, NULL, NULL, options->handle, options->context,
        MHD_OPTION_LISTEN_SOCKET, (MHD_socket)options->listen_socket,
        MHD_OPTION_CONNECTION_LIMIT, options->connection_limit,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, options->connection_memory,
        MHD_OPTION_CONNECTION_TIMEOUT, options->idle_timeout_seconds,
        MHD_OPTION_NOTIFY_COMPLETED, options->completed, options->context,
        MHD_OPTION_NOTIFY_CONNECTION, options->connection_changed, options->context,
        MHD_OPTION_URI_LOG_CALLBACK, options->target_received, options->context,
        MHD_OPTION_UNESCAPE_CALLBACK, keep_encoded, NULL,
        // The worker's thread blocks SIGPIPE.
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
        MHD_OPTION_END);
}

int belfry_http_socket(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *information =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return information == NULL ? -1 : information->connect_fd;
}

uint64_t belfry_http_silence(int socket) {
    struct tcp_info information;
    socklen_t length = sizeof information;
    struct timespec tick;
    if (getsockopt(socket, IPPROTO_TCP, TCP_INFO, &information, &length) != 0 ||
        length < offsetof(struct tcp_info, tcpi_last_data_recv) + sizeof information.tcpi_last_data_recv ||
        clock_getres(CLOCK_MONOTONIC_COARSE, &tick) != 0) {
        return 0;
    }
    // Both ends are counted in ticks, so one of these may have only just begun.
    uint64_t counted = information.tcpi_last_data_recv * UINT64_C(1000000);
    uint64_t ticked = (uint64_t)tick.tv_sec * UINT64_C(1000000000) + (uint64_t)tick.tv_nsec;
    return counted > ticked ? counted - ticked : 0;
}

void *belfry_http_socket_context(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *information =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return information == NULL ? NULL : information->socket_context;
}

void belfry_http_set_idle_timeout(struct MHD_Connection *connection, unsigned int seconds) {
    (void)MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, seconds);
}

int belfry_http_accept(int listen_socket) {
    return accept4(listen_socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

void belfry_http_name_thread(const char *name) { (void)pthread_setname_np(pthread_self(), name); }
