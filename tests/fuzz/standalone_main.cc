// A main() for fuzz targets where there is no libFuzzer: it replays the corpus, then tries seeded mutations of it.
//
//   NAME_fuzz [-runs=N] [-seed=S] [-artifact_prefix=FOLDER/] FILE_OR_FOLDER...
//
// libFuzzer understands the same words. A failed check ends the process; the input is left in FOLDER/crash-input.
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "tests/seed.h"
#include "tests/support/random.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace leeway {
namespace {

// For the signal handler.
std::string current;
std::string crash_file = "crash-input";

void SaveInput(int signal) {
  if (std::FILE* file = std::fopen(crash_file.c_str(), "wb"); file != nullptr) {
    std::fwrite(current.data(), 1, current.size(), file);
    std::fclose(file);
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void RunOn(std::string input) {
  current = std::move(input);
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(current.data()), current.size());
}

std::vector<std::string> Read(const std::vector<std::string>& paths) {
  std::vector<std::string> inputs;
  const auto add = [&inputs](const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  };
  for (const std::string& path : paths) {
    if (!std::filesystem::is_directory(path)) {
      add(path);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(path)) add(entry.path());
  }
  return inputs;
}

// Some bytes changed, taken out, put in, or taken from another input.
std::string Mutate(const std::vector<std::string>& corpus, Random& random) {
  std::string input = corpus[random.Below(corpus.size())];
  for (std::uint64_t changes = random.Between(1, 5); changes > 0; --changes) {
    const std::size_t at = random.Below(input.size() + 1);
    switch (random.Below(5)) {
      case 0:
        input.insert(at, 1, static_cast<char>(random.Bits()));
        break;
      case 1:
        input.erase(at, random.Between(1, 8));
        break;
      case 2: {
        const std::string& other = corpus[random.Below(corpus.size())];
        const std::size_t from = random.Below(other.size() + 1);
        input.insert(at, other, from, random.Between(1, 32));
        break;
      }
      case 3:  // what lengths and counts break at
        if (at < input.size()) input[at] = "\x00\x01\x7f\x80\xff"[random.Below(5)];
        break;
      default:
        if (at < input.size()) input[at] = static_cast<char>(input[at] ^ 1 << random.Below(8));
    }
  }
  return input;
}

int Main(int argc, char** argv) {
  std::uint64_t runs = 0;
  std::uint64_t seed = TestSeed();
  std::vector<std::string> paths;
  for (int i = 1; i < argc; ++i) {
    absl::string_view word = argv[i];
    bool good = true;
    if (absl::ConsumePrefix(&word, "-runs=")) {
      good = absl::SimpleAtoi(word, &runs);
    } else if (absl::ConsumePrefix(&word, "-seed=")) {
      good = absl::SimpleAtoi(word, &seed);
    } else if (absl::ConsumePrefix(&word, "-artifact_prefix=")) {
      crash_file = std::string(word) + "crash-input";
    } else {
      paths.emplace_back(word);
    }
    if (!good) {
      std::fprintf(stderr, "%s: a number is expected\n", argv[i]);
      return 1;
    }
  }
  const std::vector<std::string> corpus = Read(paths);
  if (corpus.empty()) {
    std::fprintf(stderr,
                 "usage: %s [-runs=N] [-seed=S] [-artifact_prefix=FOLDER/] FILE_OR_FOLDER..., with at least one file\n",
                 argv[0]);
    return 1;
  }
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(signal, SaveInput);
  for (const std::string& input : corpus) RunOn(input);
  Random random(seed);
  for (std::uint64_t run = 0; run < runs; ++run) RunOn(Mutate(corpus, random));
  std::printf("%zu inputs of the corpus, %llu mutations: nothing found\n", corpus.size(),
              static_cast<unsigned long long>(runs));
  return 0;
}

}  // namespace
}  // namespace leeway

int main(int argc, char** argv) { return leeway::Main(argc, argv); }
