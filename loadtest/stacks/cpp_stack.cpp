// The C++ stack: libmicrohttpd with one thread and epoll, simdjson, the tower in Eigen, the items in hnswlib.
//
//     cpp-stack build OUT/stack OUT/stack/hnswlib.index THREADS      M = 24, efConstruction = 120
//     cpp-stack serve OUT/stack OUT/stack/hnswlib.index PORT SNAPSHOT SPACE
//
// It answers `POST /v1/retrieve` as Belfry does: user, context, k, search.ef, format rows or columns.
//
// OUT/stack, as snapshot.py writes it: vectors.f32 (item, 64), item_ids.u64, cross.f32 (user, 64), cascade.f32 (user, 32),
// user_ids.txt, weights.f32, and model.txt with a line for the sizes, one for each input of the tower, one for each layer:
//
//     sizes ITEMS USERS DIMENSION CASCADE
//     embedding NAME user|context DIMENSION MAXIMUM hash ROWS SEED | bucketise COUNT BOUNDARY...    MAXIMUM 0: a single value
//     numeric NAME user|context STEPS [log1p | standardise MEAN DEVIATION]...
//     cross SIZE | cascade SIZE
//     layer IN OUT relu|identity CYCLES
//
// weights.f32 holds the embedding tables in the order of the inputs, then of each layer weight (out, in), bias, gate weight (in, out),
// gate bias, row-major.

#include <hnswlib/hnswlib.h>
#include <microhttpd.h>
#include <simdjson.h>
#include <xxhash.h>

#include <Eigen/Dense>
#include <algorithm>
#include <arpa/inet.h>
#include <atomic>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

namespace {

using Matrix = Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;
using Vector = Eigen::Map<const Eigen::VectorXf>;
namespace dom = simdjson::dom;

constexpr size_t linksPerItem = 24;
constexpr size_t efConstruction = 120;
constexpr int64_t efDefault = 200;
constexpr int64_t kMax = 10'000;
constexpr size_t bodyByteCountMax = 1 << 20;

template <class T>
std::vector<T> readArray(const std::string& path) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    if (!file) throw std::runtime_error(path + " cannot be read");
    std::vector<T> values(static_cast<size_t>(file.tellg()) / sizeof(T));
    file.seekg(0);
    file.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(T)));
    if (!file) throw std::runtime_error(path + " cannot be read whole");
    return values;
}

// An input of the tower that a feature feeds.
struct FeatureInput {
    enum class Kind { hashed, bucketised, numeric };
    std::string name;
    bool isOfUser = true;
    Kind kind = Kind::hashed;
    size_t size = 1;         // numbers of the tower's input
    size_t offset = 0;       // the first of them
    size_t maximum = 0;      // of a list; 0: a single value
    const float* table = nullptr;  // (rows, size)
    uint64_t rows = 0;
    uint64_t seed = 0;
    std::vector<double> boundaries;
    struct Step { bool isLog1p; double mean, deviation; };
    std::vector<Step> steps;

    double transform(double value) const {
        for (const Step& step : steps)
            value = step.isLog1p ? std::copysign(std::log1p(std::fabs(value)), value) : (value - step.mean) / step.deviation;
        return value;
    }
};

struct Layer {
    Matrix weight;      // (out, in)
    Vector bias;        // (out)
    Matrix gateWeight;  // (in, out)
    Vector gateBias;    // (in)
    bool isRectified;
    int cycles;
};

struct Refused : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// The model and the users' cached vectors. Its buffers belong to the one thread that serves.
class Tower {
  public:
    explicit Tower(const std::string& folder)
        : weights_(readArray<float>(folder + "/weights.f32")), cross_(readArray<float>(folder + "/cross.f32")),
          cascade_(readArray<float>(folder + "/cascade.f32")) {
        readModel(folder + "/model.txt");
        std::ifstream file(folder + "/user_ids.txt");
        rowOfUser_.reserve(userCount_ * 2);
        for (std::string id; std::getline(file, id);) rowOfUser_.emplace(std::move(id), rowOfUser_.size());
        if (rowOfUser_.size() != userCount_) throw std::runtime_error(folder + "/user_ids.txt: not as many as model.txt says");
    }

    size_t itemCount() const { return itemCount_; }
    size_t dimension() const { return dimension_; }

