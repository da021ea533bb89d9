// What every kind of device must do (kernels/device.h).
#include "kernels/device.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <thread>

#include "base/blocks.h"
#include "base/random.h"
#include "base/text.h"
#include "graph/operator.h"
#include "kernels/cpu/cpu_device.h"
#include "support/counting_device.h"
#include "support/expect_error.h"

namespace shoal::kernels {
namespace {

using test::CountingDevice;
using torch::Tensor;

class Devices : public ::testing::TestWithParam<const char*> {
 protected:
  Device& device() { return std::string_view(GetParam()) == "counting" ? counting_ : cpu(); }
  void TearDown() override { EXPECT_EQ(counting_.faults(), std::vector<std::string>()); }

  Tensor on_device(const std::vector<float>& numbers) {
    Tensor tensor = device().empty({std::ssize(numbers)}, at::kFloat);
    device().copy(tensor.mutable_data_ptr(), numbers.data(), tensor.nbytes());
    return tensor;
  }
  std::vector<float> on_host(const Tensor& tensor) {
    std::vector<float> numbers(static_cast<size_t>(tensor.numel()));
    device().copy(numbers.data(), tensor.const_data_ptr(), tensor.nbytes());
    return numbers;
  }
  static std::span<float> span_of(const Tensor& tensor) {
    return {tensor.mutable_data_ptr<float>(), static_cast<size_t>(tensor.numel())};
  }

 private:
  CountingDevice counting_{cpu()};
};
INSTANTIATE_TEST_SUITE_P(Kinds, Devices, ::testing::Values("cpu", "counting"),
                         [](const auto& info) { return std::string(info.param); });

std::vector<float> random_numbers(size_t count, uint64_t seed) {
  std::vector<float> numbers;
  for (size_t i = 0; i < count; ++i) numbers.push_back(static_cast<float>(2 * random_unit(seed, 0, i) - 1));
  return numbers;
}

TEST_P(Devices, TensorsAreAlignedAndOfTheirType) {
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kLong})
    for (const auto& shape : std::vector<std::vector<int64_t>>{{}, {0}, {1}, {7}, {3, 5}, {100'000}}) {
      const Tensor tensor = device().empty(shape, dtype);
      EXPECT_EQ(tensor.sizes(), shape);
      EXPECT_EQ(tensor.scalar_type(), dtype);
      EXPECT_TRUE(tensor.is_contiguous());
      EXPECT_TRUE(device().holds(tensor));
      if (tensor.numel() == 0) continue;
      EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.const_data_ptr()) % kAlignment, 0u);
    }
}

TEST_P(Devices, AViewIsTheMemoryItself) {
  const Tensor all = on_device({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19});
  const Tensor view = device().view(all.mutable_data_ptr<float>() + 16, {2, 2}, at::kFloat);
  EXPECT_TRUE(device().holds(view));
  EXPECT_EQ(on_host(view), (std::vector<float>{16, 17, 18, 19}));
  view.mul_(2);
  EXPECT_EQ(on_host(all)[19], 38);
}

TEST_P(Devices, CopiesMoveTheseBytesAndNoOthers) {
  std::vector<float> want = random_numbers(1000, 1);
  const Tensor from = on_device(want), to = on_device(std::vector<float>(1000, 9));
  device().copy(to.mutable_data_ptr<float>() + 3, from.const_data_ptr<float>() + 5, 900 * sizeof(float));
  device().copy(to.mutable_data_ptr(), from.const_data_ptr(), 0);
  const std::vector<float> got = on_host(to);
  for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], i < 3 || i >= 903 ? 9 : want[i + 2]) << i;
}

TEST_P(Devices, PartsJoinToTheWhole) {
  const Tensor whole = on_device(random_numbers(120, 2)).view({5, 24});
  const graph::Cut cut{1, 3};
  std::vector<Tensor> parts;
  for (int p = 0; p < 4; ++p) {
    parts.push_back(device().take_part(whole, cut, 4, p));
    EXPECT_TRUE(torch::equal(parts.back(), whole.view({5, 3, 4, 2}).select(2, p).reshape({5, 6}))) << p;
  }
  EXPECT_TRUE(torch::equal(device().join_parts(parts, cut), whole));
}

