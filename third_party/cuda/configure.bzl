"""cuda_configure: finds a CUDA toolkit, or writes empty stand-ins when there is none.

LEEWAY_CUDA=0 turns CUDA off, LEEWAY_CUDA=1 makes a missing toolkit an error; CUDA_HOME picks the toolkit.
"""

_BUILD = """load("@bazel_skylib//rules:common_settings.bzl", "bool_flag")
package(default_visibility = ["//visibility:public"])
bool_flag(name = "enabled", build_setting_default = {found})
config_setting(name = "using_cuda", flag_values = {{":enabled": "True"}})
cc_library(name = "cuda_headers", hdrs = glob(["include/**"], allow_empty = True), includes = ["include"])
cc_library(name = "cudart", linkopts = {cudart}, deps = [":cuda_headers"])
cc_library(name = "cublas_lt", linkopts = {cublas}, deps = [":cuda_headers"])
"""

def _impl(rctx):
    wanted = rctx.os.environ.get("LEEWAY_CUDA", "auto")
    home = rctx.os.environ.get("CUDA_HOME", "/usr/local/cuda")
    compiler, library = home + "/bin/nvcc", home + "/lib64/libcublasLt.so"
    found = wanted != "0" and rctx.path(compiler).exists and rctx.path(library).exists
    if wanted == "1" and not found:
        fail("LEEWAY_CUDA=1 but there is no %s or no %s" % (compiler, library))
    cudart, cublas = [], []
    if found:
        rctx.symlink(home + "/include", "include")
        search = ["-L%s/lib64" % home]
        cudart = search + ["-lcudart_static", "-ldl", "-lrt", "-lpthread"]

        # Not as a file of Bazel's: it has 500 MB. Found at run time where it was at build time, or by LD_LIBRARY_PATH.
        cublas = search + ["-Wl,-rpath,%s/lib64" % home, "-lcublasLt"]
    rctx.file("BUILD.bazel", _BUILD.format(found = found, cudart = cudart, cublas = cublas))
    rctx.file("defs.bzl", """CUDA_HOME = %r
def if_cuda(yes, no = []):
    return select({"@local_config_cuda//:using_cuda": yes, "//conditions:default": no})
""" % (home if found else ""))

cuda_configure = repository_rule(implementation = _impl, environ = ["LEEWAY_CUDA", "CUDA_HOME"])
