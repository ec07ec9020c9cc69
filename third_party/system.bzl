"""Repository rules that present system (Debian) libraries under their usual Bazel labels."""

def _linkopts(rctx, spec):
    """Linkopts from words: "pkg:NAME" (a pkg-config module), "lib?:FILE:FLAG" (FLAG if FILE exists), raw flags."""
    flags = []
    for word in spec.split(" "):
        if word.startswith("pkg:"):
            result = rctx.execute(["pkg-config", "--libs", word[len("pkg:"):]])
            if result.return_code:
                fail("pkg-config %s: %s" % (word, result.stderr))
            flags += [f for f in result.stdout.strip().split(" ") if f]
        elif word.startswith("lib?:"):
            _, path, flag = word.split(":")
            if rctx.path(path).exists:
                flags.append(flag)
        elif word:
            flags.append(word)

    # The list is a closure; --as-needed keeps only what the binary uses.
    return ["-Wl,--push-state,--as-needed"] + flags + ["-Wl,--pop-state"] if flags else []

def _system_cc_repository_impl(rctx):
    packages = {}
    for label, spec in rctx.attr.libs.items():
        package, _, name = label.partition(":")
        packages.setdefault(package, []).append("""cc_library(
    name = "{name}",
    defines = {defines},
    linkopts = {linkopts},
)
""".format(name = name, defines = rctx.attr.defines, linkopts = _linkopts(rctx, spec)))
    for name, path in rctx.attr.programs.items():
        rctx.symlink(path, name)
        packages.setdefault("", []).append('exports_files(["%s"])\n' % name)
    for package, rules in packages.items():
        path = package + "/BUILD.bazel" if package else "BUILD.bazel"
        rctx.file(path, "\n".join(['package(default_visibility = ["//visibility:public"])\n'] + rules))

system_cc_repository = repository_rule(
    implementation = _system_cc_repository_impl,
    attrs = {
        "libs": attr.string_dict(doc = "label ('pkg/path:name') to pkg-config modules or linker flags"),
        "programs": attr.string_dict(doc = "label to absolute path of a program"),
        "defines": attr.string_list(),
    },
    local = True,
)
