"""The system (Debian, Ubuntu) libraries Leeway builds with, under the labels their upstream projects use."""

load(":system.bzl", "system_cc_repository")

def system_repositories():
    system_cc_repository(
        name = "com_google_absl",
        libs = {
            "absl/base:core_headers": "",
            "absl/cleanup:cleanup": "",
            "absl/container:flat_hash_map": "pkg:absl_flat_hash_map",
            "absl/container:flat_hash_set": "pkg:absl_flat_hash_set",
            "absl/container:inlined_vector": "pkg:absl_inlined_vector",
            "absl/flags:flag": "pkg:absl_flags pkg:absl_flags_reflection",
            "absl/flags:parse": "pkg:absl_flags_parse",
            "absl/flags:usage": "pkg:absl_flags_usage",
            "absl/functional:any_invocable": "",
            "absl/random:random": "pkg:absl_random_random pkg:absl_random_distributions",
            "absl/status:status": "pkg:absl_status",
            "absl/status:statusor": "pkg:absl_statusor",
            "absl/strings:str_format": "pkg:absl_str_format",
            "absl/strings:strings": "pkg:absl_strings",
            "absl/synchronization:synchronization": "pkg:absl_synchronization pkg:absl_time",
            "absl/time:time": "pkg:absl_time",
            "absl/types:span": "pkg:absl_span",
        },
    )
    system_cc_repository(
        name = "com_google_protobuf",
        libs = {":protobuf": "pkg:protobuf"},
        programs = {"protoc": "/usr/bin/protoc"},
    )
    system_cc_repository(
        name = "com_github_grpc_grpc",
        libs = {
            ":grpc++": "pkg:grpc++",
            ":grpc++_reflection": "-lgrpc++_reflection pkg:grpc++",
        },
        programs = {"grpc_cpp_plugin": "/usr/bin/grpc_cpp_plugin"},
    )
    system_cc_repository(
        name = "com_github_gabime_spdlog",
        defines = ["SPDLOG_COMPILED_LIB", "SPDLOG_FMT_EXTERNAL", "SPDLOG_SHARED_LIB"],
        libs = {":spdlog": "-lspdlog -lfmt"},
    )

    # Catch2 2 is headers only; Catch2 3 (newer Ubuntu) has a library.
    system_cc_repository(
        name = "com_github_catchorg_catch2",
        libs = {":catch2": "lib?:/usr/include/catch2/catch_all.hpp:-lCatch2"},
    )
    system_cc_repository(name = "com_google_benchmark", libs = {":benchmark": "-lbenchmark"})
    system_cc_repository(name = "com_github_oneapi_onednn", libs = {":onednn": "-ldnnl"})
    system_cc_repository(name = "com_github_nlohmann_json", libs = {":json": ""})

    # Only the data model and the text format: Leeway has an HTTP server of its own.
    system_cc_repository(name = "com_github_jupp0r_prometheus_cpp", libs = {"core:core": "-lprometheus-cpp-core"})
    system_cc_repository(name = "com_googlesource_code_re2", libs = {":re2": "-lre2"})
    system_cc_repository(name = "boost", libs = {":beast": ""})
    system_cc_repository(name = "openssl", libs = {":crypto": "-lcrypto", ":ssl": "-lssl -lcrypto"})
    system_cc_repository(name = "zlib", libs = {":zlib": "-lz"})
