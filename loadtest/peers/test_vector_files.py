from pathlib import Path

import numpy
import pytest

from vector_files import MalformedFile, VectorWriter, read_rows, read_vectors, write_rows, write_vectors


def test_bytes_are_the_format_of_the_big_ann_benchmarks(tmp_path: Path) -> None:
    write_vectors(tmp_path / "x.fbin", numpy.array([[1.0, -2.0], [0.5, 0.0], [3.0, 4.0]]))
    # Count, dimension, then the numbers' bit patterns by hand.
    expected = bytes.fromhex("03000000" "02000000" "0000803f" "000000c0" "0000003f" "00000000" "00004040" "00008040")
    assert (tmp_path / "x.fbin").read_bytes() == expected
    assert read_vectors(tmp_path / "x.fbin").tolist() == [[1.0, -2.0], [0.5, 0.0], [3.0, 4.0]]


def test_rows_may_be_followed_by_distances(tmp_path: Path) -> None:
    write_rows(tmp_path / "t.ibin", numpy.array([[7, 1], [0, 2147483647]]))
    assert read_rows(tmp_path / "t.ibin").tolist() == [[7, 1], [0, 2147483647]]
    with open(tmp_path / "t.ibin", "ab") as file:
        file.write(numpy.ones(4, dtype="<f4").tobytes())
    assert read_rows(tmp_path / "t.ibin").tolist() == [[7, 1], [0, 2147483647]]


def test_chunks_make_the_same_file_as_one_piece(tmp_path: Path) -> None:
    rows = numpy.random.default_rng(1).normal(size=(10, 3)).astype(numpy.float32)
    write_vectors(tmp_path / "whole.fbin", rows)
    with VectorWriter(tmp_path / "parts.fbin", 10, 3) as writer:
        for start in (0, 4, 8):
            writer.append(rows[start:start + 4])
    assert (tmp_path / "parts.fbin").read_bytes() == (tmp_path / "whole.fbin").read_bytes()


@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content + b"\0", lambda content: content[:6]])
def test_a_size_that_the_header_does_not_say_is_refused(tmp_path: Path, change) -> None:
    path = tmp_path / "x.fbin"
    write_vectors(path, numpy.ones((2, 2)))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(MalformedFile):
        read_vectors(path)


def test_an_unfinished_file_is_not_left_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        with VectorWriter(tmp_path / "x.fbin", 3, 2) as writer:
            writer.append(numpy.ones((2, 2)))
    with pytest.raises(KeyboardInterrupt):
        with VectorWriter(tmp_path / "x.fbin", 3, 2) as writer:
            raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
