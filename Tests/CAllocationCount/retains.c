#define _GNU_SOURCE
#include "CAllocationCount.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>

// Swift's runtime calls through these once it is told to; their names are the runtime's.
extern bool _swift_enableSwizzlingOfAllocationAndRefCountingFunctions_forInstrumentsOnly;
extern void *(*_swift_retain)(void *object);
extern void *(*_swift_retain_n)(void *object, uint32_t count);

enum { watched_max = 4096 };
static __thread void *retained[watched_max];
static __thread size_t retained_count;
static __thread bool is_watching;

static void *(*retain_before)(void *object);
static void *(*retain_n_before)(void *object, uint32_t count);

static void note(void *object) {
    if (is_watching && retained_count < watched_max) retained[retained_count++] = object;
}

static void *noting_retain(void *object) {
    note(object);
    return retain_before(object);
}

static void *noting_retain_n(void *object, uint32_t count) {
    note(object);
    return retain_n_before(object, count);
}

void belfry_install_retain_watch(void) {
    static atomic_flag installed = ATOMIC_FLAG_INIT;
    if (atomic_flag_test_and_set(&installed)) return;
    retain_before = _swift_retain;
    retain_n_before = _swift_retain_n;
    _swift_retain = noting_retain;
    _swift_retain_n = noting_retain_n;
    _swift_enableSwizzlingOfAllocationAndRefCountingFunctions_forInstrumentsOnly = true;
}

void belfry_begin_watching_retains(void) {
    retained_count = 0;
    is_watching = true;
}

size_t belfry_end_watching_retains(const void **objects, size_t capacity) {
    is_watching = false;
    size_t count = 0;
    for (size_t index = 0; index < retained_count && count < capacity; index++) {
        // Objects in a program's or a library's data are immortal: their references are not counted.
        Dl_info information;
        if (retained[index] == NULL || dladdr(retained[index], &information) != 0) continue;
        objects[count++] = retained[index];
    }
    return count;
}
