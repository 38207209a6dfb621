"""The .fbin and .ibin files of the big-ann-benchmarks: uint32 count, uint32 dimension, then rows, little-endian.

    with VectorWriter(path, count=1_000_000, dimension=64) as writer:
        for chunk in chunks:
            writer.append(chunk)                  # float32 (any, 64)
    items = read_vectors(path)                    # float32 (count, dimension), mapped, not read
    truth = read_rows(path)                       # int32 (count, width)
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Optional, Tuple, Type

import numpy

HEADER_BYTES = 8


class MalformedFile(Exception):
    """A file whose size is not what its header says."""


class VectorWriter:
    """Writes rows as they come; the file stands under its name only when it is whole."""

    def __init__(self, path: Path, count: int, dimension: int, dtype: str = "<f4"):
        self.path, self.count, self.dimension, self.dtype = Path(path), count, dimension, numpy.dtype(dtype)
        self.partial = self.path.with_name(self.path.name + ".partial")
        self.written = 0
        self.file: Optional[BinaryIO] = None

    def __enter__(self) -> VectorWriter:
        self.file = open(self.partial, "wb")
        self.file.write(numpy.array([self.count, self.dimension], dtype="<u4").tobytes())
        return self

    def append(self, rows: numpy.ndarray) -> None:
        if rows.ndim != 2 or rows.shape[1] != self.dimension:
            raise ValueError(f"{self.path}: rows of {rows.shape} in a file of dimension {self.dimension}")
        self.file.write(numpy.ascontiguousarray(rows, dtype=self.dtype).tobytes())
        self.written += len(rows)

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.file.close()
        if kind is None and self.written == self.count:
            os.replace(self.partial, self.path)
            return
        self.partial.unlink()
        if kind is None:
            raise ValueError(f"{self.path}: {self.written} rows were written, {self.count} were promised")


def write_vectors(path: Path, rows: numpy.ndarray) -> None:
    with VectorWriter(path, len(rows), rows.shape[1]) as writer:
        writer.append(rows)


def write_rows(path: Path, rows: numpy.ndarray) -> None:
    with VectorWriter(path, len(rows), rows.shape[1], "<i4") as writer:
        writer.append(rows)


def read_vectors(path: Path) -> numpy.ndarray:
    """float32 (count, dimension), mapped read-only."""
    count, dimension = read_header(path, trailing=False)
    return numpy.memmap(path, dtype="<f4", mode="r", offset=HEADER_BYTES, shape=(count, dimension))


def read_rows(path: Path) -> numpy.ndarray:
    """int32 (count, width). Distances may follow the rows in the file; they are not read."""
    count, width = read_header(path, trailing=True)
    return numpy.fromfile(path, dtype="<i4", offset=HEADER_BYTES, count=count * width).reshape(count, width)


def read_header(path: Path, trailing: bool) -> Tuple[int, int]:
    """Count and dimension, held against the size of the file; `trailing` allows for as many distances as rows."""
    size = os.path.getsize(path)
    if size < HEADER_BYTES:
        raise MalformedFile(f"{path}: {size} bytes hold no header")
    count, dimension = (int(number) for number in numpy.fromfile(path, dtype="<u4", count=2))
    body = 4 * count * dimension
    if size - HEADER_BYTES not in ((body, 2 * body) if trailing else (body,)):
        raise MalformedFile(f"{path}: {size} bytes, and the header says {count} rows of {dimension}")
    return count, dimension