TEST_P(Devices, RestridingKeepsTheNumbers) {
  const Tensor x = on_device(random_numbers(12, 3)).view({3, 4});
  const Tensor turned = device().restride(x, {1, 3});
  EXPECT_EQ(turned.strides(), (std::vector<int64_t>{1, 3}));
  EXPECT_TRUE(torch::equal(turned, x));
}

// The obvious sum over leaves [begin, end), in the order that docs/numerics.md says.
std::vector<float> obvious(const std::vector<std::vector<float>>& leaves, Range range) {
  if (range.size() == 1) return leaves[static_cast<size_t>(range.begin)];
  int64_t half = 1;
  while (half * 2 < range.size()) half *= 2;
  std::vector<float> sum = obvious(leaves, {range.begin, range.begin + half});
  const std::vector<float> right = obvious(leaves, {range.begin + half, range.end});
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += right[i];
  return sum;
}

TEST_P(Devices, SumsFollowTheTree) {
  constexpr size_t kCount = 5003;  // more than a strip, and no multiple of a vector
  for (int64_t n = 1; n <= 9; ++n)
    for (uint64_t seed = 0; seed < 4; ++seed) {
      SCOPED_TRACE(cat("leaves ", n, ", seed ", seed));
      std::vector<std::vector<float>> leaves;
      for (int64_t leaf = 0; leaf < n; ++leaf)
        leaves.push_back(random_numbers(kCount, seed * 100 + static_cast<uint64_t>(leaf)));
      // Single leaves may come as the bf16 that a kernel made.
      std::vector<bool> is_narrow;
      for (int64_t leaf = 0; leaf < n; ++leaf) {
        is_narrow.push_back(random_bits(seed, 1, static_cast<uint64_t>(leaf)) % 3 == 0);
        if (!is_narrow.back()) continue;
        std::vector<float>& numbers = leaves[static_cast<size_t>(leaf)];
        numbers = on_host(on_device(numbers).to(at::kBFloat16).to(at::kFloat));
      }
      std::vector<Tensor> kept;  // what each device of a random division would hold
      std::vector<comm::Root> roots;
      for (int64_t begin = 0; begin < n;) {
        const auto held = static_cast<int64_t>(random_bits(seed, 2, static_cast<uint64_t>(begin)) % 4) + 1;
        const int64_t end = std::min(n, begin + held);
        for (const Range& range : comm::tree_roots(n, {begin, end})) {
          const bool narrow = range.size() == 1 && is_narrow[static_cast<size_t>(range.begin)];
          const Tensor sum = on_device(obvious(leaves, range));
          kept.push_back(narrow ? sum.to(at::kBFloat16) : sum);
          roots.push_back({range, static_cast<const std::byte*>(kept.back().const_data_ptr()),
                           narrow ? comm::DType::kBF16 : comm::DType::kF32});
        }
        begin = end;
      }
      const std::vector<float> want = obvious(leaves, {0, n});
      const Tensor out = device().empty({kCount}, at::kFloat);
      device().sum_roots(n, roots, span_of(out));
      EXPECT_EQ(on_host(out), want);
      for (size_t i = 0; i < roots.size(); ++i)
        if (roots[i].dtype == comm::DType::kF32) {  // in the place of one of them
          device().sum_roots(n, roots, span_of(kept[i]));
          EXPECT_EQ(on_host(kept[i]), want);
          break;
        }
    }
}

TEST_P(Devices, AddsOneToAnother) {
  const std::vector<float> a = random_numbers(1001, 4), b = random_numbers(1001, 5);
  for (const bool narrow : {false, true}) {
    const Tensor into = on_device(a), from = narrow ? on_device(b).to(at::kBFloat16) : on_device(b);
    device().add_into(span_of(into), static_cast<const std::byte*>(from.const_data_ptr()),
                      narrow ? comm::DType::kBF16 : comm::DType::kF32);
    const std::vector<float> got = on_host(into), added = on_host(from.to(at::kFloat));
    for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(got[i], a[i] + added[i]) << i;
  }
}

