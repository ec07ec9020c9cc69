// Fuzz target: the reader of LibSVM files (worker/data/libsvm.h). Its input: tests/fuzz/text_reader.h.
#include "worker/data/libsvm.h"

#include "tests/fuzz/text_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace leeway;
  FuzzTextReader(FuzzInput(data, size), LoadLibsvm, [](std::string* text, std::uint64_t index, float value) {
    absl::StrAppendFormat(text, " %d:%.9g", index + 1, value);
  });
  return 0;
}
