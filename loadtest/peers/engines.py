"""The peers behind one shape: build into a folder, load from it, search one query.

An engine's search takes float32 (1, dimension) and returns rows, best first, at most k of them; it does nothing else, so
that what is timed is the binding's call. `overhead` is the same call with next to nothing to search. Libraries are
imported when an engine is used: a peer that is not installed fails alone, by name.
"""

from __future__ import annotations

import importlib
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Tuple

import numpy

Search = Callable[[numpy.ndarray], numpy.ndarray]
SCANN_TRAINING_ROWS = 250_000


class Unavailable(Exception):
    """A peer that cannot be measured here, and why."""


class Engine:
    """`specification` is an entry of grid.json, `folder` where the built index stands."""

    package = ""  # on PyPI
    module = ""

    def __init__(self, specification: Mapping[str, Any], folder: Path):
        self.specification = specification
        self.folder = folder
        try:
            self.library: Any = importlib.import_module(self.module)
        except Exception as error:  # whatever a broken wheel throws is a reason to name
            raise Unavailable(f"{self.package} cannot be imported: {error}") from error

    @classmethod
    def version(cls) -> str:
        return metadata.version(cls.package)

    def build(self, items: numpy.ndarray, threads: int) -> None:
        """Writes the index of float32 (item, dimension) into the folder."""
        raise NotImplementedError

    def load(self, items: int, dimension: int) -> None:
        raise NotImplementedError

    def search(self, k: int, setting: Mapping[str, float]) -> Search:
        """Sets the parameters, and returns the search of one query."""
        raise NotImplementedError

    def overhead(self, k: int, dimension: int) -> Tuple[Search, str]:
        """A call that has next to nothing to search, and what it is in words."""
        raise NotImplementedError

    def stored_bytes(self) -> int:
        """Everything the engine needs to search, vectors included, as it stands on disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file() and path.name != "done.json")


class FaissEngine(Engine):
    package, module = "faiss-cpu", "faiss"

    def make(self, dimension: int) -> Any:
        raise NotImplementedError

    def build(self, items: numpy.ndarray, threads: int) -> None:
        self.library.omp_set_num_threads(threads)
        index = self.make(items.shape[1])
        if not index.is_trained:
            index.train(items)
        index.add(items)
        self.library.write_index(index, str(self.folder / "index.faiss"))

    def load(self, items: int, dimension: int) -> None:
        self.library.omp_set_num_threads(1)
        self.index = self.library.read_index(str(self.folder / "index.faiss"))

    def apply(self, index: Any, k: int, setting: Mapping[str, float]) -> None:
        """Sets the search parameters."""

    def search(self, k: int, setting: Mapping[str, float]) -> Search:
        self.apply(self.index, k, setting)
        search = self.index.search
        return lambda query: search(query, k)[1][0]

    def overhead(self, k: int, dimension: int) -> Tuple[Search, str]:
        self.tiny = self.make_tiny(dimension)
        search = self.tiny.search
        return lambda query: search(query, k)[1][0], "one item, the same k"

    def make_tiny(self, dimension: int) -> Any:
        index = self.library.IndexFlatIP(dimension)
        index.add(numpy.eye(1, dimension, dtype=numpy.float32))
        return index


class FaissFlat(FaissEngine):
    def make(self, dimension: int) -> Any:
        return self.library.IndexFlatIP(dimension)


class FaissHNSW(FaissEngine):
    def make(self, dimension: int) -> Any:
        index = self.library.IndexHNSWFlat(dimension, self.specification["links"], self.library.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = self.specification["ef_construction"]
        return index

    def apply(self, index: Any, k: int, setting: Mapping[str, float]) -> None:
        index.hnsw.efSearch = int(setting["ef"])

    def make_tiny(self, dimension: int) -> Any:
        index = self.make(dimension)
        index.add(numpy.eye(1, dimension, dtype=numpy.float32))
        return index


class FaissHNSWQuantised(FaissEngine):
    """The graph over 8-bit codes, then scored again in float32."""

    def make(self, dimension: int) -> Any:
        factory = f"HNSW{self.specification['links']}_SQ8,RFlat"
        index = self.library.index_factory(dimension, factory, self.library.METRIC_INNER_PRODUCT)
        self.library.downcast_index(index.base_index).hnsw.efConstruction = self.specification["ef_construction"]
        return index

    def apply(self, index: Any, k: int, setting: Mapping[str, float]) -> None:
        index.k_factor = float(setting["reorder"]) / k
        self.library.downcast_index(index.base_index).hnsw.efSearch = int(setting["ef"])

    def make_tiny(self, dimension: int) -> Any:
        index = self.make(dimension)
        rows = numpy.eye(1, dimension, dtype=numpy.float32)
        index.train(rows)
        index.add(rows)
        return index


class FaissIVF(FaissEngine):
    def make(self, dimension: int) -> Any:
        return self.library.index_factory(dimension, self.specification["factory"], self.library.METRIC_INNER_PRODUCT)

    def apply(self, index: Any, k: int, setting: Mapping[str, float]) -> None:
        index.nprobe = int(setting["nprobe"])

    def make_tiny(self, dimension: int) -> Any:
        index = self.library.index_factory(dimension, "IVF1,Flat", self.library.METRIC_INNER_PRODUCT)
        rows = numpy.eye(1, dimension, dtype=numpy.float32)
        index.train(rows)
        index.add(rows)
        return index


class FaissFastScan(FaissEngine):
    """4-bit product codes of 2 dimensions each, scanned in registers, then scored again in float32."""

    def make(self, dimension: int) -> Any:
        if dimension % 2 != 0:
            raise Unavailable(f"codes of 2 dimensions do not divide {dimension}")
        residual = "r" if self.specification["residual"] else ""
        factory = f"IVF{self.specification['lists']},PQ{dimension // 2}x4fs{residual},RFlat"
        return self.library.index_factory(dimension, factory, self.library.METRIC_INNER_PRODUCT)

    def apply(self, index: Any, k: int, setting: Mapping[str, float]) -> None:
        index.k_factor = float(setting["reorder"]) / k
        self.library.downcast_index(index.base_index).nprobe = int(setting["nprobe"])

    def make_tiny(self, dimension: int) -> Any:
        base = self.library.IndexFlatIP(dimension)
        index = self.library.IndexRefineFlat(base)
        index.add(numpy.eye(1, dimension, dtype=numpy.float32))
        return index


class HNSWLib(Engine):
    package, module = "hnswlib", "hnswlib"

    def build(self, items: numpy.ndarray, threads: int) -> None:
        index = self.library.Index(space="ip", dim=items.shape[1])
        index.init_index(max_elements=len(items), M=self.specification["links"],
                         ef_construction=self.specification["ef_construction"], random_seed=1)
        index.add_items(items, num_threads=threads)
        index.save_index(str(self.folder / "index.hnswlib"))

    def load(self, items: int, dimension: int) -> None:
        self.index = self.library.Index(space="ip", dim=dimension)
        self.index.load_index(str(self.folder / "index.hnswlib"), max_elements=items)
        self.index.set_num_threads(1)

    def search(self, k: int, setting: Mapping[str, float]) -> Search:
        self.index.set_ef(int(setting["ef"]))
        search = self.index.knn_query
        return lambda query: search(query, k, num_threads=1)[0][0]

    def overhead(self, k: int, dimension: int) -> Tuple[Search, str]:
        self.tiny = self.library.Index(space="ip", dim=dimension)
        self.tiny.init_index(max_elements=1, M=2, ef_construction=2)
        self.tiny.add_items(numpy.eye(1, dimension, dtype=numpy.float32))
        self.tiny.set_num_threads(1)
        search = self.tiny.knn_query
        return lambda query: search(query, 1, num_threads=1)[0][0], "one item, k = 1: it refuses a k above its items"


class USearch(Engine):
    package, module = "usearch", "usearch.index"

    def make(self, dimension: int) -> Any:
        return self.library.Index(ndim=dimension, metric="ip", dtype=self.specification["dtype"],
                                  connectivity=self.specification["links"],
                                  expansion_add=self.specification["ef_construction"])

    def build(self, items: numpy.ndarray, threads: int) -> None:
        index = self.make(items.shape[1])
        index.add(numpy.arange(len(items), dtype=numpy.uint64), numpy.ascontiguousarray(items), threads=threads)
        index.save(str(self.folder / "index.usearch"))

    def load(self, items: int, dimension: int) -> None:
        self.index = self.make(dimension)
        self.index.load(str(self.folder / "index.usearch"))

    def search(self, k: int, setting: Mapping[str, float]) -> Search:
        self.index.expansion_search = int(setting["ef"])
        return one_of_usearch(self.index, k)

    def overhead(self, k: int, dimension: int) -> Tuple[Search, str]:
        self.tiny = self.make(dimension)
        self.tiny.add(0, numpy.eye(1, dimension, dtype=numpy.float32)[0])
        return one_of_usearch(self.tiny, k), "one item, the same k"


def one_of_usearch(index: Any, k: int) -> Search:
    search = index.search
    return lambda query: search(query[0], k, threads=1).keys


class ScaNN(Engine):
    """Tree, anisotropic 4-bit codes of 2 dimensions each, scored again in float32."""

    package, module = "scann", "scann"

    def build(self, items: numpy.ndarray, threads: int) -> None:
        leaves = self.specification["leaves"]
        spilling = {"soar_lambda": 1.5, "overretrieve_factor": 2.0} if self.specification["soar"] else {}
        builder = self.library.scann_ops_pybind.builder(numpy.ascontiguousarray(items), 100, "dot_product")
        builder = builder.set_n_training_threads(threads)
        builder = builder.tree(num_leaves=leaves, num_leaves_to_search=max(1, leaves // 10),
                               training_sample_size=min(len(items), SCANN_TRAINING_ROWS), **spilling)
        searcher = builder.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(200).build()
        searcher.serialize(str(self.folder))

    def load(self, items: int, dimension: int) -> None:
        self.searcher = self.library.scann_ops_pybind.load_searcher(str(self.folder))

    def search(self, k: int, setting: Mapping[str, float]) -> Search:
        search, leaves, reorder = self.searcher.search, int(setting["leaves"]), int(setting["reorder"])
        return lambda query: search(query[0], final_num_neighbors=k, pre_reorder_num_neighbors=reorder,
                                    leaves_to_search=leaves)[0]

    def overhead(self, k: int, dimension: int) -> Tuple[Search, str]:
        rows = numpy.eye(min(16, dimension), dimension, dtype=numpy.float32)
        self.tiny = self.library.scann_ops_pybind.builder(rows, 10, "dot_product").score_brute_force().build()
        search = self.tiny.search
        return lambda query: search(query[0], final_num_neighbors=k)[0], "16 items by brute force, the same k"


class SVS(Engine):
    """Intel's Vamana over `storage`: float32, float16, or LVQ's two levels by their bits, such as [4, 8]."""

    package, module = "scalable-vs", "svs"

    def build(self, items: numpy.ndarray, threads: int) -> None:
        svs, storage = self.library, self.specification["storage"]
        parameters = svs.VamanaBuildParameters(
            graph_max_degree=self.specification["degree"], window_size=self.specification["window"],
            alpha=self.specification["alpha"])
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            if isinstance(storage, str):
                source: Any = numpy.ascontiguousarray(items, dtype=storage)
            else:
                # It compresses what it reads from a file.
                path = str(Path(scratch) / "vectors.fvecs")
                svs.write_vecs(items, path)
                loader = svs.VectorDataLoader(path, svs.DataType.float32, dims=items.shape[1])
                source = svs.LVQLoader(loader, primary=storage[0], residual=storage[1])
            index = svs.Vamana.build(parameters, source, svs.DistanceType.MIP, num_threads=threads)
            index.save(*(str(self.folder / part) for part in ("config", "graph", "data")))

    def load(self, items: int, dimension: int) -> None:
        svs, storage = self.library, self.specification["storage"]
        config, graph, data = (str(self.folder / part) for part in ("config", "graph", "data"))
        source = (svs.VectorDataLoader(data, getattr(svs.DataType, storage), dims=dimension) if isinstance(storage, str)
                  else svs.LVQLoader(data))
        self.index = svs.Vamana(config, svs.GraphLoader(graph), source, distance=svs.DistanceType.MIP, num_threads=1)

    def search(self, k: int, setting: Mapping[str, float]) -> Search:
        self.index.search_window_size = int(setting["ef"])
        search = self.index.search
        return lambda query: search(query, k)[0][0]

    def overhead(self, k: int, dimension: int) -> Tuple[Search, str]:
        svs = self.library
        rows = numpy.eye(min(16, dimension), dimension, dtype=numpy.float32)
        parameters = svs.VamanaBuildParameters(graph_max_degree=16, window_size=16, alpha=0.95)
        self.tiny = svs.Vamana.build(parameters, rows, svs.DistanceType.MIP, num_threads=1)
        self.tiny.search_window_size = 16
        search = self.tiny.search
        return lambda query: search(query, 10)[0][0], "16 items, k = 10"


ENGINES: Dict[str, type] = {
    "faiss_flat": FaissFlat, "faiss_hnsw": FaissHNSW, "faiss_hnsw_quantised": FaissHNSWQuantised,
    "faiss_ivf": FaissIVF, "faiss_fast_scan": FaissFastScan,
    "hnswlib": HNSWLib, "usearch": USearch, "scann": ScaNN, "svs": SVS}


def engine_of(specification: Mapping[str, Any], folder: Path) -> Engine:
    return ENGINES[specification["engine"]](specification, folder)