// 16 lanes by the element's number, then the tree over the lanes.
TEST_P(Devices, SquaresAreSummedInOneOrder) {
  const std::vector<float> numbers = random_numbers(1003, 6);
  std::array<double, 16> lanes{};
  for (size_t i = 0; i < numbers.size(); ++i) lanes[i % 16] += double{numbers[i]} * double{numbers[i]};
  for (size_t step = 1; step < 16; step *= 2)
    for (size_t lane = 0; lane < 16; lane += 2 * step) lanes[lane] += lanes[lane + step];
  EXPECT_EQ(device().sum_of_squares(span_of(on_device(numbers))), lanes[0]);
}

TEST_P(Devices, KernelsAreFound) {
  for (const char* op : {"aten::_scaled_dot_product_fused_attention_overrideable",
                         "aten::_scaled_dot_product_fused_attention_overrideable_backward"}) {
    EXPECT_NE(device().find_kernel(op), nullptr) << op;
    EXPECT_FALSE(device().draws_by_counter(op)) << op;
  }
  for (const char* op : {"aten::native_dropout", "aten::randn", "aten::bernoulli.p", "aten::randperm"}) {
    EXPECT_NE(device().find_kernel(op), nullptr) << op;
    EXPECT_TRUE(device().draws_by_counter(op)) << op;
  }
  EXPECT_EQ(device().find_kernel("aten::mm"), nullptr);
  EXPECT_FALSE(device().draws_by_counter("aten::mm"));
}

TEST_P(Devices, TheGeneratorIsLeftAsItWas) {
  const at::Generator& generator = at::globalContext().defaultGenerator(device().torch_device());
  const auto draw = [&] { return torch::rand({8}, torch::TensorOptions().device(device().torch_device())); };
  torch::manual_seed(7);
  const Tensor want = draw();
  torch::manual_seed(5);
  draw();
  const Tensor before = generator.get_state();
  Tensor got;
  device().with_generator(7, [&] { got = draw(); });
  EXPECT_TRUE(torch::equal(got, want));
  EXPECT_TRUE(torch::equal(generator.get_state(), before));
  EXPECT_ERROR(device().with_generator(7,
                                       [&] {
                                         draw();
                                         throw std::runtime_error("on the way");
                                       }),
               std::runtime_error, "on the way");
  EXPECT_TRUE(torch::equal(generator.get_state(), before));
}

TEST_P(Devices, TheReproducibleSettingIsNamed) {
  const std::string kind = device().make_reproducible();
  EXPECT_TRUE(kind.starts_with(c10::DeviceTypeName(device().torch_device().type(), /*lower_case=*/true) + " "))
      << kind;
  EXPECT_EQ(device().make_reproducible(), kind);
}

// Shapes and strides are those that the device's kernels give.
TEST_P(Devices, ShapesAreThoseOfTheKernels) {
  const auto options = torch::TensorOptions().device(device().torch_device());
  const Tensor image = torch::randn({2, 4, 6, 6}, options).contiguous(at::MemoryFormat::ChannelsLast);
  const Tensor indices = torch::zeros({2, 3}, options.dtype(at::kLong));
  using Ints = std::vector<int64_t>;
  const c10::IValue none;
  const std::vector<std::pair<const char*, torch::jit::Stack>> calls = {
      {"aten::relu", {image}},
      {"aten::embedding", {torch::randn({9, 5}, options), indices, -1, false, false}},
      {"aten::native_layer_norm", {torch::randn({2, 3, 5}, options), Ints{5}, none, none, 1e-5}},
      {"aten::convolution",
       {image, torch::randn({8, 4, 3, 3}, options), none, Ints{2, 2}, Ints{1, 1}, Ints{1, 1}, false, Ints{0, 0}, 1}}};
  const at::AutoGradMode without_gradients(false);
  for (const auto& [op, arguments] : calls) {
    torch::jit::Stack shapes, results = arguments;
    for (const c10::IValue& argument : arguments) {
      if (!argument.isTensor()) {
        shapes.push_back(argument);
        continue;
      }
      const Tensor& t = argument.toTensor();
      shapes.emplace_back(torch::empty_strided(t.sizes(), t.strides(), t.options().device(at::kMeta)));
    }
    EXPECT_TRUE(device().infer_shapes(op, shapes)) << op;
    graph::operator_handle(op).callBoxed(results);
    ASSERT_EQ(shapes.size(), results.size()) << op;
    const auto type = [](const c10::IValue& value) { return graph::print(graph::type_of(value.toTensor())); };
    for (size_t i = 0; i < results.size(); ++i)
      EXPECT_EQ(type(shapes[i]), type(results[i])) << op << " result " << i;
  }
  torch::jit::Stack left = {torch::empty({2}, at::kMeta)};
  EXPECT_FALSE(device().infer_shapes("aten::no_such_operator", left));
  EXPECT_EQ(left.size(), 1u);
}

