#!/usr/bin/env bash
# Runs a built test program in three processes side by side, on two cores: the tests that depend on the clock, and, on processor time
# that those leave, the tests that do not, those through a whole daemon and the others. What the second and third filter in, the first
# leaves out, so no test is lost; the third leaves out what the second takes. What failed stands once more at the end, where whoever
# sees only a log's last lines finds it.
#
#   Tests/side-by-side.sh PROGRAM [--skip PATTERN]
set -uo pipefail

program=$1
shift
whole='^EndToEndTests\.(Parity|Contract|HostileRequest|CommandLine|Mutation|Refusal)Tests'
parts='^(ItemIndex|Towers|Snapshots|JSON|DaemonState|Safetensors|Identifiers|Memory|Metrics|RetrievalAPI|Publishing)Tests\.'
parts+='|^LoadTestingTests\.(Statistics|Quality|Report|Threshold|Requests|Comparison|Schedule|SwapWindows|SwapBelonging|FindMax)'

outputs=$(mktemp -d)
timeless() { exec chrt --idle 0 "$program" --testing-library swift-testing --no-parallel "$@" 2>&1; }
timeless --filter "$whole" "$@" >"$outputs/whole" &
through_daemon=$!
timeless --filter "$parts" "$@" >"$outputs/parts" &
of_parts=$!
trap 'kill $through_daemon $of_parts 2>/dev/null; rm -rf "$outputs"' EXIT
"$program" --testing-library swift-testing --no-parallel --skip "$whole|$parts" "$@" 2>&1 | tee "$outputs/timed"
timed=$?
echo "waiting for the other tests" >&2
wait $through_daemon
whole_status=$?
wait $of_parts
parts_status=$?
cat "$outputs/whole" "$outputs/parts"
echo "exit status: $timed of the tests that depend on the clock, $whole_status of those through a daemon, $parts_status of the others"
sed 's/\x1b\[[0-9;]*m//g' "$outputs/timed" "$outputs/whole" "$outputs/parts" |
  grep -E '^✘|Test run with|: Fatal error: |ERROR: [A-Z]|SUMMARY: [A-Z]|^    #[0-4] ' | cut -c 1-1000 | head -60
[ "$timed" = 0 ] && [ "$whole_status" = 0 ] && [ "$parts_status" = 0 ]
