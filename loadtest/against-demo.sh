#!/usr/bin/env bash
# Runs the smoke and the slo scenario against the daemon of `make run`, which is started here unless it already runs. With
# two cores or more the load comes from the last one and the daemon has the others.
set -euo pipefail
cd "$(dirname "$0")/.."
belfry=.build/release/belfry
reports=.build/loadtest
mkdir -p "$reports"

last=$(($(nproc) - 1))
on_server=() on_generator=()
if [ "$last" -gt 0 ] && command -v taskset >/dev/null; then
  on_server=(taskset -c "0-$((last - 1))")
  on_generator=(taskset -c "$last")
fi

is_ready() { curl -fsS -o /dev/null http://127.0.0.1:8080/readyz 2>/dev/null; }

if is_ready; then
  echo "using the daemon that serves on 127.0.0.1:8080"
else
  "${on_server[@]}" "$belfry" serve --snapshots models/demo 2>"$reports/serve.log" &
  daemon=$!
  trap 'kill "$daemon" 2>/dev/null; wait "$daemon" 2>/dev/null || true' EXIT
  for _ in $(seq 100); do
    is_ready && break
    kill -0 "$daemon" 2>/dev/null || { cat "$reports/serve.log" >&2; exit 1; }
    sleep 0.1
  done
fi

# A run that is invalid (3) says nothing about the daemon, and is tried up to three times. One that fails (99) has said it.
for scenario in smoke slo; do
  for attempt in 1 2 3; do
    status=0
    "${on_generator[@]}" "$belfry" loadtest --scenario "loadtest/scenarios/$scenario.yaml" \
      --json "$reports/$scenario.json" --html "$reports/$scenario.html" || status=$?
    [ "$status" = 3 ] || break
    [ "$attempt" = 3 ] || echo "$scenario: invalid, tried again" >&2
  done
  [ "$status" = 0 ] || exit "$status"
done
echo "reports: $reports/smoke.html $reports/slo.html"
