#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times checkpoints written and loaded by ledgerd and by flow-go: the same files on the same disk.

    bazel run --config=opt //bench:compare-checkpoints -- --registers 1000000

checkpoint-bench loads the registers in Sets of 10,000 and writes a checkpoint of the last --tries
states. Then each side loads that checkpoint (warm page cache) and writes it again, twice in one
process, alternating; flow-go's side also compares the bytes. The second time the memory was the
process's before: on virtual machines that give unused memory back, the first one pays for getting it
again. Figures are medians over --rounds rounds. Then Sets from one
caller are timed alone and beside checkpoints.
"""

import argparse
import collections
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from compare import Trouble, find_go


def run_lines(command):
    """A program's lines of JSON."""
    told = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    if told.returncode != 0:
        raise Trouble(f"{command[0]} ended with status {told.returncode}; see above")
    return [json.loads(line) for line in told.stdout.splitlines()]


def build_flow_go(output):
    workspace = os.environ.get("BUILD_WORKSPACE_DIRECTORY")
    if workspace is None:
        raise Trouble("the workspace is unknown: use `bazel run //bench:compare-checkpoints`")
    print("building flow-go's side: minutes the first time ...", file=sys.stderr)
    built = subprocess.run([find_go(), "build", "-o", str(output), "./checkpoint"],
                           cwd=pathlib.Path(workspace, "bench", "flow-go"))
    if built.returncode != 0:
        raise Trouble("flow-go's side does not build; see above")


def compare_files(bench, arguments, folder):
    flow_go = folder / "flow-go-checkpoint"
    build_flow_go(flow_go)
    directory = folder / "ledger"
    files = [bench, "files", "--directory", directory, "--registers", arguments.registers,
             "--tries", arguments.tries, "--rounds", 2]
    print("loading the registers ...", file=sys.stderr)
    run_lines(files)
    name = sorted(path.name for path in directory.glob("checkpoint.????????"))[-1]
    results = {}
    for turn in range(arguments.rounds):
        sides = [("ledgerd", files),
                 ("flow-go", [flow_go, "-directory", directory, "-name", name, "-rounds", 2])]
        for side, command in sides if turn % 2 == 0 else reversed(sides):
            print(f"round {turn + 1}: {side} ...", file=sys.stderr)
            seen = collections.Counter()
            for line in run_lines(command):
                case = line["case"]
                if case != "load":
                    seen[case] += 1
                    results.setdefault((case, seen[case], side), []).append(line["seconds"])
    size = sum(path.stat().st_size for path in directory.glob(name + "*"))
    print(f"\nCheckpoint of {arguments.tries} states, {size / 1e6:.0f} MB; seconds, median of "
          f"{arguments.rounds} (least to most). flow-go writes the same bytes.\n")
    print("| | flow-go | ledgerd | ledgerd / flow-go |\n| --- | --- | --- | --- |")
    for case, time in itertools.product(("checkpoint-write", "checkpoint-load"), (1, 2)):
        theirs, ours = (results[case, time, side] for side in ("flow-go", "ledgerd"))
        cells = [f"{statistics.median(each):.2f} ({min(each):.2f}-{max(each):.2f})"
                 for each in (theirs, ours)]
        ratio = statistics.median(ours) / statistics.median(theirs)
        print(f"| {case}, {('first', 'second')[time - 1]} time | {cells[0]} | {cells[1]} | {ratio:.2f} |")


def compare_sets(bench, arguments):
    print("timing Sets ...", file=sys.stderr)
    lines = run_lines([bench, "under-load", "--registers", arguments.registers // 10, "--tries",
                       arguments.tries, "--rounds", arguments.rounds, "--set-size",
                       arguments.set_size, "--seconds", arguments.seconds])
    print(f"\nSets of {arguments.set_size}, one caller, {arguments.registers // 10} registers; "
          f"milliseconds, median of {arguments.rounds} rounds.\n")
    print("| | Sets | p50 | p99 | checkpoints |\n| --- | --- | --- | --- | --- |")
    for case in ("sets-alone", "sets-beside-checkpoints"):
        rounds = [line for line in lines if line["case"] == case]
        sets, p50, p99, checkpoints = (statistics.median(line[field] for line in rounds)
                                       for field in ("sets", "p50_ms", "p99_ms", "checkpoints"))
        print(f"| {case} | {sets:.0f} | {p50:.2f} | {p99:.2f} | {checkpoints:.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--registers", type=int, default=100_000)
    parser.add_argument("--tries", type=int, default=91)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set-size", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--directory", help="on the disk to be measured [default: a temporary one]")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="ledgerd-checkpoints-",
                                         dir=arguments.directory) as folder:
            compare_files(pathlib.Path(arguments.bench).absolute(), arguments, pathlib.Path(folder))
        compare_sets(pathlib.Path(arguments.bench).absolute(), arguments)
    except Trouble as trouble:
        sys.exit(f"compare-checkpoints: {trouble}")


if __name__ == "__main__":
    main()
