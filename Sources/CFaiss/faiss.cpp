#include "CFaiss.h"

#include <fcntl.h>
#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <distances.h>
#include <item_search.h>

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

// MARK: Our scans in FAISS's building

// The memory of one thread's scans of centroids.
struct ScanMemory {
    std::vector<float> candidate_scores, scores, link_scores;
    std::vector<uint32_t> candidate_positions, rows, links;
    std::vector<uint64_t> collected, spare;
    std::unique_ptr<int8_t, decltype(&std::free)> weights;
    belfry_search_scratch scratch = {};

    ScanMemory(size_t items, size_t weight_count)
        : candidate_scores(belfry_search_candidates(1, items)), scores(128), link_scores(BELFRY_SCAN_BLOCK),
          candidate_positions(candidate_scores.size()), rows(128), links(BELFRY_SCAN_BLOCK), collected(128), spare(128),
          weights(static_cast<int8_t *>(std::aligned_alloc(64, (weight_count + 63) / 64 * 64)), &std::free) {
        if (!weights) throw std::bad_alloc();
        scratch.candidate_scores = candidate_scores.data();
        scratch.candidate_positions = candidate_positions.data();
        scratch.candidate_capacity = candidate_scores.size();
        scratch.collected = collected.data();
        scratch.spare = spare.data();
        scratch.capacity = collected.size();
        scratch.links = links.data();
        scratch.link_scores = link_scores.data();
        scratch.link_capacity = links.size();
        scratch.rows = rows.data();
        scratch.scores = scores.data();
        scratch.weights = weights.get();
    }
};

// The centroids of an inverted file, among which FAISS looks for the nearest of each vector, in training and in adding. With
// thousands of lists that is nearly all the time; 4-bit codes of the centroids take a tenth of it. Written like any IndexFlat.
struct CodedCentroids : faiss::IndexFlat {
    int threads = 1;
    using IndexFlat::IndexFlat;

    void search(
        idx_t n, const float *x, idx_t k, float *distances, idx_t *labels,
        const faiss::SearchParameters *parameters) const override {
        if (k != 1 || parameters || ntotal < 512) {
            IndexFlat::search(n, x, k, distances, labels, parameters);
            return;
        }
        const size_t dimension = static_cast<size_t>(d), count = static_cast<size_t>(ntotal);
        const size_t line_count = (dimension + 7) / 8, block_size = line_count * BELFRY_SQ4_LINE;
        const size_t block_count = (count + BELFRY_SQ4_BLOCK - 1) / BELFRY_SQ4_BLOCK;
        std::vector<float> levels(line_count * 8 * 2);
        belfry_sq4_quantizer quantizer = {dimension, line_count, levels.data(), levels.data() + line_count * 8};
        belfry_sq4_train(get_xb(), count, &quantizer);
        std::unique_ptr<uint8_t, decltype(&std::free)> blocks(
            static_cast<uint8_t *>(std::aligned_alloc(64, block_count * block_size)), &std::free);
        if (!blocks) throw std::bad_alloc();
        float error = 0;
        for (size_t block = 0; block < block_count; block++) {
            size_t first = block * BELFRY_SQ4_BLOCK;
            float largest = belfry_sq4_encode(
                &quantizer, get_xb() + first * dimension, std::min<size_t>(BELFRY_SQ4_BLOCK, count - first), nullptr,
                blocks.get() + block * block_size);
            error = std::max(error, largest);
        }
        const int metric = metric_type == faiss::METRIC_L2 ? BELFRY_SQUARED_L2 : BELFRY_INNER_PRODUCT;
        const int set = belfry_best_instruction_set();
        std::vector<float> biases;
        float largest_bias = 0;
        if (metric == BELFRY_SQUARED_L2) {
            const belfry_scorer *products = belfry_scorer_for(BELFRY_INNER_PRODUCT, set);
            for (size_t i = 0; i < count; i++) {
                const float *row = get_xb() + i * dimension;
                biases.push_back(-products->one(row, row, dimension));
                largest_bias = std::max(largest_bias, -biases.back());
            }
        }
        // Errors that lie in all directions alike come to this; where they do not, some vector goes to its second nearest list.
        const float deviation = error / std::sqrt(static_cast<float>(dimension));
        const belfry_run run = {0, static_cast<uint32_t>(count), 0, error, deviation, largest_bias};
        belfry_runs runs = {};
        runs.vectors = {get_xb(), count, dimension, belfry_scorer_for(metric, set), metric};
        runs.runs = &run;
        runs.run_count = 1;
        runs.codes = blocks.get();
        runs.quantizer = quantizer;
        runs.scan = belfry_sq4_scan_for(set);
        runs.biases = biases.empty() ? nullptr : biases.data();

        const idx_t shares = std::max(threads, 1);
        auto assign = [&](idx_t share) {
            ScanMemory memory(count, line_count * 8);
            for (idx_t i = n * share / shares; i < n * (share + 1) / shares; i++) {
                size_t found = belfry_search_likely(&runs, x + i * d, 1, &memory.scratch);
                labels[i] = found > 0 ? static_cast<idx_t>(memory.scratch.rows[0]) : 0;
                float score = found > 0 ? memory.scratch.scores[0] : 0;
                distances[i] = metric == BELFRY_SQUARED_L2 ? -score : score;
            }
        };
        std::vector<std::thread> others;
        for (idx_t share = 1; share < shares; share++) others.emplace_back(assign, share);
        assign(0);
        for (auto &other : others) other.join();
    }
};

