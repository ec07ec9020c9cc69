#include "common/manifest.h"

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "tests/catch.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

v1::Manifest Two() {
  v1::Manifest proto;
  proto.set_model("two");
  v1::TensorSpec& w = *proto.add_tensors();
  w.set_name("w");
  w.add_shape(100);
  w.add_shape(30);
  w.mutable_initializer()->set_kind(v1::Initializer::NORMAL);
  w.mutable_initializer()->set_a(1);
  w.mutable_initializer()->set_b(2);
  v1::TensorSpec& b = *proto.add_tensors();
  b.set_name("b");
  b.add_shape(2000);
  b.set_group("bias");
  b.mutable_initializer()->set_kind(v1::Initializer::UNIFORM);
  b.mutable_initializer()->set_a(-1);
  b.mutable_initializer()->set_b(3);
  return proto;
}

using Change = std::function<void(v1::Manifest*)>;

TEST_CASE("Manifest: offsets, lookups, and there and back") {
  const auto manifest = Manifest::FromProto(Two());
  REQUIRE(manifest.ok());
  CHECK(manifest->elements() == 5000);
  CHECK(manifest->tensors()[1].offset == 3000);
  CHECK(manifest->TensorAt(2999) == 0);
  CHECK(manifest->TensorAt(3000) == 1);
  CHECK(manifest->TensorAt(4999) == 1);
  CHECK(manifest->ToProto().SerializeAsString() == Two().SerializeAsString());
  CHECK(Manifest::FromProto(manifest->ToProto())->fingerprint() == manifest->fingerprint());
}

TEST_CASE("Manifest: what is too large for a message is refused, with its size") {
  v1::Manifest proto = Two();
  proto.mutable_tensors(0)->set_name(std::string(Manifest::kMaxBytes - 200, 'n'));
  CHECK(Manifest::FromProto(proto).ok());
  proto.mutable_tensors(0)->set_name(std::string(Manifest::kMaxBytes, 'n'));
  const absl::Status status = Manifest::FromProto(proto).status();
  CHECK(absl::IsInvalidArgument(status));
  CHECK(status.message().find("2 tensors take") != std::string::npos);
}

TEST_CASE("Manifest: offsets and initial values behind 2^32 elements") {
  constexpr std::uint64_t kSide = 70'000;
  v1::Manifest proto = Two();
  proto.mutable_tensors(0)->set_shape(0, kSide);
  proto.mutable_tensors(0)->set_shape(1, kSide);
  const Manifest manifest = *Manifest::FromProto(proto);
  const Tensor& w = manifest.tensors()[0];
  CHECK(manifest.elements() == kSide * kSide + 2000);
  CHECK(w.count == kSide * kSide);
  CHECK(manifest.tensors()[1].offset == kSide * kSide);
  CHECK(manifest.TensorAt(kSide * kSide - 1) == 0);
  CHECK(manifest.TensorAt(kSide * kSide) == 1);
  CHECK(InitialValue(7, w, (std::uint64_t{1} << 32) + 5) != InitialValue(7, w, 5));
  std::vector<float> seam(8);
  FillInitialValues(7, manifest, kSide * kSide - 3, absl::MakeSpan(seam));
  for (std::uint64_t i = 0; i < seam.size(); ++i) {
    const float expected =
        i < 3 ? InitialValue(7, w, kSide * kSide - 3 + i) : InitialValue(7, manifest.tensors()[1], i - 3);
    CHECK(seam[i] == expected);
  }
}

TEST_CASE("Manifest: the fingerprint feels every change") {
  const std::vector<Change> changes = {
      [](v1::Manifest*) {},
      [](v1::Manifest* m) { m->set_model("three"); },
      [](v1::Manifest* m) { m->mutable_tensors(0)->set_name("v"); },
      [](v1::Manifest* m) { m->mutable_tensors(0)->set_group("g"); },
      [](v1::Manifest* m) { m->mutable_tensors()->SwapElements(0, 1); },
      [](v1::Manifest* m) { m->mutable_tensors(0)->mutable_shape()->SwapElements(0, 1); },
      [](v1::Manifest* m) { m->mutable_tensors(0)->add_shape(1); },
      [](v1::Manifest* m) { m->mutable_tensors(0)->mutable_initializer()->set_a(1.5f); },
      [](v1::Manifest* m) { m->mutable_tensors(0)->mutable_initializer()->set_b(2.5f); },
      [](v1::Manifest* m) { m->mutable_tensors(0)->mutable_initializer()->set_kind(v1::Initializer::UNIFORM); },
      [](v1::Manifest* m) { m->mutable_tensors()->RemoveLast(); },
  };
  std::set<std::uint64_t> fingerprints;
  for (const Change& change : changes) {
    v1::Manifest proto = Two();
    change(&proto);
    const auto manifest = Manifest::FromProto(proto);
    REQUIRE(manifest.ok());
    CHECK(manifest->fingerprint() != 0);
    CHECK(fingerprints.insert(manifest->fingerprint()).second);
  }
}

