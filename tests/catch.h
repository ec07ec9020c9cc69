// Catch2, whichever version the distribution has: 2 (Debian 12) or 3 (newer Ubuntu).
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif
