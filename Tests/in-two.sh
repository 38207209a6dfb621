#!/usr/bin/env bash
# Runs a built test program in two processes side by side, on two cores: the tests that depend on the clock, and, on processor time
# that those leave, the tests that do not. What the second filters in the first leaves out, so no test is lost. What failed stands
# once more at the end, where whoever sees only a log's last lines finds it.
#
#   Tests/in-two.sh PROGRAM [--skip PATTERN]
set -uo pipefail

program=$1
shift
timeless='^(ItemIndex|Towers|Snapshots|JSON|DaemonState|Safetensors|Identifiers|Memory|Metrics|RetrievalAPI|Publishing)Tests\.'
timeless+='|^LoadTestingTests\.(Statistics|Quality|Report|Threshold|Requests|Comparison|Schedule|SwapWindows|SwapBelonging|FindMax)'
timeless+='|^EndToEndTests\.(Parity|Contract|HostileRequest|CommandLine|Mutation|Refusal)Tests'

outputs=$(mktemp -d)
chrt --idle 0 "$program" --testing-library swift-testing --no-parallel --filter "$timeless" "$@" >"$outputs/timeless" 2>&1 &
other=$!
trap 'kill $other 2>/dev/null; rm -rf "$outputs"' EXIT
"$program" --testing-library swift-testing --no-parallel --skip "$timeless" "$@" 2>&1 | tee "$outputs/timed"
timed=$?
echo "waiting for the other tests" >&2
wait $other
timeless=$?
cat "$outputs/timeless"
echo "exit status: $timed of the tests that depend on the clock, $timeless of the others"
sed 's/\x1b\[[0-9;]*m//g' "$outputs/timed" "$outputs/timeless" |
  grep -E '^✘|: Fatal error: |ERROR: [A-Z]|SUMMARY: [A-Z]|^    #[0-4] ' | cut -c 1-1000 | head -60
[ "$timed" = 0 ] && [ "$timeless" = 0 ]