    // The embedding, of length 1 and valid until the next call. `isUnknown` tells whether there are no cached vectors.
    const float* embed(dom::object user, bool hasContext, dom::object context, bool& isUnknown) {
        dom::object features;
        const bool hasFeatures = user["features"].get(features) == simdjson::SUCCESS;
        input_.setZero();
        for (const FeatureInput& each : inputs_) {
            if (each.isOfUser ? !hasFeatures : !hasContext) continue;
            dom::element value;
            if ((each.isOfUser ? features : context)[each.name].get(value) == simdjson::SUCCESS) write(each, value);
        }
        isUnknown = true;
        std::string_view id;
        if (user["id"].get(id) == simdjson::SUCCESS) {
            // The key's memory is used again, so that no request allocates.
            key_.assign(id);
            if (const auto found = rowOfUser_.find(key_); found != rowOfUser_.end()) {
                isUnknown = false;
                const size_t row = found->second;
                std::memcpy(&input_[crossOffset_], &cross_[row * dimension_], dimension_ * sizeof(float));
                std::memcpy(&input_[cascadeOffset_], &cascade_[row * cascadeSize_], cascadeSize_ * sizeof(float));
            }
        }
        const Eigen::VectorXf* x = &input_;
        for (size_t index = 0; index < layers_.size(); ++index) {
            run(layers_[index], *x, outputs_[index]);
            x = &outputs_[index];
        }
        outputs_.back() /= std::max(outputs_.back().norm(), 1e-12f);
        return outputs_.back().data();
    }

  private:
    std::vector<float> weights_;
    std::vector<float> cross_;    // (user, dimension)
    std::vector<float> cascade_;  // (user, cascade)
    size_t itemCount_ = 0, userCount_ = 0, dimension_ = 0, cascadeSize_ = 0;
    size_t crossOffset_ = 0, cascadeOffset_ = 0;
    std::vector<FeatureInput> inputs_;
    std::vector<Layer> layers_;
    std::unordered_map<std::string, size_t> rowOfUser_;
    std::string key_;
    Eigen::VectorXf input_, reweighted_;
    std::vector<Eigen::VectorXf> outputs_;

    void readModel(const std::string& path) {
        std::ifstream file(path);
        if (!file) throw std::runtime_error(path + " cannot be read");
        size_t width = 0, weight = 0, widest = 0;
        const auto take = [&](size_t count) {
            const float* start = &weights_.at(weight);
            weight += count;
            if (weight > weights_.size()) throw std::runtime_error("weights.f32 is too short for model.txt");
            return start;
        };
        for (std::string text; std::getline(file, text);) {
            std::istringstream line(text);
            std::string word, source, encoding;
            line >> word;
            if (word == "sizes") {
                line >> itemCount_ >> userCount_ >> dimension_ >> cascadeSize_;
            } else if (word == "embedding") {
                FeatureInput input;
                line >> input.name >> source >> input.size >> input.maximum >> encoding;
                input.isOfUser = source == "user";
                input.offset = width;
                if (encoding == "hash") {
                    line >> input.rows >> input.seed;
                } else {
                    size_t count = 0;
                    line >> count;
                    input.kind = FeatureInput::Kind::bucketised;
                    input.boundaries.resize(count);
                    for (double& boundary : input.boundaries) line >> boundary;
                    input.rows = count + 1;
                }
                input.table = take(input.rows * input.size);
                width += input.size;
                inputs_.push_back(std::move(input));
            } else if (word == "numeric") {
                FeatureInput input;
                size_t count = 0;
                line >> input.name >> source >> count;
                input.isOfUser = source == "user";
                input.kind = FeatureInput::Kind::numeric;
                input.offset = width++;
                for (size_t step = 0; step < count; ++step) {
                    line >> word;
                    FeatureInput::Step read{word == "log1p", 0, 1};
                    if (!read.isLog1p) line >> read.mean >> read.deviation;
                    input.steps.push_back(read);
                }
                inputs_.push_back(std::move(input));
            } else if (word == "cross" || word == "cascade") {
                size_t size = 0;
                line >> size;
                (word == "cross" ? crossOffset_ : cascadeOffset_) = width;
                width += size;
            } else if (word == "layer") {
                Eigen::Index in = 0, out = 0;
                int cycles = 0;
                line >> in >> out >> word >> cycles;
                const float* weightStart = take(static_cast<size_t>(in * out));
                const float* biasStart = take(static_cast<size_t>(out));
                const float* gateStart = take(static_cast<size_t>(in * out));
                const float* gateBiasStart = take(static_cast<size_t>(in));
                layers_.push_back({Matrix(weightStart, out, in), Vector(biasStart, out), Matrix(gateStart, in, out),
                                   Vector(gateBiasStart, in), word == "relu", cycles});
                outputs_.emplace_back(Eigen::VectorXf::Zero(out));
                widest = std::max(widest, static_cast<size_t>(in));
            }
            if (!line) throw std::runtime_error(path + ": cannot make sense of '" + text + "'");
        }
        if (layers_.empty() || weight != weights_.size() || cross_.size() != userCount_ * dimension_ ||
            cascade_.size() != userCount_ * cascadeSize_)
            throw std::runtime_error(path + ": the files beside it do not fit it");
        input_ = Eigen::VectorXf::Zero(static_cast<Eigen::Index>(width));
        reweighted_ = Eigen::VectorXf::Zero(static_cast<Eigen::Index>(widest));
    }

