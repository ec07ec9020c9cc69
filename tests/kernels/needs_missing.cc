// A stand-in for the CUDA backend on a machine without CUDA's libraries: it needs one that is not there.
extern "C" int leeway_new_cuda_backend_0();
extern "C" int leeway_calls_missing() { return leeway_new_cuda_backend_0(); }
