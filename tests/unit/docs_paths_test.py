#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every path and test case that the documents name exists, so that they cannot rot unseen."""
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = ["README.md", "docs/ARCHITECTURE.md", "docs/EMBEDDING.md", "docs/THREAT_MODEL.md", "docs/TESTING.md", "CONTRIBUTING.md",
             "docs/decisions/0005-sleeping-is-not-gone.md"]
NAMED = re.compile(r"`((?:libspa|libnatt|libtunnel|apps|examples|tests|bench|docs|cmake)/[\w./-]*)`")
# A file and the names of its cases behind it: `FILE` "CASE", "CASE"
CASES = re.compile(r'`(tests/[\w./-]+)`((?:,? "[^"]+")+)')
LINKED = re.compile(r"\]\(([^)#:]+)\)")


def main():
    wrong = []
    for name in DOCUMENTS:
        document = TOP / name
        text = document.read_text(encoding="utf-8")
        wrong += [f"{name}: {path}" for path in NAMED.findall(text) if not (TOP / path).exists()]
        wrong += [f"{name}: {path} \"{case}\"" for path, cases in CASES.findall(text) if (TOP / path).exists()
                  for case in re.findall('"([^"]+)"', cases) if case not in (TOP / path).read_text(encoding="utf-8")]
        wrong += [f"{name}: {path}" for path in LINKED.findall(text) if not (document.parent / path).exists()]
    print("\n".join(wrong) or f"{len(DOCUMENTS)} documents, every path and case exists")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
