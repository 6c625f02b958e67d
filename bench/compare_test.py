#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What can go wrong between the results and the table without anything crashing."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.getcwd(), "bench"))
import compare  # noqa: E402  (found by the line above)


def result(p50):
    return {"p50_us": p50}


class CasesTest(unittest.TestCase):
    def test_every_row_of_the_targets_has_its_case(self):
        # A renamed case would lose its target without a word.
        names = {case.name for case in compare.read_cases("bench/cases.txt")}
        self.assertEqual(set(compare.ASKED) - names, set())

    def test_every_operation_that_is_done_once_is_there(self):
        operations = {case.operation for case in compare.read_cases("bench/cases.txt")}
        self.assertEqual(compare.ONCE - operations, set())

    def test_sets_leave_the_base_state_in_the_forest(self):
        # A million registers are loaded in 100 Sets. Then come two transports, three rounds, and in
        # each round one unrecorded sample for each ten that are recorded.
        written = 100
        for case in compare.read_cases("bench/cases.txt"):
            if case.operation == "set":
                recorded = -(-case.samples // 3)
                written += 2 * 3 * (recorded + recorded // 10 + 1)
        self.assertLess(written, 500)


class FigureTest(unittest.TestCase):
    def test_is_the_median_of_the_rounds(self):
        self.assertEqual(compare.figure([result(30), result(10), result(20)])[0], 20)

    def test_has_the_unit_of_its_size(self):
        for p50, text in ((12.34, "12.3 us"), (1234, "1.23 ms"), (2.5e6, "2.5 s")):
            self.assertEqual(compare.figure([result(p50)])[1], text)

    def test_of_nothing_is_nothing(self):
        self.assertIsNone(compare.figure(None))


class TableTest(unittest.TestCase):
    def test_ratio_is_theirs_over_ours(self):
        case = compare.Case("get-100", "get", 100, 1)
        rows = compare.table([case], {("get-100", "flow-go"): [result(500)],
                                      ("get-100", "shm"): [result(50)],
                                      ("get-100", "direct"): [result(25)],
                                      ("get-100", "inline"): [result(250)]}).splitlines()
        self.assertIn("| 500 us | 50 us | 25 us | 250 us | 10x | 20x | 2x |", rows[-1])

    def test_rounds_show_their_spread_and_their_tails(self):
        case = compare.Case("set-100", "set", 100, 1)
        rounds = [{"p50_us": 90, "p99_us": 200}, {"p50_us": 110, "p99_us": 300}]
        rows = compare.table([case], {("set-100", "shm"): rounds},
                             {"1,024 of them side by side": 102.4}, 2).splitlines()
        self.assertIn("| 100 us (±10%) |", rows[-1])
        self.assertIn("| - | 250 us |", rows[-1])
        self.assertIn("here 1.24 ms: 247 x 100 ns / 2", rows[-1])

    def test_what_was_not_measured_is_a_dash(self):
        case = compare.Case("get-100", "get", 100, 1)
        rows = compare.table([case], {("get-100", "shm"): [result(50)]}).splitlines()
        self.assertIn("| - | 50 us | - | - | - | - | - |", rows[-1])


class GoVersionTest(unittest.TestCase):
    def test_compares_as_numbers(self):
        self.assertGreaterEqual(compare.go_version("go1.26.8\n"), compare.GO_NEEDED)
        self.assertGreaterEqual(compare.go_version("go1.100"), compare.GO_NEEDED)
        self.assertLess(compare.go_version("go1.9.2"), compare.GO_NEEDED)
        self.assertIsNone(compare.go_version("devel +1234"))


if __name__ == "__main__":
    unittest.main()