    static void dense(const Layer& layer, const Eigen::Ref<const Eigen::VectorXf>& x, Eigen::VectorXf& y) {
        y = layer.bias;
        y.noalias() += layer.weight * x;
        if (layer.isRectified) y = y.cwiseMax(0.0f);
    }

    void run(const Layer& layer, const Eigen::VectorXf& x, Eigen::VectorXf& y) {
        dense(layer, x, y);
        for (int cycle = 0; cycle < layer.cycles; ++cycle) {
            auto reweighted = reweighted_.head(x.size());
            reweighted = layer.gateBias;
            reweighted.noalias() += layer.gateWeight * y;
            reweighted.array() = x.array() * 2.0f / (1.0f + (-reweighted.array()).exp());
            dense(layer, reweighted, y);
        }
    }

    void write(const FeatureInput& input, dom::element value) {
        if (value.is_null()) return;
        switch (input.kind) {
        case FeatureInput::Kind::numeric:
            input_[static_cast<Eigen::Index>(input.offset)] = static_cast<float>(input.transform(number(value)));
            return;
        case FeatureInput::Kind::bucketised: {
            const auto& boundaries = input.boundaries;
            const auto bucket = std::upper_bound(boundaries.begin(), boundaries.end(), number(value)) - boundaries.begin();
            add(input, static_cast<uint64_t>(bucket));
            return;
        }
        case FeatureInput::Kind::hashed: break;
        }
        if (input.maximum == 0) return add(input, hashed(input, value));
        dom::array values;
        if (value.get(values) != simdjson::SUCCESS) throw Refused(input.name + " is not a list");
        size_t count = 0;
        for (dom::element each : values) {
            if (count == input.maximum) break;
            add(input, hashed(input, each));
            ++count;
        }
        if (count > 1)
            input_.segment(static_cast<Eigen::Index>(input.offset), static_cast<Eigen::Index>(input.size)) *=
                1.0f / static_cast<float>(count);
    }

    void add(const FeatureInput& input, uint64_t row) {
        const auto size = static_cast<Eigen::Index>(input.size);
        input_.segment(static_cast<Eigen::Index>(input.offset), size) += Vector(input.table + row * input.size, size);
    }

    static double number(dom::element value) {
        double result = 0;
        if (value.get(result) != simdjson::SUCCESS) throw Refused("a number is expected");
        return result;
    }

    static uint64_t hashed(const FeatureInput& input, dom::element value) {
        std::string_view text;
        char digits[24];
        if (value.get(text) != simdjson::SUCCESS) {
            int64_t signedValue = 0;
            uint64_t unsignedValue = 0;
            std::to_chars_result end{};
            if (value.get(signedValue) == simdjson::SUCCESS) end = std::to_chars(digits, digits + sizeof digits, signedValue);
            else if (value.get(unsignedValue) == simdjson::SUCCESS) end = std::to_chars(digits, digits + sizeof digits, unsignedValue);
            else throw Refused(input.name + ": a text or an integer is expected");
            text = std::string_view(digits, static_cast<size_t>(end.ptr - digits));
        }
        return XXH64(text.data(), text.size(), input.seed) % input.rows;
    }
};

// What a request owns until its reply is sent.
struct Exchange {
    std::string body;
    std::vector<char> reply;  // never made smaller, so that it is not filled with zeros again
    size_t replyCount = 0;
    bool isRetrieve = false;

    void set(std::string_view text) {
        if (reply.size() < text.size()) reply.resize(text.size());
        std::copy(text.begin(), text.end(), reply.begin());
        replyCount = text.size();
    }
};

class Server {
  public:
    Server(const std::string& folder, const std::string& index, std::string snapshot, std::string space)
        : tower_(folder), space_(tower_.dimension()), index_(&space_, index) {
        if (index_.cur_element_count != tower_.itemCount()) throw std::runtime_error(index + ": not as many items as model.txt says");
        head_ = R"({"snapshot":{"model":"default","id":")" + snapshot + R"(","space_id":")" + space + R"("},)";
    }

