import json

import numpy
import pytest
import torch
from small_models import file_digests, random_contents, small_run

from belfry_models.__main__ import main
from belfry_models.errors import InvalidInput
from belfry_models.export import contents_of
from belfry_models.golden import compose_requests
from belfry_models.item_index import IndexPlan
from belfry_models.oracle import canonical_id, shortest_numbers
from belfry_models.snapshot import read_snapshot, write_snapshot


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory):
    place = tmp_path_factory.mktemp("snapshots")
    write_snapshot(place / "numbers", random_contents("--user-ids", "u64", "--metric", "l2"), IndexPlan("Flat"))
    write_snapshot(place / "texts", random_contents("--item-ids", "string", "--users-dtype", "float16", "--cycles", "2"),
                   IndexPlan("HNSW8,Flat"))
    return place


def golden_lines(snapshot):
    return [json.loads(line) for line in (snapshot / "golden.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", ["numbers", "texts"])
def test_golden_requests_have_what_is_rare(snapshots, name):
    snapshot = read_snapshot(snapshots / name)
    oracle, lines = snapshot.oracle(), golden_lines(snapshots / name)
    requests = [line["request"] for line in lines]
    assert len(requests) >= 64 and len({json.dumps(request, sort_keys=True) for request in requests}) == len(requests)
    users = [request["user"] for request in requests]
    known = [oracle.user_row(user) is not None for user in users]
    assert sum(known) >= 32
    assert sum("id" in user and not is_known for user, is_known in zip(users, known)) >= 3  # unknown
    assert sum("id" not in user for user in users) >= 2  # anonymous
    assert sum(not user.get("features") for user in users) >= 3
    assert sum("context" not in request for request in requests) >= 3
    features = [user.get("features", {}) for user in users]
    assert sum(each.get("recent_items") == [] for each in features) >= 3
    assert sum(len(each.get("recent_items") or []) > 20 for each in features) >= 3
    assert sum(None in each.values() for each in features) >= 2
    assert any("unseen" in str(each.get("country")) for each in features)
    known_features = {feature.name for feature in snapshot.model.user_features}
    assert all(set(each) <= known_features for each in features)


@pytest.mark.parametrize("name", ["numbers", "texts"])
def test_golden_answers_are_those_of_a_batch_and_of_sorting(snapshots, name):
    """Another route to the same numbers: one batch in float32, scores in float32, a full sort."""
    snapshot = read_snapshot(snapshots / name)
    lines = golden_lines(snapshots / name)
    embeddings = numpy.array([line["embeddings"][0] for line in lines], dtype=numpy.float32)
    again = snapshot.oracle().embed_all([line["request"] for line in lines])
    assert numpy.array_equal(embeddings, again)
    if snapshot.model.metric == "ip":
        scores = embeddings @ snapshot.vectors.T
    else:
        scores = -((embeddings[:, None, :] - snapshot.vectors[None]) ** 2).sum(axis=2)
    row_of = {str(id): row for row, id in enumerate(snapshot.items.ids)}
    for line, score in zip(lines, scores):
        top = line["top"]
        assert len(top["ids"]) == len(top["scores"]) == line["request"]["k"] == 100
        assert all(isinstance(id, str) for id in top["ids"])
        assert top["scores"] == sorted(top["scores"], reverse=True)
        rows = [row_of[id] for id in top["ids"]]
        assert numpy.allclose(score[rows], top["scores"], rtol=1e-4, atol=1e-4)
        assert numpy.sort(score)[::-1][:100] == pytest.approx(top["scores"], rel=1e-4, abs=1e-4)


def test_known_users_are_served_with_their_vectors(snapshots):
    snapshot = read_snapshot(snapshots / "texts")
    oracle = snapshot.oracle()
    user = {"id": snapshot.users.ids[3], "features": {"age": 30}}
    known, unknown = oracle.embed({"user": user}), oracle.embed({"user": {**user, "id": "somebody else"}})
    encoded = oracle.encoder.encode_request(user)
    cross, cascade = (torch.from_numpy(vectors[3:4].astype(numpy.float32))
                      for vectors in (snapshot.users.cross, snapshot.users.cascade))
    with torch.no_grad():
        assert numpy.array_equal(known, oracle.tower(encoded, cross, cascade)[0].numpy())
    assert not numpy.allclose(known, unknown)


def test_ids_of_u64_users_come_as_numbers_or_texts():
    assert canonical_id("18446744073709551615", "u64") == canonical_id(2**64 - 1, "u64") == 2**64 - 1
    assert canonical_id("007", "u64") is None and canonical_id("x", "u64") is None and canonical_id("٣", "u64") is None
    assert canonical_id("007", "string") == "007"


def test_nine_digits_bring_every_float_back():
    values = numpy.random.default_rng(0).normal(0, 1, 10000).astype(numpy.float32)
    written = json.loads(json.dumps(shortest_numbers(values)))
    assert numpy.array_equal(numpy.array(written).astype(numpy.float32), values)


def test_few_candidates_make_enough_requests():
    run = small_run()
    requests = compose_requests(run.requests, run.model, 64)
    assert len(requests) == 64 and all(request["k"] == 100 for request in requests)
    assert run.requests[0]["user"]["features"]["city"] == "Oslo" and "k" not in run.requests[0]  # candidates stay as they are
    assert len({json.dumps(request, sort_keys=True) for request in requests}) == 64
    with pytest.raises(InvalidInput, match="no requests"):
        compose_requests([], run.model, 64)
    with pytest.raises(InvalidInput, match="too few"):
        compose_requests(run.requests, run.model, 63)


def test_expect_says_what_golden_says(snapshots, tmp_path):
    for name in ("numbers", "texts"):
        golden = snapshots / name / "golden.jsonl"
        assert main(["expect", "--snapshot", str(snapshots / name), "--requests", str(golden), "--out",
                     str(tmp_path / name)]) == 0
        assert (tmp_path / name).read_bytes() == golden.read_bytes()


def test_expect_takes_bodies_and_leaves_out_what_is_excluded(snapshots, tmp_path):
    body = {"request_id": "r", "user": {"id": "u1"}, "k": 10, "explain": True}
    full = read_snapshot(snapshots / "numbers").oracle().answer({**body, "k": 13})
    first = full["top"]["ids"][:3]
    requests = [body, {**body, "exclude": [first[0], int(first[1]), first[2], "no item", 5]}, {"user": {}, "k": 1000}]
    (tmp_path / "in").write_text("".join(json.dumps(request) + "\n" for request in requests) + "\n")
    main(["expect", "--snapshot", str(snapshots / "numbers"), "--requests", str(tmp_path / "in"), "--out", str(tmp_path / "out")])
    plain, excluding, everything = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert plain["top"]["ids"] == full["top"]["ids"][:10] and plain["request"] == body
    assert excluding["top"]["ids"] == full["top"]["ids"][3:13]
    assert len(everything["top"]["ids"]) == 300  # as many as there are
    assert excluding["embeddings"] == plain["embeddings"]


@pytest.mark.parametrize("line, fault", [
    ('{"user": {}', "line 1"), ("[]", "line 1"), ('{"user": {}, "filter": {}}', "filter"), ('{"user": {}, "k": 0}', "k is 0"),
    ('{"k": 3}', "user"), ('{"user": {"features": []}}', "features"), ('{"user": {}, "context": 3}', "context"),
    ('{"user": {"features": {"age": "x"}}}', "age")])
def test_expect_refuses_requests_it_cannot_answer(snapshots, tmp_path, capsys, line, fault):
    (tmp_path / "in").write_text(line + "\n")
    assert main(["expect", "--snapshot", str(snapshots / "texts"), "--requests", str(tmp_path / "in"), "--out",
                 str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert fault in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_warmup_requests_are_bodies(snapshots):
    lines = (snapshots / "texts" / "warmup.jsonl").read_text().splitlines()
    assert len(lines) == 200
    assert all(set(json.loads(line)) == {"user", "context", "k"} for line in lines)


def test_golden_embeddings_come_from_the_precision_that_is_served(tmp_path):
    """float16 users are rounded before the tower sees them, as the daemon does."""
    for dtype in ("float16", "float32"):
        write_snapshot(tmp_path / dtype, contents_of(small_run(), dtype, 64), IndexPlan("Flat"))
    assert file_digests(tmp_path / "float16")["golden.jsonl"] != file_digests(tmp_path / "float32")["golden.jsonl"]
