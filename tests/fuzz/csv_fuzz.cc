// Fuzz target: the reader of CSV files (worker/data/csv.h). Its input: tests/fuzz/text_reader.h.
#include "worker/data/csv.h"

#include "tests/fuzz/text_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace leeway;
  FuzzTextReader(FuzzInput(data, size), LoadCsv,
                 [](std::string* text, std::uint64_t, float value) { absl::StrAppendFormat(text, ",%.9g", value); });
  return 0;
}