    void listen(uint16_t port) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        daemon_ = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_TURBO, port, nullptr, nullptr, &Server::handle, this,
                                   MHD_OPTION_SOCK_ADDR, reinterpret_cast<sockaddr*>(&address), MHD_OPTION_NOTIFY_COMPLETED,
                                   &Server::complete, this, MHD_OPTION_CONNECTION_LIMIT, 1024u, MHD_OPTION_END);
        if (daemon_ == nullptr) throw std::runtime_error("port " + std::to_string(port) + " cannot be listened on");
    }

    void stop() { MHD_stop_daemon(daemon_); }

  private:
    Tower tower_;
    hnswlib::InnerProductSpace space_;
    hnswlib::HierarchicalNSW<float> index_;
    std::string head_;
    dom::parser parser_;
    std::vector<std::pair<float, hnswlib::labeltype>> found_;
    std::vector<std::unique_ptr<Exchange>> spare_;
    MHD_Daemon* daemon_ = nullptr;

    static MHD_Result handle(void* self, MHD_Connection* connection, const char* path, const char* method, const char*,
                             const char* upload, size_t* uploadCount, void** state) {
        return static_cast<Server*>(self)->handle(connection, path, method, upload, uploadCount, state);
    }

    static void complete(void* self, MHD_Connection*, void** state, MHD_RequestTerminationCode) {
        if (*state == nullptr) return;
        static_cast<Server*>(self)->spare_.emplace_back(static_cast<Exchange*>(*state));
        *state = nullptr;
    }

    MHD_Result handle(MHD_Connection* connection, const char* path, const char* method, const char* upload, size_t* uploadCount,
                      void** state) {
        auto* exchange = static_cast<Exchange*>(*state);
        if (exchange == nullptr) {
            exchange = takeExchange();
            exchange->isRetrieve = std::strcmp(path, "/v1/retrieve") == 0 && std::strcmp(method, "POST") == 0;
            *state = exchange;
            return MHD_YES;
        }
        if (*uploadCount > 0) {
            if (exchange->body.size() + *uploadCount > bodyByteCountMax) return MHD_NO;
            exchange->body.append(upload, *uploadCount);
            *uploadCount = 0;
            return MHD_YES;
        }
        unsigned status = MHD_HTTP_OK;
        if (exchange->isRetrieve) status = answer(*exchange);
        else if (std::strcmp(path, "/readyz") == 0) exchange->set("{}");
        else status = refuse(*exchange, MHD_HTTP_NOT_FOUND, "no such path");
        // The bytes live in the exchange until `complete`, so they need no copy.
        MHD_Response* response =
            MHD_create_response_from_buffer(exchange->replyCount, exchange->reply.data(), MHD_RESPMEM_PERSISTENT);
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
        const MHD_Result result = MHD_queue_response(connection, status, response);
        MHD_destroy_response(response);
        return result;
    }

    Exchange* takeExchange() {
        if (spare_.empty()) {
            auto exchange = std::make_unique<Exchange>();
            exchange->body.reserve(4096);
            exchange->reply.resize(64 * 1024);
            return exchange.release();
        }
        Exchange* exchange = spare_.back().release();
        spare_.pop_back();
        exchange->body.clear();
        return exchange;
    }

    static unsigned refuse(Exchange& exchange, unsigned status, const char* detail) {
        exchange.set(R"({"status":)" + std::to_string(status) + R"(,"detail":")" + detail + "\"}");
        return status;
    }

    unsigned answer(Exchange& exchange) {
        try {
            retrieve(exchange);
            return MHD_HTTP_OK;
        } catch (const std::exception& error) {
            return refuse(exchange, MHD_HTTP_BAD_REQUEST, error.what());
        }
    }

    void retrieve(Exchange& exchange) {
        // simdjson reads beyond the end, as far as this.
        exchange.body.reserve(exchange.body.size() + simdjson::SIMDJSON_PADDING);
        dom::object request;
        if (parser_.parse(exchange.body.data(), exchange.body.size(), false).get(request) != simdjson::SUCCESS)
            throw Refused("the body is no JSON object");
        dom::object user, context;
        if (request["user"].get(user) != simdjson::SUCCESS) throw Refused("there is no user");
        const bool hasContext = request["context"].get(context) == simdjson::SUCCESS;
        int64_t k = 100, ef = efDefault;
        if (const auto field = request["k"]; field.error() == simdjson::SUCCESS && field.get(k) != simdjson::SUCCESS)
            throw Refused("k is no integer");
        if (k < 1 || k > kMax) throw Refused("k is out of range");
        if (const auto field = request["search"]["ef"]; field.error() == simdjson::SUCCESS && field.get(ef) != simdjson::SUCCESS)
            throw Refused("ef is no integer");
        if (ef < 1) throw Refused("ef is out of range");
        std::string_view format = "rows";
        if (const auto field = request["format"]; field.error() == simdjson::SUCCESS && field.get(format) != simdjson::SUCCESS)
            throw Refused("format is no text");
        bool isUnknown = false;
        const float* embedding = tower_.embed(user, hasContext, context, isUnknown);
        index_.setEf(static_cast<size_t>(ef));
        auto nearest = index_.searchKnn(embedding, static_cast<size_t>(k));
        found_.resize(nearest.size());
        for (size_t rank = found_.size(); rank-- > 0; nearest.pop()) found_[rank] = nearest.top();
        write(exchange, format == "columns", isUnknown);
    }

    void write(Exchange& exchange, bool isColumns, bool isUnknown) {
        // An id has at most 20 digits and a score at most 16 characters.
        const size_t most = head_.size() + found_.size() * 64 + 128;
        if (exchange.reply.size() < most) exchange.reply.resize(most);
        char* out = exchange.reply.data();
        char* const end = out + exchange.reply.size();
        const auto put = [&](std::string_view text) { out = std::copy(text.begin(), text.end(), out); };
        put(head_);
        if (isColumns) {
            put("\"ids\":[");
            for (const auto& [distance, id] : found_) {
                *out++ = '"';
                out = std::to_chars(out, end, id).ptr;
                put("\",");
            }
            if (!found_.empty()) --out;
            put("],\"scores\":[");
            for (const auto& [distance, id] : found_) {
                out = std::to_chars(out, end, 1.0f - distance).ptr;
                *out++ = ',';
            }
            if (!found_.empty()) --out;
        } else {
            put("\"items\":[");
            for (const auto& [distance, id] : found_) {
                put("{\"id\":\"");
                out = std::to_chars(out, end, id).ptr;
                put("\",\"score\":");
                out = std::to_chars(out, end, 1.0f - distance).ptr;
                put("},");
            }
            if (!found_.empty()) --out;
        }
        put(isUnknown ? R"(],"cold_start":true,"degraded":[]})" : R"(],"cold_start":false,"degraded":[]})");
        exchange.replyCount = static_cast<size_t>(out - exchange.reply.data());
    }
};

