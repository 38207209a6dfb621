# `make run` and `make test` are all a fresh Debian 12 machine with Swift 6.3 needs: each installs what is missing.

SHELL := /bin/bash
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# libfaiss brings no code for its HNSW visitor threads of its own: one OpenBLAS thread keeps workers from oversubscribing.
export OPENBLAS_NUM_THREADS := 1

LIBRARIES := libmicrohttpd-dev libfaiss-dev libopenblas-dev libsimdjson-dev libxxhash-dev zlib1g-dev
# PyPI's torch brings 5.9 GB of CUDA; Debian's is enough. A torch of the user's own in .venv takes precedence.
TRAINING := python3-torch python3-venv
# What the tests of the load tester's outputs read them with.
READERS := chromium
# What the tests of metrics read those with. Taken out of Debian's package, because installing that would start a Prometheus.
PROMTOOL := .build/promtool/usr/bin/promtool
# What the unit file is held to its promises with; it brings libseccomp too.
UNITS := systemd python3
# What the kernels are compiled for arm64 with.
ARM64 := libc6-dev-arm64-cross
# What the load tester is measured beside.
PEERS := wrk curl
# What the hand-written stacks are built from.
STACKS := libhnswlib-dev libeigen3-dev libsimdjson-dev libmicrohttpd-dev libxxhash-dev g++ python3-torch python3-venv
STACKS_PYTHON := .build/bench/stacks-venv/bin/python
# Items of the comparison, in a folder of that name.
ITEMS ?= 1000000
STACKS_DATA := .build/bench/stacks/$(ITEMS)
PYTHON := .venv/bin/python
MODELS := cd models && PYTHONPATH=. ../$(PYTHON)
IMPORT_CHECK := --explicit-target-dependency-import-check error
SWIFT_TEST := swift test $(IMPORT_CHECK) --no-parallel

.PHONY: bench-pages bench-threading bench-building check-arm64 build-sanitize build-optimised test-optimised test-benchmarks run build bench-tower loadtest loadtest-precision loadtest-swaps test test-long test-swift test-allocations test-models sanitize sanitize-threads lint format test-systemd libraries training readers peers fixtures help bench-encoding bench bench-search bench-data bench-environment test-peers bench-servers bench-tail bench-floor stacks test-stacks

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make run          build the daemon and serve models/demo on 127.0.0.1:8080
run: build
	.build/release/belfry serve --snapshots models/demo

## make build        the optimised binary, .build/release/belfry
build: libraries
	swift build -c release --product belfry

## make loadtest     the smoke and slo scenarios against the daemon of make run
loadtest: build peers
	loadtest/against-demo.sh

## make loadtest-swaps  200 published swaps of 200,000 items, and 32 of a million, under load; about an hour and a half
loadtest-swaps: build training
	$(PYTHON) loadtest/swaps/run.py swap-200
	$(PYTHON) loadtest/swaps/run.py swap-p99

## make loadtest-precision  what the load tester reports, beside arithmetic and wrk; about 8 minutes on an idle machine
loadtest-precision: build peers
	swift build -c release --product injected-server
	loadtest/precision/run.py

## make bench-tower  the user tower beside ONNX Runtime, on one core; about 5 minutes on an idle machine
BENCH_TOWER := .build/bench-tower
bench-tower: libraries training
	swift build -c release --product tower-benchmark
	@[ -x $(BENCH_TOWER)/venv/bin/python ] || /usr/bin/python3 -m venv $(BENCH_TOWER)/venv
	@cmp -s Benchmarks/Tower/requirements.txt $(BENCH_TOWER)/requirements.txt || \
	  { $(BENCH_TOWER)/venv/bin/python -m pip install -q -r Benchmarks/Tower/requirements.txt && \
	    cp Benchmarks/Tower/requirements.txt $(BENCH_TOWER)/; }
	PYTHONPATH=models $(PYTHON) Benchmarks/Tower/export.py $(BENCH_TOWER)
	$(BENCH_TOWER)/venv/bin/python Benchmarks/Tower/compare.py $(BENCH_TOWER)

## make bench-encoding  what a reply costs to write and a request to read
bench-encoding: libraries
	swift build -c release --product bench-encoding
	.build/release/bench-encoding

## make bench-floor  a request's CPU beside echo, tower and search alone; after make bench-servers, whose snapshot it uses
bench-floor: build
	swift build -c release --product bench-floor
	Benchmarks/Floor/floor.py $(STACKS_DATA)/snapshot/items-$(ITEMS) --requests $(STACKS_DATA)/requests/reported.jsonl $(FLOOR_FLAGS)

## make bench        the tables of search; each other table has a target of its own, bench-...
bench: bench-search

