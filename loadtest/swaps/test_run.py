"""The arithmetic of run.py: its summary, its models' lists, and the thresholds it takes from a scenario."""

from __future__ import annotations

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import run  # noqa: E402


def summary(**changes):
    latency = {"count": 1000, "p50": 200.5, "p90": 300, "p99": 1234.5, "p99.9": None}
    spread = {"count": 30, "median": 12.34, "max": 4567.8}
    return {
        "scenario": "swap-200", "items": 200_000, "dimension": 64, "k": 100, "commit": "abc", "saturation": 5000.0, "share": 0.5,
        "started_at": "now", "machine": {"cpu": "Z80", "cores": 2, "kernel": "6", "load_average": 0.1}, "scheduled_rate": 2500.0,
        "exit": "passed", "invalid": [], "latency_us": latency,
        "thresholds": [{"expression": "swaps>=30", "observed": 30, "limit": 30, "verdict": "holds"}],
        "windows": {"swap": latency, "quiet": latency, "pairs": 30, "swap_s": 61.4,
                    "ratios": [{"percentile": 99, "ratio": 1.1, "low": 1.0, "high": 1.2}]},
        "swaps": {"done": 30, "steps_ms": {"verify": spread}, "steps_cpu_ms": {"verify": spread}, "publish_ms": spread,
                  "resident_bytes_third": 2**28, "resident_bytes_last": 2**28 + 2**20, "resident_ratio": 1.0039},
        "validation": {"share": 1.0, "belonging": {"recomputed": 1000, "scores": 100_000, "mixed": 0, "worst_difference": 2.5e-7}},
        **changes,
    }


def test_the_summary_says_everything_that_was_found():
    text = run.markdown(summary())
    for part in ("200,000 items", "50% of 5,000", "| `swaps>=30` | 30 | 30 | holds |", "| verify | 12.34 | 4,568 | 12.34 | 4,568 |",
                 "| during swaps | 1,000 | 200 | 300 | 1,234 |  |", "1.100 (95 %: 1.000 to 1.200, over 30 swaps of 61 s together)",
                 "256.0 MiB after the third swap, 257.0 MiB after the last, 1.0039 times", "1,000 replies (100.0%)", "0 mixed", "2.5e-07"):
        assert part in text, part
    assert "hypervisor" not in text


def test_what_was_not_measured_is_left_out():
    text = run.markdown(summary(windows=None, validation=None, swaps={}, invalid=["the generator was late"], exit="invalid"))
    assert "**invalid** (the generator was late)" in text
    assert "during swaps" not in text and "Resident" not in text and "mixed" not in text
    stolen = {"cpu": "Z80", "cores": 2, "kernel": "6", "load_average": 0.1, "stolen": {"all_share": 0.0512, "own_share": 0}}
    assert "5.1% of the cores' time taken by the hypervisor" in run.markdown(summary(machine=stolen))


def test_failed_requests_are_told_in_percent_and_by_kind():
    failed = {"total": 1234, "share": 0.0509, "by_kind": {"timeout": 1234}}
    threshold = {"expression": "errors<=0%", "observed": 0.0509, "limit": 0, "unit": "fraction", "verdict": "fails"}
    text = run.markdown(summary(errors=failed, thresholds=[threshold]))
    assert "| `errors<=0%` | 5.090% | 0.000% | fails |" in text
    assert "1,234 requests failed (5.09%): 1,234 timeout." in text
    assert "requests failed" not in run.markdown(summary())


def test_swaps_and_memory_are_changed_and_nothing_else():
    scenario = run.thresholds("swap-200")
    assert run.changed(scenario, 200, None) == scenario
    few = run.changed(scenario, 5, "memory[last]<1GiB")
    assert "swaps>=5" in few and "memory[last]<1GiB" in few and len(few) == len(scenario)
    assert sum(before != after for before, after in zip(scenario, few)) == 2


def test_each_scenario_has_the_thresholds_that_its_question_needs():
    for scenario in run.SCENARIOS:
        found = run.thresholds(scenario)
        assert {"swaps[failed]<=0", "errors<=0%", "mixed<=0%"} <= set(found), scenario
        assert run.setting(scenario, "format") in ("rows", "columns", "binary")
        assert sum(each.startswith("swaps>=") for each in found) == 1
    assert "memory[last]<1.05*memory[third]" in run.thresholds("swap-200")
    assert "p(99)[swap]<=1.2*p(99)[quiet]" in run.thresholds("swap-p99")


def test_ports_differ_and_cores_may_be_any():
    assert len(set(run.free_ports(5))) == 5
    assert run.pinned(3) == ["taskset", "-c", "3"] and run.pinned(-1) == []