TEST_CASE("Manifest: hostile ones are refused, naming what is wrong") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::int64_t huge = std::int64_t{1} << 39;
  const std::vector<std::pair<Change, const char*>> cases = {
      {[](v1::Manifest* m) { m->clear_tensors(); }, "no tensors"},
      {[](v1::Manifest* m) { m->mutable_tensors(1)->set_name("w"); }, "'w'"},
      {[](v1::Manifest* m) { m->mutable_tensors(1)->clear_name(); }, "''"},
      {[](v1::Manifest* m) { m->mutable_tensors(0)->set_shape(0, 0); }, "dimension 0"},
      {[](v1::Manifest* m) { m->mutable_tensors(0)->set_shape(1, -3); }, "dimension -3"},
      {[huge](v1::Manifest* m) { m->mutable_tensors(0)->set_shape(0, huge); }, "2^40"},
      {[](v1::Manifest* m) { m->mutable_tensors(0)->set_shape(0, std::numeric_limits<std::int64_t>::max()); }, "2^40"},
      {[huge](v1::Manifest* m) {
         for (int i = 0; i < 2; ++i) m->mutable_tensors(i)->mutable_shape()->Assign(&huge, &huge + 1);
         m->add_tensors()->set_name("third");
         m->mutable_tensors(2)->add_shape(1);
       },
       "'third'"},
      {[nan](v1::Manifest* m) { m->mutable_tensors(0)->mutable_initializer()->set_a(nan); }, "'w'"},
      {[](v1::Manifest* m) { m->mutable_tensors(0)->mutable_initializer()->set_b(0); }, "initializer"},
      {[](v1::Manifest* m) { m->mutable_tensors(1)->mutable_initializer()->set_b(-1); }, "initializer"},
      {[](v1::Manifest* m) {
         m->mutable_tensors(1)->mutable_initializer()->set_kind(static_cast<v1::Initializer::Kind>(9));
       },
       "initializer"},
  };
  for (const auto& [change, word] : cases) {
    v1::Manifest proto = Two();
    change(&proto);
    const absl::Status status = Manifest::FromProto(proto).status();
    CAPTURE(status.message());
    CHECK(Says(status, absl::StatusCode::kInvalidArgument, {"manifest", word}));
  }
}

TEST_CASE("initial values: pure, of the right distribution, the same in any pieces") {
  const Manifest manifest = *Manifest::FromProto(Two());
  std::vector<float> whole(5000);
  FillInitialValues(7, manifest, 0, absl::MakeSpan(whole));
  for (const std::size_t cut : {1, 2999, 3000, 3001, 4999}) {
    std::vector<float> pieces(5000);
    FillInitialValues(7, manifest, cut, absl::MakeSpan(pieces).subspan(cut));
    FillInitialValues(7, manifest, 0, absl::MakeSpan(pieces).first(cut));
    CHECK(pieces == whole);
  }
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < 3000; ++i) {
    sum += whole[i];
    squares += (whole[i] - 1) * (whole[i] - 1);
  }
  CHECK(sum / 3000 == Approx(1).margin(0.2));
  CHECK(std::sqrt(squares / 3000) == Approx(2).margin(0.2));
  for (int i = 3000; i < 5000; ++i) {
    if (whole[i] < -1 || whole[i] >= 3) FAIL("value " << whole[i]);
  }
  std::vector<float> other(5000);
  FillInitialValues(8, manifest, 0, absl::MakeSpan(other));
  CHECK(other != whole);
  // Only the tensor's name and the index matter, not where it lies.
  v1::Manifest swapped = Two();
  swapped.mutable_tensors()->SwapElements(0, 1);
  FillInitialValues(7, *Manifest::FromProto(swapped), 0, absl::MakeSpan(other));
  CHECK(std::vector<float>(other.begin() + 2000, other.end()) ==
        std::vector<float>(whole.begin(), whole.begin() + 3000));
  FillInitialValues(7, manifest, 5000, {});
}

}  // namespace
}  // namespace leeway
