// FAISS's headers include <omp.h>, which the Swift toolchain's clang does not have. This is the part of the OpenMP
// interface (https://www.openmp.org/spec-html/5.0/openmp.html) that they and this target need, with the sizes that
// libgomp uses: a lock is one int.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int value;
} omp_lock_t;

void omp_init_lock(omp_lock_t *lock);
void omp_destroy_lock(omp_lock_t *lock);
void omp_set_lock(omp_lock_t *lock);
void omp_unset_lock(omp_lock_t *lock);
int omp_get_max_threads(void);
int omp_get_num_threads(void);
int omp_get_thread_num(void);
void omp_set_num_threads(int threads);

#ifdef __cplusplus
}
#endif