TEST_P(Devices, AttentionThatOneKernelTakesHasAKernel) {
  const auto options = torch::TensorOptions().device(device().torch_device());
  const Tensor query = torch::empty({2, 4, 6, 8}, options), fewer = torch::empty({2, 2, 6, 8}, options);
  const std::optional<Tensor> none, mask = torch::zeros({6, 6}, options);
  // Dropout; a causal call with a mask; heads that do not match.
  EXPECT_FALSE(device().takes_attention({query, query, query, none, 0.1, false, false}));
  EXPECT_FALSE(device().takes_attention({query, query, query, mask, 0, true, false}));
  EXPECT_FALSE(device().takes_attention({query, fewer, fewer, none, 0, false, false}));
  if (!device().takes_attention({query, query, query, none, 0, true, false})) return;
  EXPECT_NE(device().find_kernel("aten::_scaled_dot_product_fused_attention_overrideable"), nullptr);
}

// Counts what it serves and is told of.
class Hook : public AllocationHook {
 public:
  explicit Hook(Device& device) : device_(device) {}
  c10::DataPtr allocate(size_t bytes) override {
    ++served;
    return place == nullptr ? device_.allocate(bytes) : device_.lend(place);
  }
  bool release(void* data) override {
    ++told;
    return data == place;
  }
  int served = 0, told = 0;
  void* place = nullptr;  // where all that it serves lies

 private:
  Device& device_;
};

TEST_P(Devices, AHookServesAllocationsOfItsThread) {
  Hook hook(device());
  const auto make = [&] { return device().empty({100}, at::kFloat); };
  make();
  EXPECT_EQ(hook.served, 0);
  AllocationHook* const before = device().serve(&hook);
  Tensor lives_on = make();
  EXPECT_EQ(hook.served, 1);
  make();
  EXPECT_EQ(hook.served, 2);
  EXPECT_EQ(hook.told, 1);
  std::thread([&] { make(); }).join();
  EXPECT_EQ(hook.served, 2);
  EXPECT_EQ(device().serve(before), &hook);
  make();
  EXPECT_EQ(hook.served, 2);
  lives_on = torch::Tensor();  // while nobody serves
  EXPECT_EQ(hook.told, 1);
}

TEST_P(Devices, LentMemoryOfARegionStaysThere) {
  constexpr size_t kBytes = 4 << 20;
  std::byte* const region = device().reserve(kBytes);
  ASSERT_NE(region, nullptr);
  device().view(region, {kBytes / 4}, at::kFloat).fill_(3);
  Hook hook(device());
  hook.place = region + 640;
  AllocationHook* const before = device().serve(&hook);
  const void* address = nullptr;
  for (int time = 0; time < 2; ++time) {
    const Tensor tensor = device().empty({16}, at::kFloat);
    address = tensor.const_data_ptr();
    EXPECT_EQ(on_host(tensor), std::vector<float>(16, 3));
  }
  device().serve(before);
  EXPECT_EQ(address, region + 640);
  device().give_back(region, kBytes);
}

}  // namespace
}  // namespace shoal::kernels
