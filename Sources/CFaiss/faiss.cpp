#include "CFaiss.h"

#include <fcntl.h>
#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>

#include <faiss/IndexFlat.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIVFFlat.h>
#include <faiss/impl/IDSelector.h>
#include <faiss/impl/io.h>
#include <faiss/index_factory.h>
#include <faiss/index_io.h>

extern "C" void openblas_set_num_threads(int threads);

struct belfry_faiss_index {
    std::unique_ptr<faiss::Index> owned;
};

namespace {

thread_local std::string last_error;

// Runs what may throw and turns an exception into a code and a message.
template <class Body>
int guarded(Body body) noexcept {
    try {
        body();
        return 0;
    } catch (const std::exception &error) {
        try {
            last_error = error.what();
        } catch (...) {
            last_error.clear();
        }
    } catch (...) {
        last_error.clear();
    }
    return -1;
}

[[noreturn]] void fail(const std::string &message) {
    throw std::runtime_error(message);
}

[[noreturn]] void fail_with_errno(const std::string &operation) {
    fail(operation + ": " + std::strerror(errno));
}

const faiss::IndexHNSW *graph_of(const belfry_faiss_index *index) {
    return dynamic_cast<const faiss::IndexHNSW *>(index->owned.get());
}

const faiss::IndexIVFFlat *lists_of(const belfry_faiss_index *index) {
    return dynamic_cast<const faiss::IndexIVFFlat *>(index->owned.get());
}

const faiss::IndexFlat *flat_of(const faiss::Index *index) {
    return dynamic_cast<const faiss::IndexFlat *>(index);
}

// The rows whose bit is set.
struct Eligible : faiss::IDSelector {
    const uint64_t *eligible;

    explicit Eligible(const uint64_t *eligible) : eligible(eligible) {}
    bool is_member(idx_t id) const override {
        return (eligible[id >> 6] >> (id & 63) & 1) != 0;
    }
};

// Restores the calling thread's setting: the threads of a build must not stay with a worker's searches.
struct ThreadsForNow {
    explicit ThreadsForNow(int threads) {
        belfry_faiss_set_threads(threads);
    }
    ~ThreadsForNow() {
        belfry_faiss_set_threads(1);
    }
};

// Reads a file up to its last four bytes and then an empty storage instead of them.
struct ReaderOfGraph : faiss::IOReader {
    faiss::FileIOReader file;
    size_t left;
    faiss::VectorIOReader storage;

    explicit ReaderOfGraph(const char *path) : file(path) {
        name = path;
        int32_t dimension = 0;
        int32_t metric = 0;
        // Behind the four letters; and behind the row count, two unused numbers and the trained flag.
        if (std::fseek(file.f, 4, SEEK_SET) != 0 || std::fread(&dimension, 4, 1, file.f) != 1
            || std::fseek(file.f, 4 + 4 + 8 + 16 + 1, SEEK_SET) != 0 || std::fread(&metric, 4, 1, file.f) != 1
            || std::fseek(file.f, 0, SEEK_END) != 0) {
            fail_with_errno(std::string("cannot read ") + path);
        }
        left = static_cast<size_t>(std::ftell(file.f)) - 4;
        std::rewind(file.f);
        faiss::VectorIOWriter writer;
        faiss::IndexFlat empty(dimension, static_cast<faiss::MetricType>(metric));
        faiss::write_index(&empty, &writer);
        storage.data = std::move(writer.data);
    }

    size_t operator()(void *target, size_t size, size_t count) override {
        // FAISS reads a field in one call, so that no call crosses from the graph to the storage.
        if (left == 0) return storage(target, size, count);
        if (size * count > left) return 0;
        left -= size * count;
        return file(target, size, count);
    }
};

void read_from(faiss::IOReader &reader, belfry_faiss_index **index) {
    belfry_faiss_set_threads(1);
    auto result = std::make_unique<belfry_faiss_index>();
    result->owned.reset(faiss::read_index(&reader));
    if (!result->owned) fail("the file holds no index");
    *index = result.release();
}

void synchronise(const std::string &path, int flags) {
    int descriptor = open(path.c_str(), flags | O_CLOEXEC);
    if (descriptor < 0) fail_with_errno("cannot open " + path);
    int code = fsync(descriptor);
    int saved = errno;
    close(descriptor);
    errno = saved;
    if (code != 0) fail_with_errno("cannot synchronise " + path);
}

}  // namespace