void build(const std::string& folder, const std::string& out, unsigned threads) {
    const auto ids = readArray<uint64_t>(folder + "/item_ids.u64");
    const auto vectors = readArray<float>(folder + "/vectors.f32");
    const size_t dimension = ids.empty() ? 0 : vectors.size() / ids.size();
    if (dimension == 0 || dimension * ids.size() != vectors.size()) throw std::runtime_error("ids and vectors do not fit each other");
    hnswlib::InnerProductSpace space(dimension);
    hnswlib::HierarchicalNSW<float> index(&space, ids.size(), linksPerItem, efConstruction);
    std::atomic<size_t> next{0};
    const auto work = [&] {
        for (size_t row = next++; row < ids.size(); row = next++) index.addPoint(&vectors[row * dimension], ids[row]);
    };
    std::vector<std::thread> workers;
    for (unsigned worker = 1; worker < threads; ++worker) workers.emplace_back(work);
    work();
    for (std::thread& worker : workers) worker.join();
    index.saveIndex(out);
}

}  // namespace

int main(int count, char** arguments) {
    const std::vector<std::string> words(arguments + 1, arguments + count);
    try {
        if (words.size() == 4 && words[0] == "build") {
            build(words[1], words[2], static_cast<unsigned>(std::stoul(words[3])));
            return 0;
        }
        if (words.size() == 6 && words[0] == "serve") {
            // Blocked before the server's thread exists, so that only sigwait sees them.
            sigset_t signals;
            sigemptyset(&signals);
            sigaddset(&signals, SIGTERM);
            sigaddset(&signals, SIGINT);
            pthread_sigmask(SIG_BLOCK, &signals, nullptr);
            Server server(words[1], words[2], words[4], words[5]);
            server.listen(static_cast<uint16_t>(std::stoul(words[3])));
            int received = 0;
            sigwait(&signals, &received);
            server.stop();
            return 0;
        }
    } catch (const std::exception& error) {
        std::cerr << "cpp-stack: " << error.what() << "\n";
        return 1;
    }
    std::cerr << "usage: cpp-stack build FOLDER INDEX THREADS | cpp-stack serve FOLDER INDEX PORT SNAPSHOT SPACE\n";
    return 64;
}
