#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Reads a page of metrics, on standard input, with the parser of Prometheus's own client, and prints
each sample as a JSON object on a line: type, name, labels, value."""

import json
import re
import sys

from prometheus_client.parser import text_string_to_metric_families

page = sys.stdin.read()
names = set(re.findall(r"^[a-zA-Z_:][a-zA-Z0-9_:]*", page, re.MULTILINE))


def name_there(name):
    """The parser adds an ending to counters without it, as a later format has them."""
    return name if name in names else name.removesuffix("_total")


for family in text_string_to_metric_families(page):
    for sample in family.samples:
        print(json.dumps({"type": family.type, "name": name_there(sample.name),
                          "labels": sample.labels, "value": sample.value}))
