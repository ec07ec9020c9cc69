"""precompiled_header: headers compiled once for each configuration (docs/adr/0023-precompiled-headers.md)."""

load("@bazel_tools//tools/cpp:toolchain_utils.bzl", "find_cpp_toolchain")

def _precompiled_header_impl(ctx):
    toolchain = find_cpp_toolchain(ctx)
    features = cc_common.configure_features(
        ctx = ctx,
        cc_toolchain = toolchain,
        requested_features = ctx.features,
        unsupported_features = ctx.disabled_features,
    )

    # Compiled as any source is, so with the same flags (--copt, --per_file_copt, the mode's), as it has to be.
    _, outputs = cc_common.compile(
        actions = ctx.actions,
        feature_configuration = features,
        cc_toolchain = toolchain,
        name = ctx.label.name,
        srcs = [ctx.file.src],
        user_compile_flags = ["-x", "c++-header"],
        compilation_contexts = [dep[CcInfo].compilation_context for dep in ctx.attr.deps],
    )

    # The objects that programs are linked from: position-independent ones unless optimized, as Bazel has it.
    optimized = ctx.var["COMPILATION_MODE"] == "opt"
    compiled = outputs.objects if optimized else outputs.pic_objects
    header = ctx.actions.declare_file(ctx.label.name + ".h")
    ctx.actions.symlink(output = header, target_file = ctx.file.src)
    precompiled = ctx.actions.declare_file(ctx.label.name + ".h.gch")
    ctx.actions.symlink(output = precompiled, target_file = compiled[0])

    # A compiler to which the flags differ all the same reads the header, and what that includes.
    own = CcInfo(compilation_context = cc_common.create_compilation_context(headers = depset([header, precompiled])))
    return [cc_common.merge_cc_infos(cc_infos = [own] + [dep[CcInfo] for dep in ctx.attr.deps])]

precompiled_header = rule(
    implementation = _precompiled_header_impl,
    attrs = {
        "src": attr.label(allow_single_file = [".cc"], mandatory = True, doc = "nothing but includes"),
        "deps": attr.label_list(providers = [CcInfo]),
        "_cc_toolchain": attr.label(default = "@bazel_tools//tools/cpp:current_cc_toolchain"),
    },
    fragments = ["cpp"],
    toolchains = ["@bazel_tools//tools/cpp:toolchain_type"],
)
