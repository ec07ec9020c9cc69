"""tidy.py [ROOT]: the conventions of docs/hacking.md that a program can check. Prints violations; exits 1 if any.

Needs no compiler and no git: it reads the files under ROOT (default: the folder above this one). Each rule is one
function `check_*(path, text)` that yields (line, message); path is relative to ROOT, with forward slashes.
"""

import ast
import os
import re
import sys

MAX_LINES = 400
MAX_COLUMNS = 120
CODE = (".cc", ".h", ".cu", ".cuh")
COUNTED = CODE + (".py", ".sh", ".bzl")
CHECKED = COUNTED + (".proto", ".bazel", ".bazelrc", ".bazelignore", ".md", ".yaml", ".yml")
SKIPPED_FOLDERS = re.compile(r"^(bazel-.*|runs|__pycache__|\.(?!ci$).*)$")

# What each folder may include. Only tests see everything; nothing includes tests.
ALLOWED_INCLUDES = {
    "proto": {"proto"},
    "common": {"proto", "common"},
    "kernels": {"proto", "common", "kernels"},
    "server": {"proto", "common", "kernels", "server"},
    "worker": {"proto", "common", "kernels", "worker"},
    "cli": {"proto", "common", "kernels", "server", "worker", "cli"},
    "tests": {"proto", "common", "kernels", "server", "worker", "cli", "tests"},
}

# (what, pattern, what to use instead, files or folders where it is allowed; MAIN is a file that defines main()).
MAIN = "main()"
# flags: --help; process: the child of a fork; signals: the second signal.
EXITS = (MAIN, "common/end_process.cc", "cli/process.cc", "worker/signals.cc", "tests/")
# plain_grpc: what Leeway's transport is measured against is gRPC without it.
GRPC = (MAIN, "common/grpc_", "cli/bench/plain_grpc.cc", "tests/")
BANNED = [
    ("rand", r"\b(std::)?s?rand\s*\(", "a seeded generator of <random> or common/hash.h", ()),
    ("gettimeofday", r"\bgettimeofday\s*\(", "leeway::Clock (common/clock.h)", ()),
    ("sleep", r"\b(u|nano)?sleep\s*\(|\bsleep_(for|until)\b", "leeway::Clock or CondVar", ("tests/",)),
    ("absl::Mutex", r"\babsl::(Mutex|MutexLock|CondVar|Notification)\b", "common/mutex.h", ()),
    (
        "std::mutex",
        r"\bstd::(recursive_|shared_|timed_)?mutex\b|\bstd::(lock_guard|unique_lock|scoped_lock|condition_variable)",
        "common/mutex.h",
        ("common/mutex.h",),
    ),
    ("detach", r"\.\s*detach\s*\(\s*\)", "a thread that is joined by its owner", ()),
    ("exit", r"(?<![\w.>])(std::)?(_|_E|quick_)?exit\s*\(", "a returned absl::Status", EXITS),
    ("printf", r"\b(printf|puts|putchar)\s*\(", "common/log.h", (MAIN, "cli/", "tests/", "common/flags.cc")),
    ("std::cout", r"\bstd::(cout|cerr|clog)\b", "common/log.h", (MAIN, "cli/", "tests/")),
    ("strtok", r"\bstrtok(_r)?\s*\(", "absl::StrSplit", ()),
    ("sprintf", r"\bv?sprintf\s*\(", "absl::StrFormat or fmt", ()),
    ("<grpc", r"#include <grpc", "common/transport.h or common/grpc_*.h", GRPC),
]

# Written in pieces so that this file passes its own rules.
LEFTOVER = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
MACHINE_PATH = re.compile(r"(?<![\w.}])/(work|root|tmp/wt)" r"/")


def top(path):
    return path.split("/", 1)[0]


def strip(line):
    """A line of C++ without the text of its strings and without its // comment."""
    line = re.sub(r'"(\\.|[^"\\])*"', '""', line)
    return line.split("//", 1)[0]


def check_text(path, text):
    for number, line in enumerate(text.split("\n"), 1):
        if "\t" in line:
            yield number, "a tab"
        if line != line.rstrip():
            yield number, "trailing space"
        if len(line) > MAX_COLUMNS and not path.endswith((".md", ".bazelrc")):
            yield number, f"{len(line)} columns, at most {MAX_COLUMNS}"
        if LEFTOVER.search(line):
            yield number, f"{LEFTOVER.search(line).group()}: do it now, or open an issue"
        if MACHINE_PATH.search(line):
            yield number, "a path of one machine"
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1, "no newline at the end"