const char *belfry_faiss_last_error(void) {
    return last_error.c_str();
}

void belfry_faiss_set_threads(int threads) {
    omp_set_num_threads(threads);
    openblas_set_num_threads(threads);
}

int belfry_faiss_read(const char *path, belfry_faiss_index **index) {
    return guarded([&] {
        faiss::FileIOReader reader(path);
        read_from(reader, index);
    });
}

int belfry_faiss_read_graph_without_vectors(const char *path, belfry_faiss_index **index) {
    return guarded([&] {
        ReaderOfGraph reader(path);
        read_from(reader, index);
    });
}

int belfry_faiss_write(const belfry_faiss_index *index, const char *path) {
    return guarded([&] {
        const std::string target = path;
        const std::string partial = target + ".partial-" + std::to_string(getpid());
        try {
            {
                faiss::FileIOWriter writer(partial.c_str());
                faiss::write_index(index->owned.get(), &writer);
            }
            synchronise(partial, O_RDONLY);
            if (std::rename(partial.c_str(), path) != 0) fail_with_errno("cannot rename " + partial + " to " + target);
            size_t slash = target.rfind('/');
            std::string folder = slash == std::string::npos ? "." : target.substr(0, std::max<size_t>(slash, 1));
            synchronise(folder, O_RDONLY | O_DIRECTORY);
        } catch (...) {
            unlink(partial.c_str());
            throw;
        }
    });
}

int belfry_faiss_build(
    const char *factory, int metric, const float *vectors, size_t count, size_t dimension, int ef_construction,
    int threads, belfry_faiss_progress progress, void *context, belfry_faiss_index **index) {
    return guarded([&] {
        if (dimension < 1 || dimension > INT32_MAX) fail("dimension " + std::to_string(dimension) + " is impossible");
        if (count > INT32_MAX) fail(std::to_string(count) + " rows are more than FAISS numbers");
        ThreadsForNow for_now(std::max(threads, 1));
        auto result = std::make_unique<belfry_faiss_index>();
        result->owned.reset(
            faiss::index_factory(static_cast<int>(dimension), factory, static_cast<faiss::MetricType>(metric)));
        faiss::Index &built = *result->owned;
        if (auto graph = dynamic_cast<faiss::IndexHNSW *>(&built); graph && ef_construction > 0) {
            graph->hnsw.efConstruction = ef_construction;
        }
        if (!built.is_trained) built.train(static_cast<faiss::Index::idx_t>(count), vectors);
        // In slices, so that a caller can tell how far it is. Each slice of a graph sets up locks and marks for all
        // rows so far, and the rows of one slice are inserted highest level first, so slices are not made small.
        const size_t slice = std::max<size_t>(count / 64, 16384);
        for (size_t done = 0; done < count;) {
            size_t size = std::min(slice, count - done);
            built.add(static_cast<faiss::Index::idx_t>(size), vectors + done * dimension);
            done += size;
            if (progress && progress(context, done, count) != 0) fail("stopped by the caller");
        }
        *index = result.release();
    });
}

void belfry_faiss_free(belfry_faiss_index *index) {
    delete index;
}

int belfry_faiss_search(
    const belfry_faiss_index *index, const float *query, size_t k, size_t ef, size_t nprobe, const uint64_t *eligible,
    int64_t *rows, float *scores) {
    return guarded([&] {
        if (k < 1) fail("k is 0");
        omp_set_num_threads(1);
        Eligible selector(eligible);
        faiss::SearchParametersHNSW graph_parameters;
        faiss::SearchParametersIVF list_parameters;
        faiss::SearchParameters plain_parameters;
        const faiss::SearchParameters *parameters = nullptr;
        if (auto graph = graph_of(index)) {
            if (!belfry_faiss_vectors(index) && graph->ntotal > 0) fail("the graph has no vectors");
            if (eligible) fail("FAISS 1.7.3 cannot exclude rows in a graph");
            if (ef > 0) {
                graph_parameters.efSearch = static_cast<int>(ef);
                graph_parameters.check_relative_distance = graph->hnsw.check_relative_distance;
                parameters = &graph_parameters;
            }
        } else if (auto lists = lists_of(index)) {
            list_parameters.nprobe = nprobe > 0 ? nprobe : lists->nprobe;
            list_parameters.sel = eligible ? &selector : nullptr;
            parameters = &list_parameters;
        } else if (eligible) {
            plain_parameters.sel = &selector;
            parameters = &plain_parameters;
        }
        index->owned->search(1, query, static_cast<faiss::Index::idx_t>(k), scores, rows, parameters);
    });
}

