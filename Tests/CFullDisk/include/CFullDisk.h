#pragma once

// A disk that is full, for the calling thread's writes at an offset. Linked into a test program it stands in for pwrite. A
// limit on file sizes would do the same, and to every other test that runs at the time.

// Whether it can: not in a sanitizer's build, whose runtime has a pwrite of its own, nor without glibc.
int belfry_fills_disks(void);

// Lets the thread's pwrite take this many bytes more, part of a call included, and fail with ENOSPC then; a negative number
// ends it.
void belfry_set_disk_room(long bytes);