def check_length(path, text):
    lines = text.count("\n")
    if path.endswith(COUNTED) and lines > MAX_LINES:
        yield lines, f"{lines} lines, at most {MAX_LINES}: give its second idea a file of its own"


def check_header(path, text):
    if not path.endswith((".h", ".cuh")):
        return
    if not text.startswith("//"):
        yield 1, "a header begins with a // comment: what it is for, thread safety, ownership, invariants"
    if not re.search(r"^#pragma once$", text, re.MULTILINE):
        yield 1, "no #pragma once"
    for number, line in enumerate(text.split("\n"), 1):
        if re.search(r"\busing\s+namespace\b", strip(line)):
            yield number, "using namespace in a header"


def check_includes(path, text):
    if not path.endswith(CODE) or top(path) not in ALLOWED_INCLUDES:
        return
    for number, line in enumerate(text.split("\n"), 1):
        match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not match:
            continue
        included = match.group(1)
        if included.startswith(".") or ("/" not in included and included.endswith(".h")):
            yield number, f'"{included}": include own headers by their path from the workspace root'
        elif top(included) in ALLOWED_INCLUDES and top(included) not in ALLOWED_INCLUDES[top(path)]:
            yield number, f"{top(path)}/ may not include {top(included)}/"


def check_banned(path, text):
    if not path.endswith(CODE) or top(path) not in ALLOWED_INCLUDES:
        return
    is_main = re.search(r"^int main\(", text, re.MULTILINE) is not None
    rules = [
        (name, re.compile(pattern), instead)
        for name, pattern, instead, allowed in BANNED
        if not (is_main and MAIN in allowed) and not any(path.startswith(a) for a in allowed)
    ]
    for number, line in enumerate(text.split("\n"), 1):
        code = strip(line)
        for name, pattern, instead in rules:
            if pattern.search(code):
                yield number, f"{name} is banned here: use {instead}"


def names_in(node, suffixes):
    """The file names with these suffixes in a BUILD expression."""
    strings = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return [s for s in strings if s.endswith(suffixes)]


def check_targets(path, text):
    if top(path) not in ALLOWED_INCLUDES or path.split("/")[-1] != "BUILD.bazel" or top(path) == "tests":
        return
    for call in ast.walk(ast.parse(text)):
        if not (isinstance(call, ast.Call) and getattr(call.func, "id", "") == "cc_library"):
            continue
        values = {k.arg: k.value for k in call.keywords if k.arg}
        name = getattr(values.get("name"), "value", "?")
        hdrs = values.get("hdrs", ast.List(elts=[]))
        srcs = values.get("srcs", ast.List(elts=[]))
        headers = names_in(hdrs, (".h", ".cuh"))
        if len(headers) > 1:
            yield call.lineno, f"cc_library {name}: one header per target, not {len(headers)}"
        for header in headers[:1]:
            stem = header.rsplit(".", 1)[0]
            for source in names_in(srcs, (".cc", ".cu")):
                if not source.startswith(stem):
                    yield call.lineno, f"cc_library {name}: {source} does not belong to {header}"
        for value in (hdrs, srcs):
            if any(getattr(getattr(n, "func", None), "id", "") == "glob" for n in ast.walk(value)):
                yield call.lineno, f"cc_library {name}: files are named, without glob()"


CHECKS = [check_text, check_length, check_header, check_includes, check_banned, check_targets]


def is_script(path):
    with open(path, "rb") as file:
        return file.read(2) == b"#!"


def files(root):
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if not SKIPPED_FOLDERS.match(f))
        for name in sorted(names):
            path = os.path.join(folder, name)
            if name.endswith(CHECKED) or ("." not in name and is_script(path)):
                yield os.path.relpath(path, root).replace(os.sep, "/")


def violations(root):
    for path in files(root):
        with open(os.path.join(root, path), encoding="utf-8") as file:
            text = file.read()
        for check in CHECKS:
            for line, message in check(path, text):
                yield f"{path}:{line}: {message}"


def main(args):
    root = args[0] if args else os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    found = list(violations(root))
    for violation in found:
        print(violation)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
