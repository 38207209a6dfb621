import json
import re
from dataclasses import replace
from pathlib import Path

import faiss
import numpy
import polars
import pytest
from small_models import file_digests, random_contents, small_model, small_run

from belfry_models.catalogue import Attribute, Items, Users
from belfry_models.errors import InvalidInput
from belfry_models.export import contents_of
from belfry_models.item_index import IndexPlan
from belfry_models.run import read_run, write_run
from belfry_models.snapshot import MANIFEST_KEYS, digest, read_snapshot, write_snapshot
from belfry_models.tensor_files import pack_texts, read_tensors, unpack_texts, write_tensors

FLAT = IndexPlan("Flat")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    write_snapshot(tmp_path / "small", contents_of(small_run(), "float32", 64), FLAT)
    return tmp_path / "small"


def test_the_manifest_has_the_keys_of_the_format(small):
    manifest = json.loads((small / "manifest.json").read_text())
    text = (Path(__file__).parents[2] / "docs" / "SNAPSHOT.md").read_text()
    section = text.split("## manifest.json")[1].split("### feature")[0]
    documented = {key for row in re.findall(r"^\| (`.*?) \|", section, re.M) for key in re.findall(r"`(\w+)`", row)}
    assert set(manifest) == documented == set(MANIFEST_KEYS)
    assert manifest["id"] == "small" and manifest["created_at"] == "2023-11-14T22:13:20Z" and manifest["kind"] == "full"
    assert manifest["users"] == {"count": 2, "vectors": ["cross", "cascade"]}
    assert manifest["items"] == {"count": 150, "attributes": [{"name": "country", "type": "code", "multi_valued": True},
                                                              {"name": "age_min", "type": "i64", "multi_valued": False}]}
    assert manifest["index"] == {"factory": "Flat", "kind": "flat", "holds_vectors": True, "search": {},
                                 "recall": {"k": 100, "floor": 0.95}}


def test_the_manifest_seals_every_file_and_the_seal_the_manifest(small):
    manifest = json.loads((small / "manifest.json").read_text())
    seal = json.loads((small / "_SUCCESS").read_text())
    digests = file_digests(small)
    assert set(manifest["files"]) == set(digests) - {"manifest.json", "_SUCCESS"}
    assert all(digests[name] == entry["sha256"] for name, entry in manifest["files"].items())
    assert seal["manifest"] == {"bytes": (small / "manifest.json").stat().st_size, "sha256": digests["manifest.json"]}


@pytest.mark.parametrize("name", ["user_tower.safetensors", "item_tower.safetensors", "items.safetensors", "index.faiss",
                                  "users.safetensors", "item_state.safetensors", "golden.jsonl", "warmup.jsonl",
                                  "attributes.json", "manifest.json"])
