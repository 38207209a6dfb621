#!/usr/bin/env bash
# Runs a built test program in two processes side by side, on two cores: the tests that depend on the clock, and, on processor time
# that those leave, the tests that do not. What the second filters in the first leaves out, so no test is lost.
#
#   Tests/in-two.sh .build/debug/belfryPackageTests.xctest [--skip PATTERN]
set -uo pipefail

program=$1
shift
timeless='^(ItemIndex|Towers|Snapshots|JSON|DaemonState|Safetensors|Identifiers|Memory|Metrics|RetrievalAPI|Publishing)Tests\.'
timeless+='|^LoadTestingTests\.(Statistics|Quality|Report|Threshold|Requests|Comparison|Schedule|SwapWindows|SwapBelonging|FindMax)'
timeless+='|^EndToEndTests\.(Parity|Contract|HostileRequest|CommandLine|Mutation|Refusal)Tests'

output=$(mktemp)
chrt --idle 0 "$program" --testing-library swift-testing --no-parallel --filter "$timeless" "$@" >"$output" 2>&1 &
other=$!
trap 'kill $other 2>/dev/null; rm -f "$output"' EXIT
"$program" --testing-library swift-testing --no-parallel --skip "$timeless" "$@"
status=$?
echo "waiting for the other tests" >&2
wait $other || status=$?
cat "$output"
exit $status
