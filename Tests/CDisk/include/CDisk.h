#pragma once

// Stands between the calling thread and the disk: notes what is asked of it, and can be full. Linked into a test program it
// takes the place of pwrite and its like, and hands on to the kernel. (A limit on file sizes would fill a disk too, and every other
// test's that runs at the time.)

// Whether it can: not in a sanitizer's build, whose runtime has such functions of its own, nor without glibc.
int belfry_stands_before_disks(void);

// Lets the thread's pwrite take this many bytes more, part of a call included, and fail with ENOSPC then; a negative number
// ends it.
void belfry_set_disk_room(long bytes);

// The thread's calls since it last asked, oldest first, at most 63: w pwrite, t ftruncate, d fdatasync, s fsync, S fsync of a
// directory, r renameat. Valid until it asks again.
const char *belfry_disk_calls(void);
