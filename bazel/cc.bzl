"""cc_library, cc_binary and cc_test with common_headers.h precompiled: the headers of C++, Abseil, Protocol Buffers.

Sources still include what they use: it is faster so, nothing else (docs/adr/0023-precompiled-headers.md).
"""

def _with(package, attributes):
    # A precompiled header serves the flags that it was compiled with: a target with its own goes without.
    if attributes.get("srcs") and not attributes.get("copts"):
        attributes["copts"] = ["-include", package + "/precompiled.h"]
        attributes["deps"] = attributes.get("deps", []) + ["//%s:precompiled" % package]
    return attributes

def cc_library(**attributes):
    native.cc_library(**_with("bazel", attributes))

def cc_binary(**attributes):
    native.cc_binary(**_with("bazel", attributes))

def cc_test(**attributes):
    # .bazelrc optimizes files named *_test.cc, and tests/precompiled.cc, less than others.
    tests = all([source.endswith("_test.cc") for source in attributes.get("srcs", []) if source.endswith(".cc")])
    native.cc_test(**_with("tests" if tests else "bazel", attributes))
