"""Python packages, pinned by their hashes, in a virtual environment of this workspace: tools of tests, not of builds.

Only tests that name @python_tools fetch it; without PyPI those tests fail, and nothing else does.
"""

def _python_tools_impl(rctx):
    venv = rctx.path("venv")
    requirements = rctx.path(rctx.attr.requirements)
    install = [str(venv) + "/bin/pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in [
        ["python3", "-m", "venv", venv],
        install + ["--require-hashes", "--only-binary=:all:", "--requirement", requirements],
    ]:
        result = rctx.execute(command, timeout = 900)
        if result.return_code:
            fail("the tools of tests in %s could not be installed (python3-venv, PyPI): %s%s" %
                 (rctx.attr.requirements, result.stdout, result.stderr))

    # Where it is, for tests; with the requirements, so that tests run again when those change.
    rctx.file("venv_path", "%s\n%s" % (venv, rctx.read(requirements)), executable = False)
    rctx.file("BUILD.bazel", """exports_files(["venv_path"])\n""")

python_tools = repository_rule(
    implementation = _python_tools_impl,
    attrs = {"requirements": attr.label(mandatory = True, allow_single_file = True)},
)
