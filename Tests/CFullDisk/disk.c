#define _GNU_SOURCE
#include "CFullDisk.h"

#include <errno.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#if defined(__GLIBC__) && !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)

static __thread long room = -1;

ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t offset) {
    if (room >= 0 && count > 0) {
        if (room == 0) {
            errno = ENOSPC;
            return -1;
        }
        if (count > (size_t)room) count = (size_t)room;
        room -= (long)count;
    }
    return syscall(SYS_pwrite64, descriptor, bytes, count, offset);
}

int belfry_fills_disks(void) { return 1; }
void belfry_set_disk_room(long bytes) { room = bytes; }

#else

int belfry_fills_disks(void) { return 0; }
void belfry_set_disk_room(long bytes) { (void)bytes; }

#endif
