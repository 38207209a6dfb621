#!/usr/bin/env bash
# Runs a built test program in two processes side by side, on two cores: the tests that wait for daemons and clocks, and, on
# processor time that those leave, the tests that only compute. What the second filters in the first leaves out, so no test is lost.
#
#   Tests/in-two.sh .build/debug/belfryPackageTests.xctest
set -uo pipefail

program=$1
computing='^(ItemIndex|Towers|Snapshots|JSON|DaemonState|Safetensors|Identifiers|Memory|Metrics|RetrievalAPI|Publishing)Tests\.'
computing+='|^LoadTestingTests\.(Statistics|Quality|Report|Threshold|Requests|Comparison|Schedule)'

output=$(mktemp)
chrt --idle 0 "$program" --testing-library swift-testing --no-parallel --filter "$computing" >"$output" 2>&1 &
computed=$!
trap 'kill $computed 2>/dev/null; rm -f "$output"' EXIT
"$program" --testing-library swift-testing --no-parallel --skip "$computing"
status=$?
echo "waiting for the tests that compute" >&2
wait $computed || status=$?
cat "$output"
exit $status