// What the factory built, with our scans in the place of FAISS's.
void use_kernels(faiss::Index &index, int threads) {
    if (auto lists = dynamic_cast<faiss::IndexIVFFlat *>(&index)) {
        auto centroids = new CodedCentroids(lists->d, lists->quantizer->metric_type);
        centroids->threads = threads;
        if (lists->own_fields) delete lists->quantizer;
        lists->quantizer = centroids;
        lists->own_fields = true;
        // Of FAISS's 256 vectors for each centroid, the first hundred do nearly all.
        lists->cp.max_points_per_centroid = 100;
    }
}

void check_shape(size_t count, size_t dimension) {
    if (dimension < 1 || dimension > INT32_MAX) fail("dimension " + std::to_string(dimension) + " is impossible");
    if (count > INT32_MAX) fail(std::to_string(count) + " rows are more than FAISS numbers");
}

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
        check_shape(count, dimension);
        ThreadsForNow for_now(std::max(threads, 1));
        auto result = std::make_unique<belfry_faiss_index>();
        result->owned.reset(
            faiss::index_factory(static_cast<int>(dimension), factory, static_cast<faiss::MetricType>(metric)));
        faiss::Index &built = *result->owned;
        use_kernels(built, threads);
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

int belfry_faiss_begin_graph(
    int links, int metric, const float *vectors, size_t count, size_t dimension, int ef_construction,
    belfry_faiss_index **index) {
    return guarded([&] {
        check_shape(count, dimension);
        auto graph = std::make_unique<faiss::IndexHNSWFlat>(
            static_cast<int>(dimension), links, static_cast<faiss::MetricType>(metric));
        graph->storage->add(static_cast<faiss::Index::idx_t>(count), vectors);
        graph->ntotal = graph->storage->ntotal;
        faiss::HNSW &hnsw = graph->hnsw;
        if (ef_construction > 0) hnsw.efConstruction = ef_construction;
        hnsw.prepare_level_tab(count, false);
        if (count > 0) {
            auto highest = std::max_element(hnsw.levels.begin(), hnsw.levels.end());
            hnsw.entry_point = static_cast<int32_t>(highest - hnsw.levels.begin());
            hnsw.max_level = *highest - 1;
        }
        auto result = std::make_unique<belfry_faiss_index>();
        result->owned = std::move(graph);
        *index = result.release();
    });
}

int32_t *belfry_faiss_links(belfry_faiss_index *index) {
    auto graph = dynamic_cast<faiss::IndexHNSW *>(index->owned.get());
    return graph ? graph->hnsw.neighbors.data() : nullptr;
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

int belfry_faiss_set_link(belfry_faiss_index *index, size_t row, size_t slot, size_t target) {
    return guarded([&] {
        auto holder = dynamic_cast<faiss::IndexHNSW *>(index->owned.get());
        if (!holder) fail("the index is no graph");
        const size_t count = static_cast<size_t>(holder->ntotal);
        if (row >= count || target >= count || row == target) {
            fail("a link from row " + std::to_string(row) + " to row " + std::to_string(target) + " of "
                + std::to_string(count));
        }
        size_t begin = 0, end = 0;
        holder->hnsw.neighbor_range(static_cast<faiss::Index::idx_t>(row), 0, &begin, &end);
        int32_t *links = holder->hnsw.neighbors.data() + begin;
        if (slot >= end - begin) fail("slot " + std::to_string(slot) + " of " + std::to_string(end - begin));
        if (slot > 0 && links[slot - 1] < 0) fail("slot " + std::to_string(slot) + " is behind the last link");
        links[slot] = static_cast<int32_t>(target);
    });
}
