// For tests (bazel/cc.bzl).
#include "bazel/common_headers.h"
#include "tests/catch.h"
