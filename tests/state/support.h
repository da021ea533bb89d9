// What the tests of checkpoints share: a state with awkward tensors, every way to divide it, and the obvious
// reader beside the real one.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "comm/launch.h"
#include "shoal/error.h"
#include "state/checkpoint.h"
#include "state/safetensors.h"

namespace shoal::state {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "shoal-state-XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

using Random = std::mt19937_64;
inline int64_t below(Random& random, int64_t bound) {
  return static_cast<int64_t>(random() % static_cast<uint64_t>(bound));
}

/// The model: whole tensors in memory.
struct State {
  Contents contents;
  std::vector<std::vector<std::byte>> bytes;
};

/// Whole and divided tensors of no, one, and many elements, just under, at and over a block's end, of all
/// element sizes; filled at random.
inline State make_state(int64_t step, uint64_t seed) {
  State state;
  state.contents.run = {{"model", "gpt"}, {"seed", 7}, {"optimizer", {{"name", "adamw"}, {"lr", 3e-4}}}};
  state.contents.step = step;
  state.contents.samples = step * 16;
  state.contents.tensors = {
      {"wte.weight", "weight", "F32", {3, kBlockElements}},
      {"wte.weight", "exp_avg", "BF16", {3, kBlockElements}},
      {"ln.bias", "weight", "F32", {5}},
      {"ln.bias", "exp_avg", "F32", {5}},
      {"odd", "weight", "BF16", {kBlockElements + 1}},
      {"mask", "buffer", "U8", {2 * kBlockElements - 1}},
      {"count", "buffer", "I64", {}},
      {"nothing", "weight", "F32", {4, 0}},
  };
  // Divided: parts of several blocks whose runs cross them, many small runs, and parts without elements.
  const auto add_parts = [&](TensorSpec spec, int64_t parts, int64_t dim, int64_t outer) {
    for (int64_t part = 0; part < parts; ++part) {
      spec.division = {part, parts, dim, outer};
      state.contents.tensors.push_back(spec);
    }
  };
  add_parts({"qkv.weight", "weight", "F32", {12, 20'000}}, 2, 0, 3);
  add_parts({"qkv.weight", "exp_avg", "BF16", {12, 20'000}}, 2, 0, 3);
  add_parts({"down.weight", "weight", "BF16", {7, 6, 2}}, 3, 1, 1);
  add_parts({"void", "weight", "F32", {4, 0}}, 2, 0, 2);
  Random random(seed);
  for (const TensorSpec& spec : state.contents.tensors) {
    auto& bytes = state.bytes.emplace_back(static_cast<size_t>(num_bytes(spec)));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  }
  return state;
}

/// A random division: each tensor is cut into random runs of whole blocks, each run goes to a random rank.
inline std::vector<std::vector<Slice>> divide(const State& state, int ranks, Random& random) {
  std::vector<std::vector<Slice>> slices(static_cast<size_t>(ranks));
  for (size_t i = 0; i < state.bytes.size(); ++i) {
    const TensorSpec& spec = state.contents.tensors[i];
    const int64_t elements = num_elements(spec), size = element_bytes(spec.dtype);
    for (int64_t begin = 0; begin < elements;) {
      const int64_t end = std::min(elements, begin + (1 + below(random, 3)) * kBlockElements);
      slices[static_cast<size_t>(below(random, ranks))].push_back(
          {i,
           {begin, end},
           std::span(state.bytes[i])
               .subspan(static_cast<size_t>(begin * size), static_cast<size_t>((end - begin) * size))});
      begin = end;
    }
  }
  for (auto& mine : slices) std::shuffle(mine.begin(), mine.end(), random);
  return slices;
}

inline void save_divided(const std::filesystem::path& folder, const State& state, int ranks, uint64_t seed) {
  Random random(seed);
  const auto slices = divide(state, ranks, random);
  comm::run_threads(ranks, [&](comm::Communicator& communicator) {
    comm::Group world(communicator);
    save(world, folder, state.contents, slices[static_cast<size_t>(world.rank())]);
  });
}

/// By one rank, each tensor in one slice.
inline void save_whole(const std::filesystem::path& folder, const State& state) {
  std::vector<Slice> slices;
  for (size_t i = 0; i < state.bytes.size(); ++i)
    slices.push_back({i, {0, num_elements(state.contents.tensors[i])}, state.bytes[i]});
  const auto communicator = comm::single();
  comm::Group world(*communicator);
  save(world, folder, state.contents, slices);
}

inline std::vector<std::byte> read_whole(const Checkpoint& checkpoint, size_t tensor) {
  const TensorSpec& spec = checkpoint.contents().tensors[tensor];
  std::vector<std::byte> bytes(static_cast<size_t>(num_bytes(spec)));
  checkpoint.read(tensor, {0, num_elements(spec)}, bytes);
  return bytes;
}

inline bool holds(const Checkpoint& checkpoint, const State& state) {
  const Contents& a = checkpoint.contents();
  const Contents& b = state.contents;
  if (a.run != b.run || a.step != b.step || a.samples != b.samples || a.tensors != b.tensors) return false;
  for (size_t i = 0; i < state.bytes.size(); ++i) {
    if (read_whole(checkpoint, i) != state.bytes[i]) return false;
  }
  return true;
}

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

/// What `action` says when it throws Kind; "" and a failure otherwise.
template <class Kind, class Action>
std::string sentence_of(const Action& action) {
  try {
    action();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Kind& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another kind of error: " << error.what();
  }
  return "";
}

}  // namespace shoal::state
