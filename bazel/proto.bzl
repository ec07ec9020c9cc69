"""proto_cc_library: C++ from .proto files with the system's protoc; services in a target of their own."""

ProtoSources = provider(fields = ["transitive"])

def _matching(files, suffix):
    return depset([f for f in files if f.path.endswith(suffix) and (".grpc." in f.path) == (".grpc." in suffix)])

def _generate_impl(ctx):
    outs = []
    inputs = depset(ctx.files.srcs, transitive = [d[ProtoSources].transitive for d in ctx.attr.deps])
    args = ctx.actions.args()
    args.add("-I.")
    args.add("--cpp_out=" + ctx.bin_dir.path)
    suffixes = [".pb.h", ".pb.cc"]
    tools = [ctx.file._protoc]
    if ctx.attr.grpc:
        args.add("--plugin=protoc-gen-grpc=" + ctx.file._grpc.path)
        args.add("--grpc_out=" + ctx.bin_dir.path)
        suffixes += [".grpc.pb.h", ".grpc.pb.cc"]
        tools.append(ctx.file._grpc)
    for src in ctx.files.srcs:
        stem = src.basename[:-len(".proto")]
        outs += [ctx.actions.declare_file(stem + s) for s in suffixes]
        args.add(src)
    ctx.actions.run(
        executable = ctx.file._protoc,
        arguments = [args],
        inputs = inputs,
        outputs = outs,
        tools = tools,
        mnemonic = "ProtocCpp",
        progress_message = "Generating C++ from %{label}",
    )

    return [
        DefaultInfo(files = depset(outs)),
        OutputGroupInfo(
            hdrs = _matching(outs, ".pb.h"),
            srcs = _matching(outs, ".pb.cc"),
            grpc_hdrs = _matching(outs, ".grpc.pb.h"),
            grpc_srcs = _matching(outs, ".grpc.pb.cc"),
        ),
        ProtoSources(transitive = inputs),
    ]

_generate = rule(
    implementation = _generate_impl,
    attrs = {
        "srcs": attr.label_list(allow_files = [".proto"]),
        "deps": attr.label_list(providers = [ProtoSources]),
        "grpc": attr.bool(),
        "_protoc": attr.label(default = "@com_google_protobuf//:protoc", allow_single_file = True, cfg = "host"),
        "_grpc": attr.label(
            default = "@com_github_grpc_grpc//:grpc_cpp_plugin",
            allow_single_file = True,
            cfg = "host",
        ),
    },
)

def _group(name, of):
    native.filegroup(
        name = name + "_" + of,
        srcs = [name + "_gen"],
        output_group = of,
        visibility = ["//visibility:private"],
    )
    return [name + "_" + of]

def proto_cc_library(name, srcs, deps = [], grpc = False, **kwargs):
    """Messages as `name`; with grpc, services as `name`_grpc. deps are other proto_cc_library targets."""
    _generate(
        name = name + "_gen",
        srcs = srcs,
        deps = [d + "_gen" for d in deps],
        grpc = grpc,
        visibility = kwargs.get("visibility"),
    )
    native.cc_library(
        name = name,
        srcs = _group(name, "srcs"),
        hdrs = _group(name, "hdrs"),
        deps = deps + ["@com_google_protobuf//:protobuf"],
        **kwargs
    )
    if grpc:
        native.cc_library(
            name = name + "_grpc",
            srcs = _group(name, "grpc_srcs"),
            hdrs = _group(name, "grpc_hdrs"),
            deps = [":" + name, "@com_github_grpc_grpc//:grpc++"],
            **kwargs
        )
