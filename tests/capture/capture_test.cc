// What capture takes, and the sentences for what it refuses.
#include "capture/capture.h"

#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <source_location>

#include "comm/comm.h"
#include "kernels/cpu/cpu_device.h"
#include "models/llama.h"
#include "shoal/shoal.h"
#include "support/expect_error.h"

namespace shoal {
namespace {

namespace nn = torch::nn;
namespace F = torch::nn::functional;

// A module whose forward is given by the test.
struct ToyImpl : nn::Module {
  using Forward = std::function<torch::Tensor(ToyImpl&, const Batch&)>;
  explicit ToyImpl(Forward forward_in) : forward(std::move(forward_in)) {
    first = register_module("first", nn::Linear(6, 5));
    second = register_module("second", nn::Linear(5, 6));
    scale = register_buffer("scale", torch::full({6}, 0.5));
  }
  nn::Linear first{nullptr}, second{nullptr};
  torch::Tensor scale;
  Forward forward;
};
TORCH_MODULE(Toy);

torch::Tensor call(Toy& toy, const Batch& batch) { return toy->forward(*toy, batch); }

Batch sample() { return {torch::linspace(-1, 1, 24).view({4, 6}), torch::arange(4)}; }

// Both ways a model can come: described without memory, and built on the CPU.
void expect_captured(const ToyImpl::Forward& forward,
                     std::source_location where = std::source_location::current()) {
  try {
    check_capture(describe([&] { return Toy(forward); }), call, sample());
    torch::manual_seed(5);
    check_capture(Toy(forward), call, sample());
  } catch (const Error& error) {
    ADD_FAILURE_AT(where.file_name(), static_cast<int>(where.line())) << error.what();
  }
}

graph::Graph graph_of(const ToyImpl::Forward& forward) {
  const auto model = with_loss(describe([&] { return Toy(forward); }), call);
  std::vector<graph::TensorType> types;
  for (const torch::Tensor& tensor : sample()) types.push_back(graph::type_of(tensor));
  return capture::capture_training(kernels::cpu(), model, types, Precision::kFP32);
}

void expect_refused(const ToyImpl::Forward& forward, const std::string& message) {
  EXPECT_ERROR(graph_of(forward), InputError, message);
}

TEST(Capture, PlainForwardAndBackward) {
  expect_captured([](ToyImpl& toy, const Batch& batch) {
    return toy.second(torch::relu(toy.first(batch[0]))).pow(2).mean();
  });
}

TEST(Capture, WritesThroughViewsBecomeFunctional) {
  const ToyImpl::Forward forward = [](ToyImpl& toy, const Batch& batch) {
    auto h = toy.second(toy.first(batch[0]));
    h.slice(1, 0, 3).mul_(2).add_(1);
    h.select(1, 4).copy_(batch[0].select(1, 0));
    h.relu_();
    return h.pow(2).mean();
  };
  expect_captured(forward);
  for (const graph::Node& node : graph_of(forward).nodes) EXPECT_FALSE(node.op.ends_with("_")) << node.op;
}

TEST(Capture, FactoriesInForwardAreNotConstants) {
  const ToyImpl::Forward forward = [](ToyImpl& toy, const Batch& batch) {
    const auto mask = torch::ones({4, 6}).tril();
    const auto position = torch::arange(6, torch::kFloat) / 6;
    return (toy.second(toy.first(batch[0])) * mask + position + torch::zeros({6})).sum();
  };
  expect_captured(forward);
  EXPECT_TRUE(graph_of(forward).constants.empty());
}

TEST(Capture, TensorsOfTheHostAreListedConstants) {
  const ToyImpl::Forward forward = [](ToyImpl& toy, const Batch& batch) {
    const auto weights = torch::tensor({1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f});
    return (toy.second(toy.first(batch[0])) * weights).mean();
  };
  expect_captured(forward);
  EXPECT_EQ(graph_of(forward).constants.size(), 1u);
}

TEST(Capture, LossesAndLayersThatModelsUse) {
  expect_captured([](ToyImpl& toy, const Batch& batch) {
    return torch::cross_entropy_loss(toy.second(torch::tanh(toy.first(batch[0]))), batch[1]);
  });
  expect_captured([](ToyImpl& toy, const Batch& batch) {
    return F::mse_loss(toy.second(torch::sigmoid(toy.first(batch[0]))), batch[0]);
  });
  expect_captured([](ToyImpl& toy, const Batch& batch) {
    return F::smooth_l1_loss(toy.second(torch::silu(toy.first(batch[0]))), batch[0]);
  });
  expect_captured([](ToyImpl& toy, const Batch& batch) {
    return F::binary_cross_entropy_with_logits(toy.second(F::elu(toy.first(batch[0]))),
                                               (batch[0] > 0).to(torch::kFloat));
  });
  expect_captured([](ToyImpl& toy, const Batch& batch) {
    return F::kl_div(torch::log_softmax(toy.second(toy.first(batch[0])), 1), torch::softmax(batch[0], 1));
  });
  expect_captured([](ToyImpl& toy, const Batch& batch) {
    return torch::logsumexp(
               F::layer_norm(toy.second(F::softplus(toy.first(batch[0]))), F::LayerNormFuncOptions({6})), 1)
        .var();
  });
  expect_captured([](ToyImpl& toy, const Batch& batch) {
    return torch::rms_norm(toy.second(toy.first(batch[0])), {6}, toy.scale).pow(2).mean();
  });
  const auto reduced_by = [](torch::Tensor (*reduce)(const torch::Tensor&)) {
    return [reduce](ToyImpl& toy, const Batch& batch) {
      return reduce(toy.second(F::leaky_relu(toy.first(batch[0]))));
    };
  };
  expect_captured(reduced_by([](const torch::Tensor& h) {
    return torch::cat({h.abs(), h.flip(1)}, 1).std();
  }));
  expect_captured(reduced_by([](const torch::Tensor& h) {
    return torch::stack({h.cumsum(1), h.roll(1, 0)}).std();
  }));
  expect_captured(reduced_by([](const torch::Tensor& h) { return std::get<0>(h.sort(1)).std() + h.amax(); }));
  expect_captured(reduced_by([](const torch::Tensor& h) { return torch::where(h > 0, h, -h).mean(); }));
  expect_captured(reduced_by([](const torch::Tensor& h) {
    return torch::einsum("bi,bj->ij", {h, h.detach()}).clamp(-1, 1).sum();
  }));
}

// The CPU's flash kernel takes fewer heads of keys and values as they are: one node, forward and backward.
TEST(Capture, GroupedQueryAttentionIsOneNode) {
  const auto forward = [](ToyImpl& toy, const Batch& batch) {
    const auto heads = toy.second(toy.first(batch[0])).view({1, 4, 3, 2});
    const auto shared = heads.slice(2, 0, 1).transpose(1, 2);
    return torch::scaled_dot_product_attention(heads.transpose(1, 2), shared, shared, {}, 0.0, true,
                                               std::nullopt,
                                               /*enable_gqa=*/true)
        .pow(2)
        .mean();
  };
  expect_captured(forward);
  const auto graph = graph_of(forward);
  EXPECT_EQ(std::ranges::count(graph.nodes, "aten::_scaled_dot_product_fused_attention_overrideable",
                               &graph::Node::op),
            1);
}

TEST(Capture, BuffersAreRead) {
  expect_captured(
      [](ToyImpl& toy, const Batch& batch) { return (toy.second(toy.first(batch[0])) * toy.scale).mean(); });
}

TEST(Capture, FrozenAndUnusedParametersHaveNoGradient) {
  const auto model = describe(
      [] { return Toy([](ToyImpl& toy, const Batch& batch) { return toy.first(batch[0]).pow(2).mean(); }); });
  model.module->first->bias.requires_grad_(false);
  const auto types = std::vector{graph::type_of(sample()[0]), graph::type_of(sample()[1])};
  const graph::Graph graph =
      capture::capture_training(kernels::cpu(), with_loss(model, call), types, Precision::kFP32);
  ASSERT_EQ(graph.gradients.size(), 1u);
  EXPECT_EQ(graph.gradients[0].parameter, "first.weight");
}

TEST(Capture, TiedWeightHasOneContributionForEachUse) {
  const auto graph = graph_of([](ToyImpl& toy, const Batch& batch) {
    const auto h = torch::linear(batch[0], toy.first->weight);
    return torch::linear(h, toy.first->weight.t()).pow(2).mean();
  });
  ASSERT_EQ(graph.gradients.size(), 1u);
  EXPECT_EQ(graph.gradients[0].contributions.size(), 2u);
}

TEST(Capture, Bf16CastsInputsWeightsAndWidensLosses) {
  check_capture(describe([] {
                  return Toy([](ToyImpl& toy, const Batch& batch) {
                    return torch::cross_entropy_loss(toy.second(toy.first(batch[0])), batch[1]);
                  });
                }),
                call, sample(), Precision::kBF16);
}

// A module of convolutions with batch norm, whose forward and layout of images are given by the test.
struct PictureImpl : nn::Module {
  using Forward = std::function<torch::Tensor(PictureImpl&, const torch::Tensor&)>;
  explicit PictureImpl(Forward forward_in) : forward(std::move(forward_in)) {
    conv = register_module("conv", nn::Conv2d(nn::Conv2dOptions(4, 6, 3).padding(1)));
    norm = register_module("norm", nn::BatchNorm2d(6));
    deconv = register_module(
        "deconv", nn::ConvTranspose2d(nn::ConvTranspose2dOptions(6, 2, 3).stride(2).output_padding(1)));
  }
  nn::Conv2d conv{nullptr};
  nn::BatchNorm2d norm{nullptr};
  nn::ConvTranspose2d deconv{nullptr};
  Forward forward;
};
TORCH_MODULE(Picture);

TEST(Capture, ConvolutionsPoolingAndBatchNorm) {
  const PictureImpl::Forward forwards[] = {
      [](PictureImpl& p, const torch::Tensor& x) { return torch::relu(p.norm(p.conv(x))).pow(2).mean(); },
      [](PictureImpl& p, const torch::Tensor& x) {
        return p.norm(p.conv(x.contiguous(torch::MemoryFormat::ChannelsLast))).pow(2).mean();
      },
      [](PictureImpl& p, const torch::Tensor& x) {
        return p.norm(torch::max_pool2d(p.conv(x), 2)).pow(3).mean();
      },
      [](PictureImpl& p, const torch::Tensor& x) {
        return (torch::adaptive_avg_pool2d(p.conv(x), {2, 2}).pow(2).sum() +
                torch::adaptive_avg_pool2d(p.conv(x), {1, 1}).sum() +
                torch::avg_pool2d(p.conv(x), 3, 2).pow(2).sum());
      },
      [](PictureImpl& p, const torch::Tensor& x) { return p.deconv(p.conv(x)).pow(2).mean(); },
      [](PictureImpl& p, const torch::Tensor& x) {
        const auto weight = p.conv->weight.slice(1, 0, 1);
        return F::conv2d(p.conv(x), weight, F::Conv2dFuncOptions().stride(2).dilation(2).groups(6))
            .pow(2)
            .mean();
      },
      [](PictureImpl& p, const torch::Tensor& x) {
        return F::batch_norm(p.conv(x), {}, {}, F::BatchNormFuncOptions().training(true)).pow(3).mean();
      },
      [](PictureImpl& p, const torch::Tensor& x) {
        return F::instance_norm(p.conv(x), F::InstanceNormFuncOptions()
                                               .running_mean(p.norm->running_mean)
                                               .running_var(p.norm->running_var)
                                               .use_input_stats(p.is_training()))
            .pow(3)
            .mean();
      },
  };
  const auto images = torch::linspace(-1, 1, 2 * 4 * 7 * 8).pow(3).view({2, 4, 7, 8});
  const auto loss = [](Picture& picture, const Batch& batch) { return picture->forward(*picture, batch[0]); };
  for (size_t i = 0; i < std::size(forwards); ++i)
    for (const Precision precision : {Precision::kFP32, Precision::kBF16}) {
      SCOPED_TRACE(i);
      EXPECT_NO_THROW(
          check_capture(describe([&] { return Picture(forwards[i]); }), loss, {images}, precision));
    }
}

TEST(Capture, ALlamaInBf16) {
  const auto tokens = torch::arange(12).view({2, 6});
  const auto loss = [](models::Llama& llama, const Batch& batch) {
    return torch::cross_entropy_loss(llama(batch[0]).view({12, 13}), batch[0].view({12}));
  };
  check_capture(
      describe([] {
        return models::Llama(models::LlamaConfig{
            .vocabulary = 13, .layers = 1, .width = 24, .heads = 4, .kv_heads = 2, .tied_head = true});
      }),
      loss, {tokens}, Precision::kBF16);
}

TEST(Capture, ReadingANumberIsRefused) {
  expect_refused(
      [](ToyImpl& toy, const Batch& batch) {
        return toy.first(batch[0]).mean() * (batch[0].sum().item<float>() > 0 ? 1 : 2);
      },
      "capture - operator aten::_local_scalar_dense: it reads a number (item(), a condition on a tensor, "
      "printing): keep it a tensor, for example "
      "torch::where instead of if");
}

TEST(Capture, LossMustBeOneDifferentiableNumber) {
  expect_refused([](ToyImpl& toy, const Batch& batch) { return toy.first(batch[0]); },
                 "loss - shape: got [4,5], want a scalar; reduce it, for example with mean()");
  expect_refused([](ToyImpl&, const Batch& batch) { return batch[0].mean(); },
                 "loss - gradient: it does not depend on any parameter that requires a gradient; check "
                 "detach(), no_grad and frozen parameters");
  expect_refused([](ToyImpl&, const Batch&) { return torch::Tensor(); },
                 "loss - value: got an undefined tensor, want a scalar");
  expect_refused([](ToyImpl&, const Batch& batch) { return batch[1].sum(); },
                 "loss - dtype: got i64, want a floating-point scalar");
}

TEST(Capture, ABatchNormsStatisticsAreUpdatedApart) {
  const auto model =
      with_loss(describe([] { return nn::BatchNorm1d(6); }),
                [](nn::BatchNorm1d& norm, const Batch& batch) { return norm(batch[0]).pow(3).mean(); });
  const std::vector types = {graph::type_of(sample()[0])};
  const graph::Graph graph = capture::capture_training(kernels::cpu(), model, types, Precision::kFP32);
  EXPECT_EQ(graph.buffer_update.buffers,
            (std::vector<std::string>{"running_mean", "running_var", "num_batches_tracked"}));
  EXPECT_EQ(graph.buffer_update.observed.size(), 2u);
  EXPECT_EQ(std::ranges::count(graph.inputs, graph::InputKind::kBuffer, &graph::Input::kind), 0);
  EXPECT_EQ(graph::print(graph::parse(graph::print(graph))), graph::print(graph));

  // In eval mode the running statistics are read, and nothing changes.
  model.module->eval();
  const graph::Graph eval = capture::capture_training(kernels::cpu(), model, types, Precision::kFP32);
  EXPECT_TRUE(eval.buffer_update.buffers.empty());
  EXPECT_EQ(std::ranges::count(eval.inputs, graph::InputKind::kBuffer, &graph::Input::kind), 2);
}

TEST(Capture, ChangedBuffersAreRefused) {
  expect_refused(
      [](ToyImpl& toy, const Batch& batch) {
        toy.scale.mul_(0.9);
        return (toy.second(toy.first(batch[0])) * toy.scale).mean();
      },
      "capture - buffer scale: forward changes it, and what it computes depends on the value before, so that "
      "no "
      "microbatch could begin before the last one ended; let only the buffer's own new value depend on it");
  expect_refused(
      [](ToyImpl& toy, const Batch& batch) {
        toy.scale.mul_(torch::dropout(toy.scale, 0.5, true));
        return toy.second(toy.first(batch[0])).mean();
      },
      "capture - operator aten::native_dropout: a buffer's new value depends on its random numbers; keep "
      "them out "
      "of it");
  expect_refused(
      [](ToyImpl& toy, const Batch& batch) {
        const auto result = toy.second(toy.first(batch[0])).mean();
        const torch::NoGradGuard no_grad;
        toy.first->bias.mul_(0.9);
        return result;
      },
      "capture - parameter first.bias: forward changes it, which is not supported; keep forward free of side "
      "effects on it");
}

TEST(Capture, SizesThatDependOnDataAreRefused) {
  expect_refused(
      [](ToyImpl& toy, const Batch& batch) {
        return toy.first(batch[0]).masked_select(batch[0].slice(1, 0, 5) > 0).mean();
      },
      "capture - operator aten::masked_select: its result's size depends on the data: use torch::where or "
      "masked_fill");
}

TEST(Capture, TensorsThatTheConstructorKeepsToItselfAreRefused) {
  auto kept = std::make_shared<torch::Tensor>();
  const auto model = describe([&] {
    *kept = torch::randn({5});
    return Toy([kept](ToyImpl& toy, const Batch& batch) { return (toy.first(batch[0]) * *kept).mean(); });
  });
  EXPECT_ERROR(check_capture(model, call, sample()), InputError,
               "capture - tensor [5]: it was made by the constructor of a described model, which kept it "
               "without registering it; use register_buffer");
}

TEST(Capture, AutocastIsRefused) {
  expect_refused(
      [](ToyImpl& toy, const Batch& batch) {
        at::autocast::set_autocast_enabled(at::kCPU, true);
        struct Off {
          ~Off() { at::autocast::set_autocast_enabled(at::kCPU, false); }
        } off;
        return toy.first(batch[0]).mean();
      },
      "capture - autocast: it is switched on in forward and would have no effect here; use Precision::kBF16 "
      "instead");
}

TEST(Capture, TheModelsOwnMistakesAreSentences) {
  expect_refused([](ToyImpl& toy, const Batch& batch) { return toy.second(batch[0]).mean(); },
                 "capture - model: mat1 and mat2 shapes cannot be multiplied (4x6 and 5x6); in "
                 "aten::addmm(parameter second.bias f32[6], f32[4,6], f32[5,6])");
  expect_refused(
      [](ToyImpl& toy, const Batch& batch) {
        return toy.first(batch[0]).mean() * batch[0].data_ptr<float>()[0];
      },
      "capture - model: it reads the numbers of a tensor while it is captured (data_ptr, an accessor, "
      "printing), and there are none yet: keep the computation in tensor operators (torch::where instead of "
      "if), and print outside of forward");
}

TEST(Capture, HostStateThatChangesIsFound) {
  auto calls = std::make_shared<int>(0);
  const auto model = describe([&] {
    return Toy([calls](ToyImpl& toy, const Batch& batch) { return toy.first(batch[0]).mean() * ++*calls; });
  });
  try {
    check_capture(model, call, sample());
    FAIL() << "nothing was thrown";
  } catch (const InputError& error) {
    const std::string message = error.what();
    EXPECT_TRUE(message.starts_with("capture - model: each call of it computes something else (first ")) << message;
    EXPECT_TRUE(message.ends_with("its code goes on with something of the host that it changes itself (a counter, "
                                  "rand()); draw by torch::rand, or count outside of forward, between steps"))
        << message;
  }
}

TEST(Capture, DropoutIsCapturedAsItTrains) {
  const auto model = describe([] {
    return Toy([](ToyImpl& toy, const Batch& batch) {
      return torch::dropout(toy.first(batch[0]), 0.5, toy.is_training()).mean();
    });
  });
  check_capture(model, call, sample());
  const auto graph = graph_of(
      [](ToyImpl& toy, const Batch& batch) { return torch::dropout(toy.first(batch[0]), 0.5, true).mean(); });
  EXPECT_EQ(std::count_if(graph.nodes.begin(), graph.nodes.end(),
                          [](const auto& node) { return node.random >= 0; }),
            1);
}

TEST(Capture, TextOfACapturedGraphParses) {
  const auto graph = graph_of([](ToyImpl& toy, const Batch& batch) {
    return torch::cross_entropy_loss(toy.second(torch::gelu(toy.first(batch[0]))), batch[1]);
  });
  EXPECT_EQ(graph::print(graph::parse(graph::print(graph))), graph::print(graph));
}

TEST(Describe, DrawsTheConstructorsNumbers) {
  struct NetImpl : nn::Module {
    NetImpl() {
      a = register_module("a", nn::Linear(7, 3));
      e = register_module("e", nn::Embedding(11, 4));
      n = register_module("n", nn::LayerNorm(nn::LayerNormOptions({4})));
      const torch::NoGradGuard no_grad;
      nn::init::xavier_uniform_(a->weight);
      nn::init::kaiming_normal_(e->weight);
      e->weight.select(0, 0).zero_();
      free = register_parameter("free", torch::randn({3, 3}) * 0.1 + torch::eye(3));
    }
    nn::Linear a{nullptr};
    nn::Embedding e{nullptr};
    nn::LayerNorm n{nullptr};
    torch::Tensor free;
  };
  using Net = nn::ModuleHolder<NetImpl>;
  torch::manual_seed(42);
  Net eager{std::make_shared<NetImpl>()};
  const auto described = describe([] { return Net{std::make_shared<NetImpl>()}; });
  World world(comm::single());
  Trainer trainer(world, described,
                  [](Net& net, const Batch& batch) {
                    return (net->a(batch[0]).matmul(net->free)).mean() + net->n(net->e(batch[1])).sum();
                  },
                  {.seed = 42});
  trainer.prepare({torch::ones({2, 7}), torch::zeros({2}, torch::kLong)});
  for (const auto& parameter : eager->named_parameters())
    EXPECT_TRUE(torch::equal(trainer.parameter(parameter.key()), parameter.value())) << parameter.key();
}

}  // namespace
}  // namespace shoal
