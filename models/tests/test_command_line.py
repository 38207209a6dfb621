import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
from small_models import file_digests, small_run

from belfry_models.__main__ import main
from belfry_models.errors import InvalidInput
from belfry_models.run import read_run, write_run
from belfry_models.snapshot import read_snapshot


def test_a_run_comes_back_as_it_was(tmp_path):
    run = small_run()
    write_run(tmp_path / "run", run)
    read = read_run(tmp_path / "run")
    assert read.model == run.model and read.requests == run.requests and read.training == run.training
    assert read.newest_event == run.newest_event and read.user_vocabularies == run.user_vocabularies
    assert numpy.array_equal(read.users.cascade, run.users.cascade) and list(read.users.ids) == list(run.users.ids)
    for name, column in run.encode_items().columns.items():
        for part, values in vars(column).items():
            assert numpy.array_equal(getattr(read.encode_items().columns[name], part), values)
    write_run(tmp_path / "again", read)
    assert file_digests(tmp_path / "run") == file_digests(tmp_path / "again")


def test_writing_a_run_again_leaves_nothing_of_the_old_one(tmp_path):
    run = small_run()
    write_run(tmp_path / "run", run)
    write_run(tmp_path / "run", replace(run, users=None))
    assert read_run(tmp_path / "run").users is None


def test_a_run_with_too_few_rows_is_refused():
    run = small_run()
    with pytest.raises(InvalidInput, match="different lengths|rows of item features"):
        replace(run, item_columns={"price": [1.0]}).encode_items()
    with pytest.raises(InvalidInput, match="price"):
        replace(run, item_columns={}).encode_items()


def test_export_makes_a_snapshot_of_a_run(tmp_path, capsys):
    run = small_run()
    write_run(tmp_path / "run", run)
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "snapshot"), "--factory", "HNSW8",
                 "--users-dtype", "float16"]) == 0
    assert "150 items" in capsys.readouterr().out
    snapshot = read_snapshot(tmp_path / "snapshot")
    assert snapshot.manifest["training"]["seed"] == 5 and snapshot.model == run.model
    # One item by the item tower's own equation: a single identity layer over embedding, price and c_v.
    tensors, encoded = run.item_tensors, run.encode_items()
    row = encoded.columns["item_id"].rows[17]
    x = numpy.concatenate([tensors["inputs.item_id.weight"][row], [run.item_columns["price"][17]], run.items.cross[17]])
    expected = tensors["layers.0.weight"] @ x + tensors["layers.0.bias"]
    assert numpy.allclose(snapshot.vectors[17], expected, atol=1e-5)


@pytest.mark.parametrize("arguments, fault", [
    (["export", "NOWHERE", "--out", "x"], "not a run"),
    (["expect", "--snapshot", "NOWHERE", "--requests", "r", "--out", "x"], "r"),
    (["random", "--items", "0", "--dimension", "4", "--seed", "1", "--out", "x"], "at least 1"),
    (["random", "--items", "9", "--dimension", "4", "--seed", "1", "--layers", "a,b", "--out", "x"], "--layers"),
    (["random", "--items", "9", "--dimension", "4", "--seed", "1", "--factory", "PQ8", "--out", "x"], "PQ8"),
    (["random", "--items", "9", "--dimension", "4", "--seed", "1", "--out", "a b"], "snapshot id"),
])
def test_a_failure_is_one_line_and_status_1(tmp_path, monkeypatch, capsys, arguments, fault):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"belfry_models {arguments[0]}: ") and fault in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [[], ["random"], ["dance"], ["random", "--items", "many"], ["export", "RUN"]])
def test_wrong_usage_is_status_64(arguments, capsys):
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    assert exit.value.code == 64
    assert "usage" in capsys.readouterr().err


def test_the_module_runs_as_a_program(tmp_path):
    result = subprocess.run([sys.executable, "-m", "belfry_models", "export", str(tmp_path), "--out", str(tmp_path / "x")],
                            cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert result.returncode == 1 and "run.json" in result.stderr and result.stderr.count("\n") == 1


def test_metrics_that_are_not_numbers_are_refused_by_name(tmp_path):
    with pytest.raises(InvalidInput, match="run.json"):
        write_run(tmp_path / "run", replace(small_run(), training={"auc": float("nan")}))


def test_broken_json_in_a_run_is_named(tmp_path):
    write_run(tmp_path / "run", small_run())
    document = json.loads((tmp_path / "run" / "run.json").read_text())
    for content, fault in (("{", "not JSON"), (json.dumps({**document, "colour": 1}), "colour"),
                           (json.dumps({**document, "format": "belfry-run/0"}), "belfry-run/0")):
        (tmp_path / "run" / "run.json").write_text(content)
        with pytest.raises(InvalidInput, match=fault):
            read_run(tmp_path / "run")