int belfry_faiss_set_ef(belfry_faiss_index *index, int ef) {
    return guarded([&] {
        auto graph = dynamic_cast<faiss::IndexHNSW *>(index->owned.get());
        if (!graph) fail("the index is no graph");
        graph->hnsw.efSearch = ef;
    });
}

int belfry_faiss_describe(const belfry_faiss_index *index, belfry_faiss_description *description) {
    return guarded([&] {
        const faiss::Index &any = *index->owned;
        if (flat_of(&any)) {
            description->kind = BELFRY_FAISS_FLAT;
        } else if (dynamic_cast<const faiss::IndexHNSWFlat *>(&any)) {
            description->kind = BELFRY_FAISS_HNSW_FLAT;
        } else if (lists_of(index)) {
            description->kind = BELFRY_FAISS_IVF_FLAT;
        } else {
            fail("an index kind that is not searched here");
        }
        description->metric = static_cast<int>(any.metric_type);
        description->count = static_cast<size_t>(any.ntotal);
        description->dimension = static_cast<size_t>(any.d);
    });
}

const float *belfry_faiss_vectors(const belfry_faiss_index *index) {
    auto graph = graph_of(index);
    auto flat = flat_of(graph ? graph->storage : index->owned.get());
    return flat && flat->ntotal == index->owned->ntotal ? flat->get_xb() : nullptr;
}

int belfry_faiss_get_graph(const belfry_faiss_index *index, belfry_faiss_graph *graph) {
    return guarded([&] {
        auto holder = graph_of(index);
        if (!holder) fail("the index is no graph");
        const faiss::HNSW &hnsw = holder->hnsw;
        graph->neighbours = hnsw.neighbors.data();
        graph->neighbour_count = hnsw.neighbors.size();
        graph->offsets = hnsw.offsets.data();
        graph->levels = hnsw.levels.data();
        graph->level_ends = hnsw.cum_nneighbor_per_level.data();
        graph->level_end_count = hnsw.cum_nneighbor_per_level.size();
        graph->entry_point = hnsw.entry_point;
        graph->maximum_level = hnsw.max_level;
        graph->ef = hnsw.efSearch;
        graph->ef_construction = hnsw.efConstruction;
    });
}

int belfry_faiss_get_lists(const belfry_faiss_index *index, belfry_faiss_lists *lists) {
    return guarded([&] {
        auto holder = lists_of(index);
        if (!holder) fail("the index is no inverted file");
        auto centroids = flat_of(holder->quantizer);
        if (!centroids) fail("the inverted file's lists are not found by a flat index");
        lists->list_count = holder->nlist;
        lists->centroids = centroids->get_xb();
        lists->centroid_metric = static_cast<int>(centroids->metric_type);
        lists->nprobe = holder->nprobe;
    });
}

int belfry_faiss_get_list(
    const belfry_faiss_index *index, size_t list, size_t *size, const int64_t **rows, const float **vectors) {
    return guarded([&] {
        auto holder = lists_of(index);
        if (!holder || !holder->invlists) fail("the index is no inverted file");
        if (list >= holder->nlist) fail("list " + std::to_string(list) + " of " + std::to_string(holder->nlist));
        *size = holder->invlists->list_size(list);
        *rows = holder->invlists->get_ids(list);
        *vectors = reinterpret_cast<const float *>(holder->invlists->get_codes(list));
    });
}

int belfry_faiss_release_list(belfry_faiss_index *index, size_t list) {
    return guarded([&] {
        auto holder = lists_of(index);
        auto arrays = holder ? dynamic_cast<faiss::ArrayInvertedLists *>(holder->invlists) : nullptr;
        if (!arrays) fail("the index has no lists in memory");
        if (list >= arrays->codes.size()) fail("list " + std::to_string(list) + " of " + std::to_string(arrays->nlist));
        std::vector<uint8_t>().swap(arrays->codes[list]);
        std::vector<faiss::Index::idx_t>().swap(arrays->ids[list]);
    });
}
