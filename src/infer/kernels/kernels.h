// What a device computes for inference, on rows of fp32. Each element of a result is summed in one order that
// depends on neither the number of rows in the call nor on which others are there, nor on the instruction set:
// the scalar code says what the bits are, the others repeat them faster (docs/inference.md).
//
// Order of sums: ggml's (github.com/ggml-org/llama.cpp, ggml/src/ggml-cpu), of its x86 code with AVX2 and FMA,
// so that answers can be compared with llama.cpp's token for token.
// Threads: every function may run on several threads at once on different outputs. Shapes are row-major, and
// rows without gaps unless a stride is named; strides count elements.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "formats/dequantise.h"
#include "formats/model_file.h"

namespace shoal::infer {

/// Which code runs; each computes the same bits.
enum class InstructionSet : uint8_t { kScalar, kAvx2, kAvx512 };
/// The best that this CPU has, or a lesser one where SHOAL_INSTRUCTION_SET=scalar|avx2|avx512 says so (tests).
InstructionSet instruction_set();

// --- Products ---

/// Some rows of a weight in the order in which the products read them; it has memory of its own.
class PackedMatrix {
 public:
  PackedMatrix();
  /// Rows [first, first + count) of `weight`.
  PackedMatrix(const formats::Weight& weight, int64_t first, int64_t count);
  ~PackedMatrix();
  PackedMatrix(PackedMatrix&&) noexcept;
  PackedMatrix& operator=(PackedMatrix&&) noexcept;
  int64_t rows() const;
  int64_t columns() const;
  formats::WeightType type() const;
  size_t bytes() const;
  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

/// Rows of activations as products with weights of some type want them: quantised in blocks to 8 bits (ggml's
/// q8_0, q8_1, q8_K), rounded to fp16 or bf16, or as they are. Made once, used by several products of equal
/// columns; its memory is kept for the next set().
class Activations {
 public:
  Activations();
  ~Activations();
  void set(formats::WeightType weights, const float* x, int64_t rows, int64_t columns, int64_t stride);
  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

/// y[r, o] = x[r, :] . w[o, :] for all rows r of `x` and o of `w`; y has `stride` elements between rows.
/// REQUIRES: x was set for weights of w's type and columns.
void matmul(const PackedMatrix& w, const Activations& x, float* y, int64_t stride);

using formats::dequantise_row;

// --- Rows ---

void rms_norm(const float* x, const float* weight, double epsilon, int64_t rows, int64_t width, float* y);
void layer_norm(const float* x, const float* weight, const float* bias, double epsilon, int64_t rows, int64_t width,
                float* y);
void add(const float* x, const float* y, int64_t count, float* out);  // out may be x or y
void add_bias(float* x, const float* bias, int64_t rows, int64_t width, int64_t stride);
void silu_times(const float* gate, const float* up, int64_t count, float* out);  // out may be gate
void gelu(const float* x, int64_t count, float* out);  // the tanh form, in fp32

/// Turns of each position, [positions, rope_width / 2] cosines and sines, as the config says (base, scaling,
/// and the factors of frequencies that Llama 3.x files may bring; null: none).
class RopeTable {
 public:
  RopeTable(const formats::ModelConfig& config, int64_t positions, const float* frequency_factors);
  /// x is [rows, heads, head_width] with `stride` between rows; row r stands at positions[r].
  void rotate(float* x, int64_t rows, int64_t heads, int64_t stride, const int32_t* positions) const;

 private:
  bool halves_;
  int64_t width_, head_width_;
  std::vector<float> cosines_, sines_;
};

// --- Attention ---

inline constexpr int64_t kPageTokens = 16;  // keys of one page; also the blocks in which attention goes over them
enum class CacheType : uint8_t { kF32, kF16 };
/// For weights of this type: fp16 as llama.cpp has it, but fp32 where the weights are fp32 or bf16.
CacheType cache_type(formats::WeightType);

/// Keys and values of one layer: `pages` of kPageTokens tokens, each [kv_heads, head_width]. How a page lies
/// inside is the kernels' own.
class LayerCache {
 public:
  LayerCache(CacheType, int64_t pages, int64_t kv_heads, int64_t head_width);
  ~LayerCache();
  LayerCache(LayerCache&&) noexcept;
  static size_t page_bytes(CacheType, int64_t kv_heads, int64_t head_width);
  /// keys, values: [rows, kv_heads, head_width] with `stride` between rows; row r goes to place places[r] =
  /// page * kPageTokens + token in page.
  void store(const float* keys, const float* values, int64_t rows, int64_t stride, const int64_t* places);
  struct Impl;
  Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

/// The rows of one sequence in a step: query rows [first_row, first_row + rows) stand at positions
/// [length - rows, length); token t's key lies in pages[t / kPageTokens].
struct AttentionRows {
  int64_t first_row, rows, length;
  const int32_t* pages;
};

/// out[r, h, :] = softmax(q[r, h, :] . keys / sqrt(head_width)) values, over the keys at or before the row's own
/// position (and within `window` of it, where that is not 0). Query head h reads kv head h / (heads / kv_heads).
/// The same bits for every split of a sequence into steps, and every choice of pages.
void attention(const LayerCache&, std::span<const AttentionRows>, const float* queries, int64_t query_stride,
               int64_t heads, int64_t window, float* out, int64_t out_stride);

}  // namespace shoal::infer
