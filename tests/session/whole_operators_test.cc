// With tensor chunks, an operator without a rule is computed whole by every device of a group: the same bits
// in every layout, and the plan names it.
#include <torch/library.h>

#include "divided_models.h"
#include "support/expect_error.h"

namespace shoal {
namespace {

namespace nn = torch::nn;
using test::expect_one_answer;
using torch::Tensor;

// An operator that goes by places in memory: each element gets half of the one before it there. So its
// result tells how its input lay.
Tensor after_neighbour(const Tensor& x) {
  Tensor out = torch::empty_strided(x.sizes(), x.strides(), x.options());
  const auto from = x.as_strided({x.numel()}, {1}), to = out.as_strided({x.numel()}, {1});
  to.copy_(from);
  to.narrow(0, 1, x.numel() - 1).add_(from.narrow(0, 0, x.numel() - 1), 0.5);
  return out;
}
Tensor after_neighbour_backward(const Tensor& grad, const Tensor& x) {
  const Tensor dense = torch::empty_strided(x.sizes(), x.strides(), x.options()).copy_(grad);
  Tensor out = dense.clone();
  const auto from = dense.as_strided({x.numel()}, {1}), to = out.as_strided({x.numel()}, {1});
  to.narrow(0, 0, x.numel() - 1).add_(from.narrow(0, 1, x.numel() - 1), 0.5);
  return out;
}
// It says that it makes a tensor, makes a view, and takes contiguous tensors alone.
Tensor first_half(const Tensor& x) {
  TORCH_CHECK(x.is_contiguous(), "first_half takes contiguous tensors");
  return x.narrow(-1, 0, x.size(-1) / 2);
}
Tensor first_half_backward(const Tensor& grad) { return torch::cat({grad, torch::zeros_like(grad)}, -1); }

Tensor after_neighbour_with_gradient(const Tensor& x);
Tensor first_half_with_gradient(const Tensor& x);

TORCH_LIBRARY(whole_test, library) {
  library.def("after_neighbour(Tensor x) -> Tensor");
  library.def("after_neighbour_backward(Tensor grad, Tensor x) -> Tensor");
  library.def("first_half(Tensor x) -> Tensor");
  library.def("first_half_backward(Tensor grad) -> Tensor");
}
TORCH_LIBRARY_IMPL(whole_test, CPU, library) {
  library.impl("after_neighbour", &after_neighbour);
  library.impl("after_neighbour_backward", &after_neighbour_backward);
  library.impl("first_half", &first_half);
  library.impl("first_half_backward", &first_half_backward);
}
TORCH_LIBRARY_IMPL(whole_test, Autograd, library) {
  library.impl("after_neighbour", &after_neighbour_with_gradient);
  library.impl("first_half", &first_half_with_gradient);
}

template <class... Arguments>
Tensor call(const char* op, const Arguments&... arguments) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(op, "").typed<Tensor(const Arguments&...)>().call(
      arguments...);
}

struct AfterNeighbour : torch::autograd::Function<AfterNeighbour> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x) {
    const at::AutoDispatchBelowADInplaceOrView below;
    context->save_for_backward({x});
    return call("whole_test::after_neighbour", x);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    return {call("whole_test::after_neighbour_backward", grads[0], context->get_saved_variables()[0])};
  }
};
struct FirstHalf : torch::autograd::Function<FirstHalf> {
  static Tensor forward(torch::autograd::AutogradContext*, const Tensor& x) {
    const at::AutoDispatchBelowADInplaceOrView below;
    return call("whole_test::first_half", x);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*,
                                                 torch::autograd::variable_list grads) {
    return {call("whole_test::first_half_backward", grads[0])};
  }
};
Tensor after_neighbour_with_gradient(const Tensor& x) { return AfterNeighbour::apply(x); }
Tensor first_half_with_gradient(const Tensor& x) { return FirstHalf::apply(x); }

const auto mse = [](auto& net, const Batch& batch) { return torch::mse_loss(net(batch[0]), batch[1]); };

Batch rows(int64_t seed) { return {test::normal({8, 16}, seed), test::normal({8, 16}, seed + 500)}; }

struct OwnOperatorsImpl : nn::Module {
  nn::Linear a{register_module("a", nn::Linear(16, 64))}, b{register_module("b", nn::Linear(64, 64))},
      c{register_module("c", nn::Linear(32, 16))};
  // The input of after_neighbour lies transposed in memory, and is a sum of partial products.
  Tensor forward(const Tensor& x) {
    const Tensor seen = call("whole_test::after_neighbour", b(torch::relu(a(x))).t().relu());
    return c(call("whole_test::first_half", torch::sin(seen.t().contiguous())));
  }
};
TORCH_MODULE(OwnOperators);

