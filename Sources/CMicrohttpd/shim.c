#define _GNU_SOURCE
#include "CMicrohttpd.h"

#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

// Leaves percent-encoding alone: decoded in place, an encoded slash inside an item id could not be told from a separator.
static size_t keep_encoded(void *context, struct MHD_Connection *connection, char *text) {
    (void)context;
    (void)connection;
    return strlen(text);
}

struct MHD_Daemon *belfry_http_start(const struct belfry_http_options *options) {
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_TURBO, 0, NULL, NULL, options->handle, options->context,
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
