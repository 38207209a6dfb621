#pragma once

// FAISS 1.7.3 behind a C header, in the style of FAISS's own C API: opaque handles, int codes (0 is success) and a
// message per thread. No C++ exception crosses this border. Where FAISS would abort instead of throwing, the arguments
// are checked first; a file, however, must have been checked before it is read (ItemIndex's IndexFileCheck).

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// An index in memory. Reading it from several threads is safe; nothing here changes one that is built.
typedef struct belfry_faiss_index belfry_faiss_index;

/// FAISS's numbers for its metrics.
enum belfry_faiss_metric {
    BELFRY_FAISS_INNER_PRODUCT = 0,
    BELFRY_FAISS_L2 = 1,
};

/// The kinds that ItemIndex searches.
enum belfry_faiss_kind {
    BELFRY_FAISS_FLAT = 0,
    BELFRY_FAISS_HNSW_FLAT = 1,
    BELFRY_FAISS_IVF_FLAT = 2,
};

/// Says why the last call on this thread failed. Valid until the next call on this thread.
const char *belfry_faiss_last_error(void);

/// Makes FAISS and OpenBLAS on the calling thread use `threads` threads. OpenMP keeps the number per calling thread.
void belfry_faiss_set_threads(int threads);

/// Reads an index file that has been checked.
int belfry_faiss_read(const char *path, belfry_faiss_index **index);

/// Reads the file of a graph that was written without its vectors and has been checked: later versions of FAISS write
/// "null" in place of the storage (IO_FLAG_SKIP_STORAGE), which 1.7.3 does not know.
int belfry_faiss_read_graph_without_vectors(const char *path, belfry_faiss_index **index);

/// Writes to `path` by way of a new file beside it: written, synchronised, renamed.
int belfry_faiss_write(const belfry_faiss_index *index, const char *path);

/// Called with the rows that are added so far and the rows there are; a result other than 0 stops the building.
typedef int (*belfry_faiss_progress)(void *context, size_t done, size_t total);

/// Trains and fills an index; a graph as FAISS does it.
/// - factory: FAISS's description, such as "HNSW24,Flat".
/// - vectors: (count, dimension), row-major.
/// - ef_construction: for graphs; 0 leaves FAISS's default.
/// - threads: how many threads FAISS may use.
/// - progress: may be NULL.
int belfry_faiss_build(
    const char *factory, int metric, const float *vectors, size_t count, size_t dimension, int ef_construction,
    int threads, belfry_faiss_progress progress, void *context, belfry_faiss_index **index);

/// Makes a graph that holds vectors and no links yet: levels are drawn by FAISS's generator, always the same for the same
/// count, and the entry point is the first row of the highest level. The links are for the caller to set.
/// - links: a row's on each level but the lowest, which has twice as many.
/// - vectors, ef_construction: as for `belfry_faiss_build`.
int belfry_faiss_begin_graph(
    int links, int metric, const float *vectors, size_t count, size_t dimension, int ef_construction,
    belfry_faiss_index **index);

/// The `neighbours` of a graph, to be written while nobody else reads the index; NULL for other kinds.
int32_t *belfry_faiss_links(belfry_faiss_index *index);

/// Frees an index; NULL is allowed.
void belfry_faiss_free(belfry_faiss_index *index);

/// FAISS's own search for one query: the oracle that the tests hold ItemIndex to.
/// - ef, nprobe: 0 leaves the index's own. FAISS 1.7.3 cannot search a graph wider than the index's own ef.
/// - eligible: a bitmap of rows, bit i % 64 of word i / 64; NULL if all are. For flat and inverted files.
/// - rows, scores: k each; a missing result has row -1. Scores are FAISS's: inner products or squared distances.
int belfry_faiss_search(
    const belfry_faiss_index *index, const float *query, size_t k, size_t ef, size_t nprobe, const uint64_t *eligible,
    int64_t *rows, float *scores);

/// Sets a graph's own ef, which FAISS's search cannot exceed.
int belfry_faiss_set_ef(belfry_faiss_index *index, int ef);

/// What an index is.
typedef struct belfry_faiss_description {
    int kind;
    int metric;
    size_t count;
    size_t dimension;
} belfry_faiss_description;

/// Describes an index; fails for a kind that is none of ours.
int belfry_faiss_describe(const belfry_faiss_index *index, belfry_faiss_description *description);

/// The vectors of a flat index, or of a graph's storage: (count, dimension), row-major. NULL for other kinds and for a
/// graph that was written without its storage.
const float *belfry_faiss_vectors(const belfry_faiss_index *index);

/// A graph's arrays, owned by the index. Row i has its links in neighbours[offsets[i] ..< offsets[i + 1]]: those of
/// level l from offsets[i] + level_ends[l] to offsets[i] + level_ends[l + 1], ended by the first -1.
typedef struct belfry_faiss_graph {
    const int32_t *neighbours;  // (neighbour_count)
    size_t neighbour_count;
    const size_t *offsets;      // (count + 1)
    const int32_t *levels;      // (count): how many levels the row is on, at least 1
    const int32_t *level_ends;  // (level_end_count): cum_nneighbor_per_level
    size_t level_end_count;
    int32_t entry_point;        // -1 if the index is empty
    int32_t maximum_level;
    int32_t ef;                 // the index's own
    int32_t ef_construction;
} belfry_faiss_graph;

/// Gives a graph's arrays; fails for other kinds.
int belfry_faiss_get_graph(const belfry_faiss_index *index, belfry_faiss_graph *graph);

/// Makes `target` the link in one of a row's slots on level 0 of a graph. `slot` counts from 0 and is that of a link there is,
/// or the first free one. Nobody else may read the index meanwhile.
int belfry_faiss_set_link(belfry_faiss_index *index, size_t row, size_t slot, size_t target);

#ifdef __cplusplus
}
#endif
