#!/usr/bin/env python3
# audit_check.py - the three reports of one audit tell the same, and are what they say they are.
# SPDX-License-Identifier: MIT
import html.parser
import json
import re
import sys
import xml.etree.ElementTree


class Page(html.parser.HTMLParser):
    """Counts open elements and remembers what the page would load."""

    VOID = {"meta", "br"}

    def __init__(self):
        super().__init__()
        self.open, self.loads = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href") and not value.startswith("#")]

    def handle_endtag(self, tag):
        # A table row may leave its cells open, nothing else here does.
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()


def main():
    json_path, junit_path, html_path = sys.argv[1:]
    with open(json_path, encoding="utf-8") as file:
        report = json.load(file)
    run, = report["runs"]
    print(sorted(report))
    print(sorted(run))
    print(sorted(run["findings"][0]))
    suites = xml.etree.ElementTree.parse(junit_path).getroot()
    suite, = suites
    assert suites.tag == "testsuites" and int(suite.get("tests")) == len(suite.findall("testcase"))
    assert int(suite.get("failures")) == len(suite.findall("testcase/failure")) == run["failures"]
    with open(html_path, encoding="utf-8") as file:
        text = file.read()
    page = Page()
    page.feed(text)
    assert not page.open and not page.loads, (page.open, page.loads)
    assert not re.search(r"https?://|@import|url\(", text)
    for finding in run["findings"]:
        assert finding["call"].replace("&", "&amp;") in text
        for control in finding["controls"]:
            assert control["name"] in text
    print("reports agree")


if __name__ == "__main__":
    main()
