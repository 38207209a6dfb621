#define _GNU_SOURCE
#include "CDisk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#if defined(__GLIBC__) && !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)

static __thread long room = -1;
static __thread char calls[64];
static __thread char asked[64];
static __thread size_t count;

static void note(char call) {
    if (count < sizeof(calls) - 1) calls[count++] = call;
}

ssize_t pwrite(int descriptor, const void *bytes, size_t length, off_t offset) {
    note('w');
    if (room >= 0 && length > 0) {
        if (room == 0) {
            errno = ENOSPC;
            return -1;
        }
        if (length > (size_t)room) length = (size_t)room;
        room -= (long)length;
    }
    return syscall(SYS_pwrite64, descriptor, bytes, length, offset);
}

int ftruncate(int descriptor, off_t length) {
    note('t');
    return (int)syscall(SYS_ftruncate, descriptor, length);
}

int fdatasync(int descriptor) {
    note('d');
    return (int)syscall(SYS_fdatasync, descriptor);
}

int fsync(int descriptor) {
    struct stat status;
    note(fstat(descriptor, &status) == 0 && S_ISDIR(status.st_mode) ? 'S' : 's');
    return (int)syscall(SYS_fsync, descriptor);
}

int renameat(int old_directory, const char *old_name, int new_directory, const char *new_name) {
    note('r');
    return (int)syscall(SYS_renameat2, old_directory, old_name, new_directory, new_name, 0);
}

int belfry_stands_before_disks(void) { return 1; }
void belfry_set_disk_room(long bytes) { room = bytes; }

const char *belfry_disk_calls(void) {
    memcpy(asked, calls, sizeof(asked));
    asked[count] = 0;
    count = 0;
    return asked;
}

#else

int belfry_stands_before_disks(void) { return 0; }
void belfry_set_disk_room(long bytes) { (void)bytes; }
const char *belfry_disk_calls(void) { return ""; }

#endif
