#!/bin/bash
# Holds the files of this folder to what they promise: systemd/check.sh BINARY
#
# The unit is looked at in a root directory of our own, so that nothing is installed on this machine and systemd need not
# run. Each check is also shown something that it has to refuse.
set -euo pipefail
[ $# = 1 ] || { echo "usage: $0 BINARY" >&2; exit 64; }
here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "$1")
root=$(mktemp -d)
daemon=
finish() {
  [ -z "$daemon" ] || kill -KILL "$daemon" 2>/dev/null || true
  rm -rf "$root"
}
trap finish EXIT
fail() { echo "systemd/check.sh: $*" >&2; exit 1; }
ok() { echo "ok $*"; }

# The exposure, times ten, that `systemd-analyze security` may find.
exposure_max=15
unit=$here/belfry.service

# MARK: exposure

secure() { systemd-analyze security --offline=true --no-pager --threshold=$exposure_max "$1"; }
secure "$unit" >"$root/security" || { cat "$root/security"; fail "the unit is too exposed"; }
mkdir "$root/weak"
sed '/^SystemCallFilter=/d; /^ProtectSystem=/d; /^CapabilityBoundingSet=/d' "$unit" >"$root/weak/belfry.service"
secure "$root/weak/belfry.service" >"$root/weak/security" && fail "a unit without a filter of system calls passes for secure"
ok "security: $(sed -n 's/.*Overall exposure level for belfry.service: \([0-9.]*\).*/\1/p' "$root/security"), at most 1.5 is allowed"
ok "security: without three of its settings it scores $(sed -n 's/.*Overall exposure level for belfry.service: \([0-9.]*\).*/\1/p' "$root/weak/security"), and is refused"

# MARK: the unit as installed

# What it refers to and nothing else: the shell, and the targets it is ordered by.
stage() {
  mkdir -p "$root/stage"/{etc/systemd/system,usr/local/bin,bin,lib/systemd/system}
  cp "$unit" "$root/stage/etc/systemd/system/"
  cp /lib/systemd/system/{sysinit,basic,shutdown,network,multi-user}.target "$root/stage/lib/systemd/system/"
  cp -L /bin/sh "$root/stage/bin/sh"
  install -m 755 "$binary" "$root/stage/usr/local/bin/belfry"
}
# A misspelt setting is a warning and no failure: there must be no words either.
verify() { systemd-analyze verify --root="$root/stage" belfry.service >"$root/verify" 2>&1 && [ ! -s "$root/verify" ]; }
stage
verify || { cat "$root/verify"; fail "the unit is not clean"; }
ok "verify: clean, with the binary at $(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$unit")"
rm "$root/stage/usr/local/bin/belfry"
verify && fail "a missing binary goes unnoticed"
grep -q 'belfry is not executable' "$root/verify" || { cat "$root/verify"; fail "a missing binary is refused for another reason"; }
ok "verify: refused without the binary"
stage
sed -i 's/^ProtectHome=.*/ProtectHme=yes/' "$root/stage/etc/systemd/system/belfry.service"
verify && fail "a misspelt setting goes unnoticed"
ok "verify: refused with a misspelt setting"

# MARK: users and directories

install -D -m 644 "$here/belfry.sysusers" "$root/stage/usr/lib/sysusers.d/belfry.conf"
install -D -m 644 "$here/belfry.tmpfiles" "$root/stage/usr/lib/tmpfiles.d/belfry.conf"
systemd-sysusers --root="$root/stage" belfry.conf >"$root/sysusers" 2>&1 || { cat "$root/sysusers"; fail "sysusers refuses its file"; }
entry() { grep "^$2:" "$root/stage/etc/$1" || fail "etc/$1 has no $2"; }
[ "$(entry passwd belfry | cut -d: -f7)" = /usr/sbin/nologin ] || fail "the daemon's user can log in"
entry group belfry | cut -d: -f4 | grep -qx belfry-publish || fail "the publisher is not in the daemon's group"
ok "sysusers: belfry and belfry-publish, which is in the group belfry"
# Ownership is root's to give.
if [ "$(id -u)" = 0 ]; then
  systemd-tmpfiles --root="$root/stage" --create belfry.conf >"$root/tmpfiles" 2>&1 || { cat "$root/tmpfiles"; fail "tmpfiles refuses its file"; }
  snapshots=$(sed -n 's/^BELFRY_SNAPSHOTS=//p' "$here/belfry.env")
  publisher=$(entry passwd belfry-publish | cut -d: -f3)
  [ "$(stat -c '%u %a' "$root/stage$snapshots")" = "$publisher 755" ] || fail "$snapshots is not the publisher's"
  [ "$(stat -c '%u %a' "$root/stage$(dirname "$snapshots")")" = "0 755" ] || fail "the directory above $snapshots is not root's"
  ok "tmpfiles: $snapshots belongs to belfry-publish, and others may read it"
else
  echo "skipped tmpfiles: only root can give a directory away"
fi

# MARK: settings