## make bench-search belfry's search beside faiss, hnswlib, usearch, ScaNN and SVS; hours the first time, indexes and data are kept
# BENCH_FLAGS="--engines 'belfry|HNSW' --rounds 3" and the like; loadtest/peers/README.md has the options.
bench-search: build bench-data
	for data in manifold isotropic; do \
	  $(BENCH_PYTHON) loadtest/peers/bench.py --data .build/bench/data/$$data-$(BENCH_ITEMS)x$(BENCH_DIMENSION) $(BENCH_FLAGS) \
	    || exit 1; done
	$(BENCH_PYTHON) loadtest/peers/bench.py --data .build/bench/data/tower-trained-$(BENCH_TOWER_ITEMS)x$(BENCH_DIMENSION) $(BENCH_FLAGS)

## make bench-data   the vectors, queries and exact answers of make bench-search, from a seed
bench-data: bench-environment training
	for data in manifold isotropic; do \
	  $(BENCH_PYTHON) loadtest/peers/data.py $$data --items $(BENCH_ITEMS) --dimension $(BENCH_DIMENSION) || exit 1; done
	$(BENCH_PYTHON) loadtest/peers/data.py tower --train-items $(BENCH_TOWER_ITEMS) --dimension $(BENCH_DIMENSION)

## make test-peers   the tests of the benchmark's own arithmetic
test-peers: training
	$(PYTHON) -m pytest -q loadtest/peers

BENCH_PYTHON := .build/bench/venv/bin/python
BENCH_ITEMS := 1000000
BENCH_TOWER_ITEMS := 200000
BENCH_DIMENSION := 64
bench-environment:
	@dpkg -s python3-venv python3-dev g++ >/dev/null 2>&1 || \
	  { $(SUDO) apt-get update -q && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -q python3-venv python3-dev g++; }
	@[ -x $(BENCH_PYTHON) ] || /usr/bin/python3 -m venv .build/bench/venv
	@cmp -s loadtest/peers/requirements.txt .build/bench/venv/requirements.txt || \
	  loadtest/peers/install.sh $(BENCH_PYTHON)

## make bench-servers  Belfry beside a Python and a C++ stack, same model and items; about 15 minutes (ITEMS=1000000)
bench-servers: build stacks $(STACKS_DATA)/stack/hnswlib.index $(STACKS_DATA)/lists/items-$(ITEMS)/_SUCCESS
	$(STACKS_PYTHON) loadtest/stacks/compare.py --data $(STACKS_DATA) --json .build/bench/servers.json --markdown .build/bench/servers.md

## make bench-threading  what exact searches cost the fast ones beside them, by seven ways of threading; about 7 minutes
bench-threading: build training
	[ -e .build/threading/mixed/_SUCCESS ] || \
	  ($(MODELS) -m belfry_models random --items 200000 --dimension 64 --seed 11 --factory IVF512,Flat --out ../.build/threading/mixed)
	$(PYTHON) loadtest/threading/run.py --rounds 5 --seconds 4 --json .build/bench-threading.json

## make bench-building  a graph over a million items, beside faiss-cpu; after make bench-data
bench-building: build bench-environment
	$(BENCH_PYTHON) loadtest/peers/build.py --data .build/bench/data/manifold-$(BENCH_ITEMS)x$(BENCH_DIMENSION) --rounds 3

## make bench-pages  what pages of 2 MB give to search; after make bench-data
bench-pages: build bench-environment
	$(BENCH_PYTHON) loadtest/peers/bench.py --data .build/bench/data/manifold-$(BENCH_ITEMS)x$(BENCH_DIMENSION) --prepare --engines '^belfry'
	$(BENCH_PYTHON) loadtest/peers/pages.py --data .build/bench/data/manifold-$(BENCH_ITEMS)x$(BENCH_DIMENSION)

## make bench-tail   the tail at half of saturation beside that of a simulated queue; about 9 minutes, as root
bench-tail: build stacks $(STACKS_DATA)/stack/model.txt
	$(STACKS_PYTHON) loadtest/tail/tail.py --data $(STACKS_DATA) --json .build/bench/tail.json --markdown .build/bench/tail.md

$(STACKS_DATA)/stack/model.txt: | stacks
	$(STACKS_PYTHON) -W ignore loadtest/stacks/snapshot.py --items $(ITEMS) --out $(STACKS_DATA)

$(STACKS_DATA)/lists/items-$(ITEMS)/_SUCCESS: $(STACKS_DATA)/stack/model.txt
	$(STACKS_PYTHON) loadtest/stacks/lists.py $(STACKS_DATA)

$(STACKS_DATA)/stack/hnswlib.index: $(STACKS_DATA)/stack/model.txt
	.build/bench/cpp-stack build $(STACKS_DATA)/stack $@.tmp $$(nproc) && mv $@.tmp $@

# The C++ stack, and the Python one's packages. GCC 12 takes AVX-512 intrinsics for uninitialised variables.
stacks:
	@dpkg -s $(STACKS) >/dev/null 2>&1 || \
	  { $(SUDO) apt-get update -q && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -q $(STACKS); }
	@mkdir -p .build/bench
	@[ -x $(STACKS_PYTHON) ] || /usr/bin/python3 -m venv --system-site-packages .build/bench/stacks-venv
	@cmp -s loadtest/stacks/requirements.txt .build/bench/stacks-venv/requirements.txt || \
	  { $(STACKS_PYTHON) -m pip install -q -r loadtest/stacks/requirements.txt && \
	    cp loadtest/stacks/requirements.txt .build/bench/stacks-venv/; }
	@[ .build/bench/cpp-stack -nt loadtest/stacks/cpp_stack.cpp ] || \
	  g++ -std=c++17 -O3 -march=native -Wall -Wextra -Werror -Wno-uninitialized -Wno-maybe-uninitialized \
	    -isystem /usr/include/eigen3 -isystem /usr/include/hnswlib -o .build/bench/cpp-stack loadtest/stacks/cpp_stack.cpp \
	    -lmicrohttpd -lsimdjson -lxxhash -pthread

# The tests of both programs, which need numpy and pytest alone once the packages are there.
test-stacks: stacks
	$(STACKS_PYTHON) -m pytest -q loadtest/stacks loadtest/tail

## make test         every test, within 30 minutes on two cores
# Every test runs in an optimised build, as it is shipped, and in one with sanitizers. That one is built, and the Python tests run, on
# processor time that the first tests leave.
test: lint check-arm64 readers fixtures build-optimised
	@chrt --idle 0 $(MAKE) --no-print-directory -k build-sanitize test-models test-benchmarks >.build/beside.log 2>&1 & beside=$$!; \
	trap 'kill $$beside 2>/dev/null' EXIT; \
	$(MAKE) --no-print-directory test-optimised || exit 1; \
	echo "waiting for the other build and the Python tests"; wait $$beside; status=$$?; \
	grep -vE '^\[[0-9]+/[0-9]+\]' .build/beside.log; exit $$status
	$(MAKE) --no-print-directory test-systemd sanitize

## make test-long    the random tests with 20 to 50 times the count, 200 kills, 200 swaps, 1,000 races of pauses
test-long: libraries fixtures
	BELFRY_LONG=1 $(SWIFT_TEST) --filter 'Mutation|Mutated|Fuzz|Random|PauseRaceTests|swapsFailNoRequestAndMixNoAnswer'

## make test-swift   the daemon's tests, in a debug build
test-swift: libraries fixtures readers
	swift build --build-tests $(IMPORT_CHECK)
	Tests/side-by-side.sh .build/debug/belfryPackageTests.xctest

# The optimised code, but for the tests' own; only so the count of heap allocations per request can be shown.
OPTIMISED := -c release -Xswiftc -enable-testing --scratch-path .build/optimised
build-optimised: libraries
	swift build $(OPTIMISED) --build-tests $(IMPORT_CHECK)

## make test-optimised  the daemon's tests, in an optimised build
test-optimised: build-optimised fixtures readers
	Tests/side-by-side.sh .build/optimised/release/belfryPackageTests.xctest

## make test-allocations  the count of heap allocations per request, and of references to what workers share
test-allocations: build-optimised fixtures
	.build/optimised/release/belfryPackageTests.xctest --testing-library swift-testing --no-parallel \
	  --filter "AllocationTests|ReferenceCountTests"

## make test-models  the trainer's tests
test-models: training
	$(MODELS) -m pytest -q tests

## make test-benchmarks  the benchmarks' own arithmetic
test-benchmarks: training
	$(PYTHON) -m pytest -q loadtest/peers
	$(PYTHON) -m pytest -q loadtest/stacks loadtest/tail loadtest/swaps

## make test-systemd the unit file: its exposure, whether it is clean, and the daemon under its system call rules
test-systemd: build-optimised
	@dpkg -s $(UNITS) >/dev/null 2>&1 || \
	  { $(SUDO) apt-get update -q && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -q --no-install-recommends $(UNITS); }
	systemd/check.sh .build/optimised/release/belfry

