// Fuzz target: the reader of IDX files, plain and compressed (worker/data/idx.h).
//
// Input: a byte, the number of classes; a byte, the length of the file of labels; that file; the file of images.
#include "worker/data/idx.h"

#include "tests/fuzz/check_dataset.h"
#include "tests/fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace leeway;
  FuzzInput input(data, size);
  IdxOptions options;
  options.num_classes = input.Byte();
  const MemoryFile labels(input.Bytes(input.Byte()));
  const MemoryFile images(input.Rest());
  const absl::StatusOr<Dataset> dataset = LoadIdxDataset(images.path(), labels.path(), options);
  if (dataset.ok()) {
    FUZZ_CHECK(dataset->num_classes() == options.num_classes);
    CheckRecords(*dataset);
  } else {
    CheckRefusal(dataset.status());
  }
  return 0;
}
