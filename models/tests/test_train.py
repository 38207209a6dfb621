"""The commands, end to end on small data: train leaves a run that export turns into a snapshot."""

import json

import numpy as np
import pytest
import torch
from small_logs import small_log

from belfry_models import ablation, demo, train
from belfry_models.__main__ import main
from belfry_models.data.synthetic import Generator
from belfry_models.run import read_run, write_run
from belfry_models.settings import MODELS, Settings
from belfry_models.snapshot import read_snapshot
from belfry_models.stream import Stream
from belfry_models.trained import assemble_run, name_space, request_of

SETTINGS = Settings(hidden=(16,), dimension=8, cascade_dimension=4)


@pytest.fixture(autouse=True)
def small_synthetic(monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr(train, "read_log", lambda name, directory, seed: small_log())
    monkeypatch.setattr(ablation, "read_log", lambda name, directory, seed: small_log(3000, seed))


@pytest.mark.parametrize("objective", ["logistic", "retrieval"])
def test_train_and_export(tmp_path, capsys, objective):
    run, snapshot = tmp_path / "run", tmp_path / "snapshot"
    assert main(["train", "--data", "synthetic", "--model", "cs3+history", "--objective", objective,
                 "--out", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "AUC of the true click probability" in printed
    assert "test, weights frozen, caches streaming" in printed and "test, weights streaming, caches streaming" in printed
    assert main(["export", str(run), "--out", str(snapshot), "--factory", "Flat"]) == 0
    exported = read_snapshot(snapshot)
    assert exported.model.cascade_dimension == 16 and exported.users.cross.shape[1] == exported.model.dimension
    assert exported.training["seed"] == 1 and set(exported.training["metrics"]) == {"FS", "SS"}


@pytest.mark.parametrize("model", MODELS)
def test_a_snapshot_answers_as_the_stream_scores(model, tmp_path):
    """The vectors of a request made from the caches equal those that the stream itself would score with."""
    log = small_log()
    stream = Stream(log, model, SETTINGS, seed=2, space_id=name_space("synthetic", model, SETTINGS, 2))
    stream.learn(range(0, 1600))
    event = len(log) - 1
    user = int(log.user[event])
    with torch.no_grad():
        expected = stream.score(stream.read(event, event + 1))[0][0].numpy()
    run = assemble_run(stream, {"seed": 2})
    write_run(tmp_path / "run", run)
    read = read_run(tmp_path / "run")
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "snapshot"), "--factory", "Flat"]) == 0
    snapshot = read_snapshot(tmp_path / "snapshot")
    embedding = snapshot.oracle().embed(request_of(stream, user, event))
    assert np.allclose(embedding, expected, atol=1e-5)
    assert np.allclose(snapshot.vectors, stream.item_vectors().numpy(), atol=1e-5)
    assert read.model.score.bias == pytest.approx(float(stream.weights.score["bias"]))


def test_training_twice_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        assert main(["train", "--data", "synthetic", "--model", "cs3", "--passes", "1", "--out", str(tmp_path / name)]) == 0
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "two").iterdir())
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_spaces_differ_when_weights_may():
    spaces = {name_space("synthetic", "cs3", SETTINGS, seed, data_seed) for seed in (1, 2) for data_seed in (None, 201)}
    assert len(spaces) == 4 and all(len(space) <= 64 for space in spaces)


def test_ablation_prints_its_tables_and_tests(tmp_path, capsys):
    assert main(["ablation", "--data", "synthetic", "--seeds", "2", "--models", "dssm", "cs3", "--out", str(tmp_path)]) == 0
    text = (tmp_path / "ablation-synthetic.md").read_text()
    for expected in ("Recall@100", "tower weights frozen, caches streaming", "Welch", "data seeds 201, 202", "| popularity |",
                     "| truth |", "| FS | AUC | cs3 |", "| mean ± deviation |"):
        assert expected in text
    assert text.strip() in capsys.readouterr().out
    document = json.loads((tmp_path / "ablation-synthetic.json").read_text())
    trained = [row for row in document["rows"] if row["model"] in MODELS]
    assert len(trained) == 2 * 2 * 2 * 3  # seeds, models, objectives, switches
    assert document["versions"]["torch"]


def test_leakage_says_that_a_canary_shows(tmp_path):
    from belfry_models.leakage import is_as_it_must_be
    assert is_as_it_must_be(0.51, 0.005, leak=False) and not is_as_it_must_be(0.52, 0.005, leak=False)
    assert is_as_it_must_be(0.56, 0.005, leak=True) and not is_as_it_must_be(0.54, 0.005, leak=True)


def test_demo_is_one_small_snapshot_with_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "")
    monkeypatch.setattr(demo, "GENERATOR", Generator(users=60, items=200, events=4000, days=3.0, seed=1))
    for name in ("a", "b"):
        assert main(["demo", "--out", str(tmp_path / name / "demo")]) == 0
    files = sorted(path.name for path in (tmp_path / "a" / "demo").iterdir())
    assert "_SUCCESS" in files and [path.name for path in (tmp_path / "a").iterdir()] == ["demo"]
    for name in files:
        assert (tmp_path / "a" / "demo" / name).read_bytes() == (tmp_path / "b" / "demo" / name).read_bytes(), name
    manifest = json.loads((tmp_path / "a" / "demo" / "manifest.json").read_text())
    assert manifest["id"] == "demo" and manifest["dimension"] == 32


def test_examples_are_for_movielens(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "")
    monkeypatch.setattr(demo, "GENERATOR", Generator(users=60, items=200, events=4000, days=3.0, seed=1))
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 0
    assert main(["examples", str(tmp_path / "demo")]) == 1
    assert "was not trained on movielens-100k" in capsys.readouterr().err