def test_a_flipped_bit_is_seen(small, name):
    content = bytearray((small / name).read_bytes())
    content[len(content) // 2] ^= 1
    (small / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=name):
        read_snapshot(small)


def test_a_snapshot_without_its_seal_or_a_file_is_none(small):
    (small / "index.faiss").rename(small / "gone")
    with pytest.raises(InvalidInput, match="index.faiss"):
        read_snapshot(small)
    (small / "_SUCCESS").unlink()
    with pytest.raises(InvalidInput, match="_SUCCESS"):
        read_snapshot(small)


@pytest.mark.parametrize("plan", [FLAT, IndexPlan("HNSW8,Flat"), IndexPlan("IVF4,Flat"), IndexPlan("HNSW8,None")])
def test_what_is_read_is_what_was_written(tmp_path, plan):
    contents = contents_of(small_run(), "float16", 64)
    write_snapshot(tmp_path / "s", contents, plan)
    snapshot = read_snapshot(tmp_path / "s")
    assert snapshot.model == contents.model
    assert numpy.array_equal(snapshot.vectors, contents.vectors)
    assert ("vectors" in read_tensors(tmp_path / "s" / "items.safetensors")) == (not plan.holds_vectors)
    assert snapshot.users.cross.dtype == numpy.float16 and numpy.array_equal(snapshot.users.cross, contents.users.cross)
    assert snapshot.users.ids == ["u1", "bruker ø"]
    assert numpy.array_equal(snapshot.items.ids, contents.items.ids) and snapshot.items.ids.dtype == numpy.uint64
    assert numpy.array_equal(snapshot.items.cross, contents.items.cross) and snapshot.items.cascade is None
    for read, written in zip(snapshot.items.attributes, contents.items.attributes):
        assert (read.name, read.type, read.words) == (written.name, written.type, written.words)
        assert numpy.array_equal(read.values, written.values) and read.values.dtype == written.values.dtype
    assert snapshot.user_vocabularies == {"city": ["Oslo", "Tromsø"]}
    assert all(numpy.array_equal(snapshot.user_tensors[name], tensor) for name, tensor in contents.user_tensors.items())
    assert set(json.loads((tmp_path / "s" / "attributes.json").read_text())) == {"country"}


def test_the_index_holds_the_items_in_their_order(small):
    index = faiss.read_index(str(small / "index.faiss"))
    contents = contents_of(small_run(), "float32", 64)
    assert numpy.array_equal(index.reconstruct_n(0, index.ntotal), contents.vectors)


def test_the_search_parameters_are_the_index_files_own_too(tmp_path):
    contents = random_contents()
    for factory in ("HNSW8", "IVF4,Flat"):
        search = write_snapshot(tmp_path / factory[:3], contents, IndexPlan(factory))["index"]["search"]
        index = faiss.read_index(str(tmp_path / factory[:3] / "index.faiss"))
        assert search == ({"ef": index.hnsw.efSearch} if factory == "HNSW8" else {"nprobe": index.nprobe})


def test_every_tensor_file_names_its_space(small):
    for path in small.glob("*.safetensors"):
        read_tensors(path, "s-1")
        with pytest.raises(InvalidInput, match="space"):
            read_tensors(path, "s-2")
        assert path.stat().st_mode & 0o044 == 0o044  # a daemon is another user


def test_the_same_contents_give_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    for place in ("a", "b"):
        write_run(tmp_path / f"run-{place}", small_run())
        contents = contents_of(read_run(tmp_path / f"run-{place}"), "float32", 64)
        write_snapshot(tmp_path / place / "s", contents, IndexPlan("HNSW8,Flat"))
    assert file_digests(tmp_path / "run-a") == file_digests(tmp_path / "run-b")
    assert file_digests(tmp_path / "a" / "s") == file_digests(tmp_path / "b" / "s")
    manifest = json.loads((tmp_path / "a" / "s" / "manifest.json").read_text())
    seal = json.loads((tmp_path / "a" / "s" / "_SUCCESS").read_text())
    assert manifest["created_at"] == seal["published_at"] == "2001-09-09T01:46:40Z"


def test_only_the_time_of_publication_moves_with_the_clock(tmp_path, monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    contents = contents_of(small_run(), "float32", 64)
    for place, now in (("a", 2000000000), ("b", 2000000001)):
        monkeypatch.setattr("time.time", lambda: now)
        write_snapshot(tmp_path / place / "s", contents, FLAT)
    first, second = file_digests(tmp_path / "a" / "s"), file_digests(tmp_path / "b" / "s")
    assert {name for name in first if first[name] != second[name]} == {"_SUCCESS"}


def test_a_snapshot_is_never_overwritten_and_a_failure_leaves_nothing(small, monkeypatch):
    contents = contents_of(small_run(), "float32", 64)
    with pytest.raises(InvalidInput, match="exists already"):
        write_snapshot(small, contents, FLAT)
    with pytest.raises(InvalidInput, match="no snapshot id"):
        write_snapshot(small.with_name("a.b"), contents, FLAT)
    broken = replace(contents, vectors=contents.vectors[:-1])
    with pytest.raises(InvalidInput, match="item vectors"):
        write_snapshot(small.with_name("broken"), broken, FLAT)
    assert sorted(path.name for path in small.parent.iterdir()) == ["small"]


def test_an_abandoned_draft_is_cleared(tmp_path):
    (tmp_path / "s.tmp").mkdir()
    (tmp_path / "s.tmp" / "rubbish").write_text("left by a crash")
    write_snapshot(tmp_path / "s", contents_of(small_run(), "float32", 64), FLAT)
    assert not (tmp_path / "s" / "rubbish").exists() and not (tmp_path / "s.tmp").exists()


def test_a_manifest_with_another_key_is_refused(small):
    manifest = json.loads((small / "manifest.json").read_text())
    (small / "manifest.json").write_text(json.dumps({**manifest, "colour": "red"}))
    (small / "_SUCCESS").write_text(json.dumps({"published_at": "x", "manifest": digest(small / "manifest.json")}))
    with pytest.raises(InvalidInput, match="colour"):
        read_snapshot(small)


def test_numbers_that_are_not_finite_are_not_written(tmp_path):
    with pytest.raises(InvalidInput, match="not finite"):
        write_tensors(tmp_path / "t", {"a": numpy.array([1, numpy.nan], dtype=numpy.float32)}, "s")
    run = small_run()
    big = Users(run.users.ids, run.users.cross * 1e6, run.users.cascade)
    with pytest.raises(InvalidInput, match="c_u"):
        write_snapshot(tmp_path / "s", contents_of(replace(run, users=big), "float16", 64), FLAT)


def test_tensors_are_written_as_they_are_seen_and_not_as_they_lie(tmp_path):
    tensor = numpy.arange(6, dtype=numpy.float32).reshape(2, 3).T
    write_tensors(tmp_path / "t", {"a": tensor}, "s")
    assert numpy.array_equal(read_tensors(tmp_path / "t")["a"], tensor)


def test_texts_are_packed_by_bytes():
    content, offsets = pack_texts(["a", "ø", "", "日本"])
    assert offsets.tolist() == [0, 1, 3, 3, 9] and offsets.dtype == numpy.uint64
    assert unpack_texts(content, offsets) == ["a", "ø", "", "日本"]
    assert pack_texts([])[1].tolist() == [0]


@pytest.mark.parametrize("ids", [[1, 1], [-1, 2], [1.5, 2], [1, "a"], [2**64, 1], [True, False], ["a", "b"]])
@pytest.mark.parametrize("container", [list, numpy.array])
def test_u64_ids_are_unique_unsigned_integers(ids, container):
    with pytest.raises(InvalidInput, match="ids"):
        Items(container(ids)).tensors(small_model())


@pytest.mark.parametrize("ids", [[1, 2**64 - 1], numpy.array([1, 2**64 - 1], dtype=numpy.uint64),
                                 polars.Series([1, 2**64 - 1], dtype=polars.UInt64), (1, 2**64 - 1)])
def test_u64_ids_come_in_any_container(ids):
    assert Items(ids).tensors(small_model())["ids"].tolist() == [1, 2**64 - 1]


@pytest.mark.parametrize("ids", [["a", "ø"], numpy.array(["a", "ø"]), polars.Series(["a", "ø"])])
def test_string_ids_come_in_any_container(ids):
    assert Users(ids).tensors(small_model())["ids.offsets"].tolist() == [0, 1, 3]


@pytest.mark.parametrize("ids", [["a", "a"], ["", "b"], ["ø" * 129, "b"]])
def test_string_ids_are_unique_and_have_1_to_256_bytes(ids):
    with pytest.raises(InvalidInput, match="id"):
        Users(ids).tensors(small_model())


def test_attributes_fit_their_items():
    with pytest.raises(InvalidInput, match="no word"):
        Attribute("a", "code", numpy.array([0, 2]), words=("x", "y"))
    with pytest.raises(InvalidInput, match="words"):
        Attribute("a", "code", numpy.array([0]))
    with pytest.raises(InvalidInput, match="offsets"):
        Attribute("a", "i64", numpy.array([0, 1]), numpy.array([0, 1]))
    with pytest.raises(InvalidInput, match="name"):
        Attribute("a.offsets", "i64", numpy.array([0]))
    with pytest.raises(InvalidInput, match="rows"):
        Items(numpy.array([1, 2]), (Attribute("a", "i64", numpy.array([0])),))


def test_vectors_that_the_towers_do_not_read_are_left_out(tmp_path):
    contents = random_contents("--no-cascade")
    write_snapshot(tmp_path / "s", contents, FLAT)
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text())
    assert manifest["users"]["vectors"] == ["cross"] and manifest["cascade_space_id"] is None
    assert set(read_tensors(tmp_path / "s" / "item_state.safetensors")) == {"c_v"}
    write_snapshot(tmp_path / "plain", random_contents("--no-cascade", "--no-cross"), FLAT)
    manifest = json.loads((tmp_path / "plain" / "manifest.json").read_text())
    assert manifest["users"] is None
    assert not {"users.safetensors", "item_state.safetensors"} & set(manifest["files"])