## make sanitize     the daemon's tests under the address sanitizer, with undefined behaviour in C and C++ trapped
# Swift has no undefined-behaviour sanitizer. A trap needs no runtime: the process dies with SIGILL where it happens.
# vptr needs run-time type information of FAISS, function would instrument calls into libraries that are not.
UNDEFINED := -fsanitize=undefined -fsanitize-trap=undefined -fno-sanitize=vptr,function
# Left out is arithmetic repeated thousands of times over arrays of its own, which the optimised tests have shown and which shows nothing here.
REPEATED_ARITHMETIC := CoverTheTruth|CoversTheMean
sanitize: build-sanitize fixtures readers
	BELFRY_SHORT=1 LSAN_OPTIONS=suppressions=$(CURDIR)/Tests/lsan-suppressions.txt \
	  Tests/side-by-side.sh .build/sanitize/release/belfryPackageTests.xctest --skip '$(REPEATED_ARITHMETIC)'

# What is shipped is optimised, and so is this, C a little, as the documentation of the address sanitizer advises; with assertions and with the
# inlined checks of a debug build, among them the bounds of unsafe buffers. `make test-swift` runs what is not optimised.
SANITIZED := -c release -Xswiftc -enable-testing -Xswiftc -assert-config -Xswiftc Debug --sanitize=address \
  $(foreach flag,$(UNDEFINED),-Xcc $(flag) -Xcxx $(flag)) -Xcc -O1 --scratch-path .build/sanitize
build-sanitize: libraries
	swift build --build-tests $(IMPORT_CHECK) $(SANITIZED)

## make sanitize-threads  the tests that run threads against each other, under the thread sanitizer; not part of make test
sanitize-threads: libraries fixtures
	TSAN_OPTIONS=suppressions=$(CURDIR)/Tests/tsan-suppressions.txt \
	  swift test --sanitize=thread --scratch-path .build/sanitize-threads --no-parallel --disable-xctest \
	  --filter 'GenerationTests|HTTPServerTests|SwappableTests|PauseRaceTests|SnapshotLifeStressTests|AdminHandlerTests|GraphBuilderTests'

## make lint         formatting; the direction of imports is looked at wherever tests are built
lint:
	swift format lint --strict --recursive Package.swift Sources Tests

## make check-arm64  that the kernels compile for arm64, by the compiler that came with Swift; nothing is run
check-arm64:
	@dpkg -s $(ARM64) >/dev/null 2>&1 || \
	  { $(SUDO) apt-get update -q && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -q --no-install-recommends $(ARM64); }
	@for source in Sources/CKernels/*.c; do \
	  "$$(dirname "$$(readlink -f "$$(command -v swift)")")/clang" --target=aarch64-linux-gnu -isystem /usr/aarch64-linux-gnu/include \
	    -I Sources/CKernels/include -O2 -Wall -Wextra -Werror -c -o /dev/null "$$source" || exit 1; done

## make format       format the Swift sources in place
format:
	swift format --in-place --recursive Package.swift Sources Tests

libraries:
	@dpkg -s $(LIBRARIES) >/dev/null 2>&1 || \
	  { $(SUDO) apt-get update -q && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -q $(LIBRARIES); }

peers:
	@dpkg -s $(PEERS) >/dev/null 2>&1 || \
	  { $(SUDO) apt-get update -q && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -q $(PEERS); }

readers: training $(PROMTOOL)
	@dpkg -s $(READERS) >/dev/null 2>&1 || \
	  { $(SUDO) apt-get update -q && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -q $(READERS); }
	@cmp -s Tests/requirements.txt .venv/tests-requirements.txt || \
	  { $(PYTHON) -m pip install -q -r Tests/requirements.txt && cp Tests/requirements.txt .venv/tests-requirements.txt; }

$(PROMTOOL):
	@mkdir -p .build/promtool
	cd .build/promtool && rm -f *.deb && \
	  { apt-get download -q prometheus || { $(SUDO) apt-get update -q && apt-get download -q prometheus; }; } && \
	  dpkg --fsys-tarfile prometheus_*.deb | tar -x -m ./usr/bin/promtool && rm -f *.deb

training:
	@dpkg -s $(TRAINING) >/dev/null 2>&1 || \
	  { $(SUDO) apt-get update -q && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -q $(TRAINING); }
	@[ -x $(PYTHON) ] || /usr/bin/python3 -m venv --system-site-packages .venv
	@cmp -s models/requirements.txt .venv/requirements.txt || \
	  { $(PYTHON) -m pip install -q -r models/requirements.txt && cp models/requirements.txt .venv/; }

# Snapshots that the Swift tests load, written by PyTorch; made once.
fixtures: training
	@Tests/Fixtures/make-fixtures.sh $(PYTHON) .build/fixtures
