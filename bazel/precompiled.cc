#include "bazel/common_headers.h"
