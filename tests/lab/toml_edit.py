# SPDX-License-Identifier: Apache-2.0
"""Changes single keys of a TOML file that a program wrote, the way an operator with an
editor would, and leaves the rest as it stands. The result is checked by a real parser.

    toml_edit.py FILE TABLE KEY VALUE    sets a text value
"""
import json
import pathlib
import re
import sys
import tomllib


def _value(value):
    """JSON's strings, numbers, booleans and lists of them are TOML's."""
    return json.dumps(value)


def _write(path, text):
    tomllib.loads(text)
    # In place: mode and owner stay.
    pathlib.Path(path).write_text(text)


def set_key(path, table, key, value):
    """Sets `key` in `[table]`, which is added when it is missing."""
    text = pathlib.Path(path).read_text()
    line = f"{key} = {_value(value)}"
    found = re.search(rf"(?m)^\[{re.escape(table)}\][ \t]*(#.*)?$\n?", text)
    if not found:
        _write(path, f"{text.rstrip()}\n\n[{table}]\n{line}\n")
        return
    following = re.search(r"(?m)^\[", text[found.end():])
    end = found.end() + following.start() if following else len(text)
    body, changed = re.subn(rf"(?m)^{re.escape(key)}[ \t]*=.*$", lambda _: line, text[found.end():end])
    _write(path, text[:found.end()] + ("" if changed else line + "\n") + body + text[end:])


def append_table(path, table, **values):
    """Adds one `[[table]]`."""
    lines = [f"[[{table}]]", *(f"{key} = {_value(value)}" for key, value in values.items())]
    text = pathlib.Path(path).read_text()
    _write(path, text.rstrip() + "\n\n" + "\n".join(lines) + "\n")


def load(path):
    return tomllib.loads(pathlib.Path(path).read_text())


if __name__ == "__main__":
    set_key(*sys.argv[1:5])
