#!/usr/bin/env python3
"""Runs a command under the system call rules of a unit file, for machines on which systemd does not run.

    systemd/sandbox.py systemd/belfry.service .build/debug/belfry check models/demo

It applies SystemCallFilter, MemoryDenyWriteExecute, RestrictAddressFamilies, RestrictRealtime and RestrictNamespaces as
systemd does, through the same library, with one difference: a call that the unit forbids ends the process with SIGSYS
instead of an error that it might not notice.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
from typing import Dict, Iterator, List, Sequence, Set, Tuple

ALLOW = 0x7FFF0000
KILL = 0x80000000
NOT_EQUAL, EQUAL, GREATER, MASKED_EQUAL = 1, 4, 6, 7
PROT_WRITE, PROT_EXEC = 2, 4
# CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
NAMESPACES = [0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]
SCHEDULERS = {os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_IDLE}


class Comparison(ctypes.Structure):
    _fields_ = [("argument", ctypes.c_uint), ("operator", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


class Filter:
    """A filter of libseccomp. The kernel asks every filter that is loaded, and the strictest answer counts."""

    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(Comparison)]
    library.seccomp_load.argtypes = [ctypes.c_void_p]

    def __init__(self, default: int) -> None:
        self.context = self.library.seccomp_init(ctypes.c_uint32(default))

    def add(self, action: int, call: str, *comparisons: Tuple[int, int, int, int]) -> None:
        number = self.library.seccomp_syscall_resolve_name(call.encode())
        if number == -1:  # not a call of this machine, or newer than the library
            return
        array = (Comparison * max(1, len(comparisons)))(*comparisons)
        self.check(self.library.seccomp_rule_add_array(self.context, action, number, len(comparisons), array), call)

    def load(self) -> None:
        self.check(self.library.seccomp_load(self.context), "load")

    @staticmethod
    def check(result: int, what: str) -> None:
        if result < 0:
            raise OSError(-result, f"seccomp: {what}: {os.strerror(-result)}")


def settings(unit: str) -> Dict[str, List[str]]:
    """Every setting of the unit, with its values in order."""
    found: Dict[str, List[str]] = {}
    with open(unit, encoding="utf-8") as file:
        for line in file:
            key, separator, value = line.strip().partition("=")
            if separator and not key.startswith("#"):
                found.setdefault(key, []).append(value)
    return found


def expanded(names: Sequence[str]) -> Iterator[str]:
    """System calls by name, groups such as @system-service replaced by their members."""
    for name in names:
        if not name.startswith("@"):
            yield name
            continue
        text = subprocess.run(["systemd-analyze", "syscall-filter", name], check=True, capture_output=True, text=True)
        lines = [line.strip() for line in text.stdout.splitlines()[1:]]
        yield from expanded([line for line in lines if line and not line.startswith("#")])


def allowed_calls(values: Sequence[str]) -> Set[str]:
    allowed = set(expanded(["@default"]))
    for value in values:
        if value.startswith("~"):
            allowed -= set(expanded(value[1:].split()))
        else:
            allowed |= set(expanded(value.split()))
    return allowed


def restrict(unit: Dict[str, List[str]]) -> None:
    arguments = Filter(ALLOW)
    if unit.get("MemoryDenyWriteExecute") == ["yes"]:
        both = PROT_WRITE | PROT_EXEC
        arguments.add(KILL, "mmap", (2, MASKED_EQUAL, both, both))
        arguments.add(KILL, "mprotect", (2, MASKED_EQUAL, PROT_EXEC, PROT_EXEC))
        arguments.add(KILL, "pkey_mprotect", (2, MASKED_EQUAL, PROT_EXEC, PROT_EXEC))
    for value in unit.get("RestrictAddressFamilies", []):
        families = {int(getattr(socket, name)) for name in value.split()}
        arguments.add(KILL, "socket", (0, GREATER, max(families), 0))
        for family in set(range(max(families))) - families:
            arguments.add(KILL, "socket", (0, EQUAL, family, 0))
    if unit.get("RestrictRealtime") == ["yes"]:
        arguments.add(KILL, "sched_setscheduler", (1, GREATER, max(SCHEDULERS), 0))
        for scheduler in set(range(max(SCHEDULERS))) - SCHEDULERS:
            arguments.add(KILL, "sched_setscheduler", (1, EQUAL, scheduler, 0))
    if unit.get("RestrictNamespaces") == ["yes"]:
        for flag in NAMESPACES:
            arguments.add(KILL, "clone", (0, MASKED_EQUAL, flag, flag))
        arguments.add(KILL, "unshare")
        arguments.add(KILL, "setns")
        arguments.add(0x00050000 | 38, "clone3")  # ENOSYS: its flags are out of a filter's sight, and callers fall back
    arguments.load()
    calls = Filter(KILL)
    for call in sorted(allowed_calls(unit["SystemCallFilter"])):
        calls.add(ALLOW, call)
    calls.load()


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit("usage: sandbox.py UNIT COMMAND [ARGUMENT ...]")
    restrict(settings(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
