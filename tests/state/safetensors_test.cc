// The files by the published rules of the safetensors format, read without any of our own code.
#include "support.h"

#include <map>
#include <nlohmann/json.hpp>

#include "base/text.h"

namespace shoal::state {
namespace {

struct Entry {
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};

/// Checks the rules on the way: 8 bytes of length, a header that begins with '{', sizes that follow from
/// dtype and shape, no gaps, no rest.
std::map<std::string, Entry> parse_safetensors(const std::string& file) {
  uint64_t length = 0;
  EXPECT_GE(file.size(), sizeof length);
  std::memcpy(&length, file.data(), sizeof length);
  EXPECT_LE(8 + length, file.size());
  EXPECT_EQ((8 + length) % 64, 0u) << "the data are aligned";
  const std::string header = file.substr(8, length), data = file.substr(8 + length);
  EXPECT_EQ(header.at(0), '{');
  const std::map<std::string, size_t> sizes = {{"F32", 4}, {"BF16", 2}, {"U8", 1}, {"I64", 8}};
  std::map<std::string, Entry> entries;
  std::map<size_t, size_t> ranges;
  const auto parsed = nlohmann::json::parse(header);
  for (const auto& [key, value] : parsed.items()) {
    if (key == "__metadata__") {
      for (const auto& [_, text] : value.items()) EXPECT_TRUE(text.is_string());
      continue;
    }
    const size_t begin = value.at("data_offsets").at(0), end = value.at("data_offsets").at(1);
    Entry entry{value.at("dtype"), value.at("shape"), data.substr(begin, end - begin)};
    size_t want = sizes.at(entry.dtype);
    EXPECT_EQ(begin % want, 0u) << key << " is aligned to its element size";
    for (int64_t size : entry.shape) want *= static_cast<size_t>(size);
    EXPECT_EQ(end - begin, want) << key;
    EXPECT_TRUE(ranges.emplace(begin, end).second);
    entries[key] = entry;
  }
  size_t covered = 0;
  for (const auto& [begin, end] : ranges) {
    EXPECT_EQ(begin, covered);
    covered = end;
  }
  EXPECT_EQ(covered, data.size());
  return entries;
}

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(Safetensors, OneOwnersFileIsTheModelAsOtherToolsKnowIt) {
  const TemporaryFolder folder;
  const State state = make_state(12, 5);
  save_whole(folder / "c", state);
  const auto entries = parse_safetensors(read_text(folder / "c/owner-00000.safetensors"));
  EXPECT_EQ(entries.size(), state.bytes.size() - 3) << "all but the tensors without elements";
  const auto check = [&](const std::string& key, size_t tensor) {
    ASSERT_TRUE(entries.contains(key)) << key;
    EXPECT_EQ(entries.at(key).dtype, state.contents.tensors[tensor].dtype);
    EXPECT_EQ(entries.at(key).shape, local_shape(state.contents.tensors[tensor]));
    EXPECT_EQ(entries.at(key).bytes, text_of(state.bytes[tensor]));
  };
  check("wte.weight", 0);
  check("wte.weight@exp_avg", 1);
  check("ln.bias", 2);
  check("ln.bias@exp_avg", 3);
  check("odd", 4);
  check("mask@buffer", 5);
  check("count@buffer", 6);
  check("qkv.weight[0of2]", 8);
  check("qkv.weight[1of2]", 9);
  check("qkv.weight@exp_avg[1of2]", 11);
  check("down.weight[2of3]", 14);
  EXPECT_EQ(entries.at("qkv.weight[1of2]").shape, (std::vector<int64_t>{6, 20'000}));
  EXPECT_EQ(entries.at("down.weight[2of3]").shape, (std::vector<int64_t>{7, 2, 2}));
}

TEST(Safetensors, SlicesAreNamedAndFlat) {
  const TemporaryFolder folder;
  const State state = make_state(12, 5);
  std::map<std::string, Entry> all;
  save_divided(folder / "c", state, 3, 9);
  for (const auto& file : std::filesystem::directory_iterator(folder / "c")) {
    if (file.path().extension() == ".safetensors") all.merge(parse_safetensors(read_text(file.path())));
  }
  for (size_t i = 0; i < state.bytes.size(); ++i) {
    const TensorSpec& spec = state.contents.tensors[i];
    const std::string key = entry_key(spec, {0, num_elements(spec)});
    if (all.contains(key)) continue;  // whole in one file
    std::string glued;
    const int64_t elements = num_elements(spec);
    for (int64_t begin = 0; begin < elements;) {
      int64_t end = begin;
      while (end < elements && !all.contains(cat(key, "[", begin, ":", end, "]")))
        end = std::min(end + kBlockElements, elements);
      const std::string name = cat(key, "[", begin, ":", end, "]");
      ASSERT_TRUE(all.contains(name)) << name;
      EXPECT_EQ(all[name].shape, std::vector<int64_t>{end - begin});
      glued += all[name].bytes;
      begin = end;
    }
    EXPECT_EQ(glued, text_of(state.bytes[i])) << key;
  }
}

}  // namespace
}  // namespace shoal::state
