// Every operator that LibTorch says draws random numbers: captured, it draws by counter, comes apart into
// such, or is refused. None becomes a constant, none draws from a generator of the host.
#include "capture/random_operators.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <map>
#include <set>

#include "capture/random_calls.h"
#include "graph/operator.h"
#include "kernels/cpu/random_kernels.h"
#include "shoal/error.h"
#include "shoal/shoal.h"
#include "support/draws.h"
#include "support/expect_error.h"

namespace shoal {
namespace {

using test::drawn;
using test::Draws;
using test::Function;
using test::refused;
using torch::Tensor;

// Attention without dropout and the choice of its kernel draw nothing; recurrent layers draw by way of
// dropout.
const std::set<std::string> kTestedElsewhere = {"_fused_sdp_choice",
                                                "_scaled_dot_product_flash_attention_for_cpu",
                                                "_scaled_dot_product_fused_attention_overrideable",
                                                "gru.data",
                                                "gru.input",
                                                "lstm.data",
                                                "lstm.input",
                                                "rnn_relu.data",
                                                "rnn_relu.input",
                                                "rnn_tanh.data",
                                                "rnn_tanh.input"};

bool runs_on_cpu(const c10::OperatorHandle& op) {
  for (const auto key : {c10::DispatchKey::CPU, c10::DispatchKey::CompositeImplicitAutograd,
                         c10::DispatchKey::CompositeExplicitAutograd,
                         c10::DispatchKey::CompositeExplicitAutogradNonFunctional})
    if (op.hasKernelForDispatchKey(key)) return true;
  return false;
}

const Tensor kLike = torch::randn({40, 50}, at::detail::createCPUGenerator(3));

std::string state_of_the_host() {
  const Tensor state = at::detail::getDefaultCPUGenerator().get_state();
  return {static_cast<const char*>(state.const_data_ptr()), state.nbytes()};
}

TEST(RandomOperators, EachOfLibTorchsIsInATable) {
  int tagged = 0;
  for (const c10::OperatorName& name : c10::Dispatcher::singleton().getAllOpNames()) {
    const auto op = c10::Dispatcher::singleton().findOp(name);
    if (!op || !op->hasSchema() || !capture::is_random(*op) || !runs_on_cpu(*op)) continue;
    if (name.getNamespace() != std::string_view("aten")) continue;
    const std::string text = graph::operator_text(name).substr(6);
    // The forms of other devices' operators that are given their results have a kernel for all of them.
    const std::string other = text.substr(0, text.find('.'));
    if (other.find("cudnn") != std::string::npos || other.find("miopen") != std::string::npos ||
        other.find("mps") != std::string::npos || other.find("triton") != std::string::npos ||
        other == "_fused_dropout")
      continue;
    ++tagged;
    EXPECT_EQ(drawn().contains(text) + refused().contains(text) + kTestedElsewhere.contains(text), 1u)
        << text;
  }
  EXPECT_GE(tagged, 120);
}

TEST(RandomOperators, DrawByCounterAndLeaveTheHostsGeneratorAlone) {
  for (const auto& [name, function] : drawn()) {
    SCOPED_TRACE(name);
    const std::string before = state_of_the_host();
    try {
      Draws draws(function, kLike);
      int random = 0;
      for (const graph::Node& node : draws.graph().nodes) {
        if (node.random < 0) continue;
        ++random;
        EXPECT_NE(kernels::find_random_kernel(node.op), nullptr) << node.op;
      }
      EXPECT_EQ(random, 1) << graph::print(draws.graph());
      EXPECT_TRUE(draws.graph().constants.empty());
      const Tensor numbers = draws({1, 2, 3});
      EXPECT_TRUE(torch::equal(draws({1, 2, 3}), numbers));
      for (const kernels::RandomKey key : {kernels::RandomKey{0, 2, 3}, {1, 0, 3}, {1, 2, 0}, {1, 2, -4}})
        EXPECT_FALSE(torch::equal(draws(key), numbers));
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
    EXPECT_EQ(state_of_the_host(), before);
  }
}

TEST(RandomOperators, OthersAreRefused) {
  for (const auto& [name, function] : refused()) {
    const std::string op = "aten::" + name.substr(0, name.find('.'));
    EXPECT_ERROR(Draws(function, kLike)({1, 2, 3}), InputError,
                 "operator " + op +
                     " - random: it cannot be drawn by counter, and drawn otherwise it would depend on the "
                     "layout; make its numbers of those of rand, randn and other random operators "
                     "(docs/numerics.md, \"Random numbers\")");
  }
}

TEST(RandomOperators, AreNodesWhateverDeviceTheyName) {
  const Tensor member = torch::full({40, 50}, 0.3);
  const std::map<std::string, Function> functions = {
      {"a factory on the CPU", [](auto) { return torch::rand({40, 50}, torch::kCPU); }},
      {"a factory on the CPU, with options",
       [](auto) { return torch::randint(9, {40, 50}, torch::TensorOptions().device(torch::kCPU)); }},
      {"probabilities of the host", [&](auto) { return torch::bernoulli(member); }},
      {"like a tensor of the host", [&](auto) { return torch::randn_like(member); }},
      {"weights that were written down",
       [](auto) { return torch::multinomial(torch::tensor({0.2, 0.5, 0.3}), 500, true); }},
      {"dropout of a tensor of the host", [&](auto) { return torch::dropout(member, 0.5, true); }}};
  for (const auto& [what, function] : functions) {
    SCOPED_TRACE(what);
    const std::string before = state_of_the_host();
    Draws draws(function, kLike);
    EXPECT_FALSE(torch::equal(draws({1, 2, 3}), draws({1, 2, 4})));
    EXPECT_EQ(state_of_the_host(), before);
  }
}

TEST(RandomOperators, WouldNotChangeATensorOfTheHost) {
  Tensor member = torch::zeros({4});
  EXPECT_ERROR(
      Draws([&](auto) { return member.uniform_(); }, kLike), InputError,
      "capture - tensor f32[4] outside of the model: forward changes it (a counter, a running mean; the "
      "statistics of another module that is in training mode), which is not supported; register it in the "
      "model with register_buffer, or put the other module in eval() mode");
  EXPECT_TRUE(torch::equal(member, torch::zeros({4})));
}

TEST(RandomOperators, TakeNoGenerator) {
  const auto generator = at::detail::createCPUGenerator(1);
  const auto sentence = [](const std::string& op) {
    return "capture - operator " + op +
           ": it is given a generator, whose numbers would depend on the layout; leave it out: Shoal draws "
           "by "
           "(seed, step, microbatch, operator, element)";
  };
  const std::string before = state_of_the_host();
  EXPECT_ERROR(Draws([&](auto x) { return torch::randn(x.sizes(), generator); }, kLike), InputError,
               sentence("aten::randn.generator"));
  EXPECT_ERROR(Draws([&](auto) { return torch::rand({4}, generator, torch::kCPU); }, kLike), InputError,
               sentence("aten::rand.generator"));
  EXPECT_ERROR(Draws([&](auto x) { return x.uniform_(0, 1, generator); }, kLike), InputError,
               sentence("aten::uniform_"));
  EXPECT_ERROR(Draws([&](auto x) { return torch::bernoulli(x.sigmoid(), generator); }, kLike), InputError,
               sentence("aten::bernoulli"));
  EXPECT_ERROR(Draws([&](auto x) { return torch::rrelu(x, 0.1, 0.3, true, generator); }, kLike), InputError,
               sentence("aten::rrelu"));
  EXPECT_EQ(state_of_the_host(), before);
}

TEST(RandomOperators, AModelDoesNotSeed) {
  const std::string sentence =
      "capture - torch::manual_seed: it is called by the model, where it has no effect; leave it out: random "
      "numbers follow from TrainerOptions::seed";
  EXPECT_ERROR(Draws(
                   [&](auto x) {
                     torch::manual_seed(0);
                     return torch::rand_like(x);
                   },
                   kLike),
               InputError, sentence);
  EXPECT_ERROR(describe([] {
                 torch::manual_seed(0);
                 return torch::nn::Linear(2, 3);
               }),
               InputError, sentence);
  torch::manual_seed(5);  // elsewhere it is the user's own
  EXPECT_EQ(at::detail::getDefaultCPUGenerator().current_seed(), 5u);
}

// What comes of numbers of another order in memory than their dims'.
TEST(RandomOperators, KeepTheOrderInMemoryThatEagerKeeps) {
  const Tensor turned = kLike.t();
  const std::map<std::string, Function> functions = {
      {"rand_like", [](auto x) { return torch::rand_like(x.t()); }},
      {"randn_like", [](auto x) { return torch::randn_like(x.t()); }},
      {"randint_like", [](auto x) { return torch::randint_like(x.t(), 9); }},
      {"bernoulli", [](auto x) { return torch::bernoulli(x.t().sigmoid()); }},
      {"bernoulli_", [](auto x) { return x.t().clone().bernoulli_(0.5); }},
      {"bernoulli_ by tensor", [](auto x) { return x.t().clone().bernoulli_(x.t().sigmoid()); }},
      {"uniform_", [](auto x) { return x.t().clone().uniform_(); }},
      {"normal", [](auto x) { return at::normal(x.t(), x.t().abs()); }},
      {"poisson", [](auto x) { return torch::poisson(x.t().abs()); }},
      {"multinomial", [](auto x) { return torch::multinomial(x.t().sigmoid(), 3); }},
      {"dropout", [](auto x) { return torch::dropout(x.t(), 0.5, true); }},
      {"rrelu", [](auto x) { return torch::rrelu(x.t(), 0.1, 0.3, true); }}};
  for (const auto& [name, function] : functions) {
    const Tensor want = function(kLike);
    EXPECT_EQ(Draws(function, kLike)({1, 2, 3}).strides(), want.strides()) << name;
  }
}

}  // namespace
}  // namespace shoal