directory() { sed -n "s/^$1=//p" "$unit"; }
setting() { sed -n "s/^$1=//p" "$here/belfry.env"; }
[ "$(setting BELFRY_STATE)" = "/var/lib/$(directory StateDirectory)" ] || fail "the state directory is not where the settings say"
[[ $(setting BELFRY_ADMIN) = unix:/run/$(directory RuntimeDirectory)/* ]] || fail "the admin socket is not in the runtime directory"
mapfile -t variables < <(grep -v '^#' "$here/belfry.env" | grep .)
# A daemon without an admin plane does not swap snapshots either.
has_admin=$("$binary" serve --help | grep -m 1 -- --admin || true)
if [ -n "$has_admin" ]; then
  env -i SWIFT_BACKTRACE=enable=no "${variables[@]}" "$binary" serve --print-config >"$root/config" || fail "belfry serve refuses belfry.env"
  for variable in "${variables[@]}"; do
    grep -qF ": ${variable#*=}  # environment" "$root/config" || { cat "$root/config"; fail "$variable is not in force"; }
  done
  ok "belfry.env: known to belfry serve, and in force"
else
  echo "skipped belfry.env: this belfry serve has no --admin"
fi

# MARK: system calls

# A call that the unit forbids ends the process here.
sandbox=(env SWIFT_BACKTRACE=enable=no OPENBLAS_NUM_THREADS=1 "$here/sandbox.py" "$unit")
forbidden() { # what, python
  local status=0
  { "${sandbox[@]}" /usr/bin/python3 -c "$2"; } >/dev/null 2>&1 || status=$?
  [ $status = 159 ] || fail "the sandbox allows $1 (status $status)"
}
forbidden "memory that is written and executed" 'import mmap; mmap.mmap(-1, 4096, prot=7)'
forbidden "real-time priority" 'import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))'
forbidden "other namespaces" 'import ctypes; ctypes.CDLL(None).unshare(0x20000)'
forbidden "netlink sockets" 'import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)'
forbidden "giving files away" 'import os; os.chown("/nowhere", 0, 0)'
ok "system calls: five that are forbidden end a process"

"${sandbox[@]}" /usr/bin/python3 - <<'PYTHON' || fail "the sandbox forbids what the daemon lives by"
import ctypes, mmap, os, platform, subprocess
library = ctypes.CDLL(None, use_errno=True)
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
os.setpriority(os.PRIO_PROCESS, 0, 19)
ioprio_set = {"x86_64": 251, "aarch64": 30}[platform.machine()]
assert library.syscall(ioprio_set, 1, 0, 3 << 13) == 0, "ioprio_set"
os.sched_setaffinity(0, os.sched_getaffinity(0))
watch = library.inotify_init1(0)
assert watch >= 0 and library.inotify_add_watch(watch, b"/tmp", 0x80) >= 0, "inotify"
assert b"ran" in subprocess.run(["/bin/echo", "ran"], check=True, capture_output=True).stdout
assert os.posix_spawn("/bin/true", ["true"], {}) > 0
assert "MemAvailable" in open("/proc/meminfo").read()
with open("/proc/self/exe", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
    mapped.madvise(mmap.MADV_WILLNEED)
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
PYTHON
ok "system calls: idle scheduling, priorities, affinity, inotify, children, maps and advice are allowed"

"${sandbox[@]}" "$binary" check "$here/../models/demo" >"$root/check" || fail "belfry check does not run in the sandbox"
ok "belfry check runs in the sandbox"
# Served as it will be: a directory, and a second snapshot published while the first one serves.
mkdir "$root/snapshots"
"$binary" publish "$here/../models/demo" --to "$root/snapshots" --id one --activate >"$root/publish"
options=(--snapshots "$root/snapshots" --listen 127.0.0.1:0 --workers 2)
[ -z "$has_admin" ] || options+=(--admin "unix:$root/admin.sock" --state "$root/state")
[ -z "$has_admin" ] || mkdir "$root/state"
"${sandbox[@]}" "$binary" serve "${options[@]}" 2>"$root/serve" &
daemon=$!
port=
for _ in $(seq 600); do
  port=$(sed -n 's/.*address=127\.0\.0\.1:\([0-9]*\).*/\1/p' "$root/serve" | head -n 1)
  [ -z "$port" ] || break
  kill -0 $daemon 2>/dev/null || break
  sleep 0.1
done
[ -n "$port" ] || { cat "$root/serve"; fail "belfry serve does not start in the sandbox"; }
ask() {
  local body='{"user": {"id": "u42"}, "k": 3}'
  exec 3<>"/dev/tcp/127.0.0.1/$port"
  printf 'POST /v1/retrieve HTTP/1.1\r\nHost: b\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s' ${#body} "$body" >&3
  reply=$(cat <&3)
  exec 3>&-
  [[ $reply = "HTTP/1.1 200 "* ]] || { cat "$root/serve"; fail "belfry serve does not answer in the sandbox: $reply"; }
}
ask
[[ $reply = *'"id":"one"'* ]] || fail "another snapshot answers than the one that is published: $reply"
if [ -n "$has_admin" ]; then
  "$binary" publish "$here/../models/demo" --to "$root/snapshots" --id two --activate >"$root/publish"
  for _ in $(seq 300); do
    ask
    [[ $reply != *'"id":"two"'* ]] || break
    sleep 0.1
  done
  [[ $reply = *'"id":"two"'* ]] || { cat "$root/serve"; fail "a published snapshot is not served in the sandbox"; }
  ok "belfry serve takes up a published snapshot in the sandbox"
fi
kill -TERM $daemon
status=0; wait $daemon || status=$?
daemon=
[ $status = 0 ] || { cat "$root/serve"; fail "belfry serve ends with $status in the sandbox"; }
ok "belfry serve starts, answers and ends in the sandbox"
