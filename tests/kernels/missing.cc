// A library that is there when others are linked against it and is missing when they are loaded, or one that has
// another build's factory: what it holds is of no use to anyone.
extern "C" int leeway_new_cuda_backend_0() { return 0; }