TEST(WholeOperators, OfAUsersOwn) {
  const std::string plan =
      expect_one_answer({with_loss(describe([] { return OwnOperators(); }), mse), rows});
  const std::string named = plan.substr(plan.find("cut map"), 800);
  EXPECT_NE(named.find("  computed whole by each device of a group, since no rule divides them; give one "
                       "with shoal::register_rule (docs/adding_an_operator.md):\n"
                       "    whole_test::after_neighbour (1 node, "),
            std::string::npos)
      << named;
  for (const char* op : {"    whole_test::after_neighbour_backward (1 node, ",
                         "    whole_test::first_half (1 node, ",
                         "    whole_test::first_half_backward (1 node, "})
    EXPECT_NE(named.find(op), std::string::npos) << op << "\n" << named;
}

// In the middle of a model: ordered, summed up, looked at as waves, inverted.
struct MiddleImpl : nn::Module {
  nn::Linear a{register_module("a", nn::Linear(16, 128))}, b{register_module("b", nn::Linear(128, 64))},
      c{register_module("c", nn::Linear(64, 16))};
  Tensor forward(const Tensor& x) {
    const Tensor y = b(torch::relu(a(x)));
    const Tensor sorted = std::get<0>(y.sort(-1)) + std::get<0>(y.topk(64, -1)) + 0.1 * y.cumsum(-1);
    const Tensor waves = torch::fft_irfft(torch::fft_rfft(y.to(torch::kFloat)) * 0.5, 64).to(y.dtype());
    const Tensor gram = (y.t().mm(y) / 64 + torch::eye(64, y.options())).to(torch::kFloat);
    return c(sorted + waves + torch::linalg_inv(gram).to(y.dtype()).mean(0) + std::get<0>(y.median(0)));
  }
};
TORCH_MODULE(Middle);

TEST(WholeOperators, OfLibTorchInTheMiddleOfAModel) {
  const std::string plan = expect_one_answer({with_loss(describe([] { return Middle(); }), mse), rows, 2e-3});
  const std::string named = plan.substr(plan.find("cut map"), 1200);
  for (const char* op : {"    aten::_fft_r2c (", "    aten::_fft_c2r (", "    aten::linalg_inv_ex ("})
    EXPECT_NE(named.find(op), std::string::npos) << op << "\n" << named;
}

// Writes through views under autograd come as new_empty_strided, copy, as_strided and as_strided_scatter,
// which go by places in memory.
struct WritesThroughViewsImpl : nn::Module {
  nn::Linear a{register_module("a", nn::Linear(16, 64))}, b{register_module("b", nn::Linear(64, 16))};
  Tensor forward(const Tensor& x) {
    Tensor y = torch::relu(a(x)).t().clone();  // [64, n], and lies transposed
    y.narrow(0, 8, 16).mul_(2);
    y.t().select(1, 3).copy_(x.select(1, 0));
    y.diagonal().add_(1);
    y.as_strided({4, 4}, {2, 16}, 3).sigmoid_();
    // What a view of a view sees of the memory around it.
    const auto halves = torch::sin(a(x)).detach().chunk(2, 1);
    return b(y.t() + halves[1].as_strided({8, 64}, {64, 1}, 0));
  }
};
TORCH_MODULE(WritesThroughViews);

TEST(WholeOperators, WritesThroughViews) {
  expect_one_answer({with_loss(describe([] { return WritesThroughViews(); }), mse), rows});
}

struct NothingDividesImpl : nn::Module {
  torch::Tensor w{register_parameter("w", torch::ones({16}))};
  Tensor forward(const Tensor& x) {
    Tensor y = x * w;
    for (int i = 0; i < 6; ++i) y = call("whole_test::after_neighbour", y);
    return y;
  }
};
TORCH_MODULE(NothingDivides);

TEST(WholeOperators, MoreThanHalfOfTheOperationsIsRefused) {
  World::threads(1, [&](World& world) {
    Trainer trainer(world, describe([] { return NothingDivides(); }), mse, {.tensor_chunks = 4});
    try {
      trainer.step(rows(1));
      FAIL() << "it was taken";
    } catch (const InputError& error) {
      const std::string said = error.what();
      EXPECT_TRUE(said.starts_with("trainer - tensor_chunks: got 4, which divides only ")) << said;
      EXPECT_NE(said.find(" of the model's operations: operators without a rule are computed whole, and "
                          "there are whole_test::after_neighbour_backward (6 nodes, "),
                std::string::npos)
          << said;
      EXPECT_NE(said.find("; give them rules with shoal::register_rule (docs/adding_an_operator.md), or "
                          "use 1"),
                std::string::npos)
          << said;
    }
  });
}

}  // namespace
}  // namespace shoal
