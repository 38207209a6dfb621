#define _GNU_SOURCE
#include "CAllocationCount.h"

#include <dlfcn.h>

#if defined(__GLIBC__) && !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)

enum { watched_max = 4096 };
static __thread void *retained[watched_max];
static __thread size_t retained_count;
static __thread int is_watching;

static void note(void *object) {
    if (is_watching && retained_count < watched_max) retained[retained_count++] = object;
}

// What the program's own code calls instead of the runtime's functions of these names, which do the work: the program's
// definition comes before a library's. The runtime's own switch for this (Swift 6.3) follows pointers to immortal objects
// that it must not follow.
#define NOTED(name)                                                                          \
    void *name(void *object) {                                                               \
        static void *(*counted)(void *);                                                     \
        if (!counted) counted = (void *(*)(void *))dlsym(RTLD_NEXT, #name);                  \
        note(object);                                                                        \
        return counted(object);                                                              \
    }                                                                                        \
    void *name##_n(void *object, uint32_t count) {                                           \
        static void *(*counted)(void *, uint32_t);                                           \
        if (!counted) counted = (void *(*)(void *, uint32_t))dlsym(RTLD_NEXT, #name "_n");   \
        note(object);                                                                        \
        return counted(object, count);                                                       \
    }

NOTED(swift_retain)
NOTED(swift_bridgeObjectRetain)

void belfry_begin_watching_retains(void) {
    retained_count = 0;
    is_watching = 1;
}

size_t belfry_end_watching_retains(const void **objects, size_t capacity) {
    is_watching = 0;
    size_t count = 0;
    for (size_t index = 0; index < retained_count && count < capacity; index++) {
        // What has bits set that no address has, and objects in a program's or a library's data, are immortal: their
        // references are not counted.
        Dl_info information;
        if ((intptr_t)retained[index] <= 0 || dladdr(retained[index], &information) != 0) continue;
        objects[count++] = retained[index];
    }
    return count;
}

#else

void belfry_begin_watching_retains(void) {}
size_t belfry_end_watching_retains(const void **objects, size_t capacity) { return 0; }

#endif
