#include "kernels/cpu/matmul.h"

#include <utility>

namespace leeway {
namespace {

using Tag = dnnl::memory::format_tag;

dnnl::memory::desc Matrix(std::int64_t rows, std::int64_t columns, Tag tag) {
  return {{rows, columns}, dnnl::memory::data_type::f32, tag};
}

dnnl::memory MemoryFor(const dnnl::memory::desc& desc, const dnnl::engine& engine) {
  return dnnl::memory(desc, engine, DNNL_MEMORY_NONE);
}

// oneDNN never writes through the handles of a primitive's inputs.
void SetInput(dnnl::memory& memory, const float* data) { memory.set_data_handle(const_cast<float*>(data)); }

}  // namespace

MatmulCache::Entry MatmulCache::Make(const Key& key) const {
  dnnl::memory::desc left, right, out;
  // Tag::ba reads a row-major matrix as its transpose.
  switch (key.product) {
    case Product::kForward:
    case Product::kForwardWithoutBias:
      left = Matrix(key.batch, key.in, Tag::ab);
      right = Matrix(key.in, key.out, Tag::ba);
      out = Matrix(key.batch, key.out, Tag::ab);
      break;
    case Product::kData:
      left = Matrix(key.batch, key.out, Tag::ab);
      right = Matrix(key.out, key.in, Tag::ab);
      out = Matrix(key.batch, key.in, Tag::ab);
      break;
    case Product::kWeights:
      left = Matrix(key.out, key.batch, Tag::ba);
      right = Matrix(key.batch, key.in, Tag::ab);
      out = Matrix(key.out, key.in, Tag::ab);
      break;
  }
  dnnl::post_ops after;
  if (key.write == Write::kAdd) after.append_sum(1.0f);
  dnnl::primitive_attr attributes;
  attributes.set_post_ops(after);

  const bool with_bias = key.product == Product::kForward;
  const dnnl::memory::desc bias = Matrix(1, key.out, Tag::ab);
  const dnnl::matmul::desc desc =
      with_bias ? dnnl::matmul::desc(left, right, bias, out) : dnnl::matmul::desc(left, right, out);

  Entry entry{dnnl::matmul(dnnl::matmul::primitive_desc(desc, attributes, engine_)),
              MemoryFor(left, engine_),
              MemoryFor(right, engine_),
              MemoryFor(bias, engine_),
              MemoryFor(out, engine_),
              {}};
  entry.arguments = {{DNNL_ARG_SRC, entry.left}, {DNNL_ARG_WEIGHTS, entry.right}, {DNNL_ARG_DST, entry.out}};
  if (with_bias) entry.arguments.emplace(DNNL_ARG_BIAS, entry.bias);
  return entry;
}

void MatmulCache::Run(dnnl::stream& stream, const Key& key, const float* left, const float* right, const float* bias,
                      float* out) {
  auto found = entries_.find(key);
  if (found == entries_.end()) {
    if (entries_.size() >= kMaxEntries) entries_.clear();
    found = entries_.emplace(key, Make(key)).first;
  }
  Entry& entry = found->second;
  SetInput(entry.left, left);
  SetInput(entry.right, right);
  if (key.product == Product::kForward) SetInput(entry.bias, bias);
  entry.out.set_data_handle(out);
  entry.primitive.execute(stream, entry.arguments);
}

}  // namespace leeway
