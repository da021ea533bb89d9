// Convolutional models in the style of public programs (CycleGAN, SegNet, U-Net, networks on volumes),
// divided by tensor chunks.
#include "divided_models.h"

namespace shoal {
namespace {

namespace nn = torch::nn;
namespace F = torch::nn::functional;
using test::DividedModel;
using test::expect_one_answer;
using torch::Tensor;

void expect_no_operator_without_a_rule(const std::string& plan) {
  EXPECT_EQ(plan.find("no rule divides"), std::string::npos) << plan.substr(plan.find("cut map"), 600);
}

// A generator of CycleGAN: reflection pads, instance norms, in-place activations, a residual block.
struct GeneratorImpl : nn::Module {
  nn::Sequential model;
  GeneratorImpl() {
    const auto norm = [] { return nn::InstanceNorm2d(nn::InstanceNorm2dOptions(8).affine(true)); };
    const auto relu = [] { return nn::ReLU(nn::ReLUOptions(true)); };
    model->push_back(nn::ReflectionPad2d(1));
    model->push_back(nn::Conv2d(nn::Conv2dOptions(4, 8, 3)));
    model->push_back(norm());
    model->push_back(relu());
    model->push_back(nn::Conv2d(nn::Conv2dOptions(8, 8, 3).stride(2).padding(1)));
    model->push_back(norm());
    model->push_back(nn::LeakyReLU(nn::LeakyReLUOptions().negative_slope(0.2).inplace(true)));
    model->push_back(
        nn::ConvTranspose2d(nn::ConvTranspose2dOptions(8, 8, 3).stride(2).padding(1).output_padding(1)));
    model->push_back(norm());
    model->push_back(relu());
    model->push_back(nn::ReflectionPad2d(1));
    model->push_back(nn::Conv2d(nn::Conv2dOptions(8, 4, 3)));
    model->push_back(nn::Tanh());
    register_module("model", model);
  }
  Tensor forward(const Tensor& x) { return model->forward(x); }
};
TORCH_MODULE(Generator);

TEST(ImageModels, AGeneratorWithInstanceNorms) {
  expect_no_operator_without_a_rule(expect_one_answer(
      {with_loss(describe([] { return Generator(); }),
                 [](Generator& net, const Batch& batch) { return torch::l1_loss(net(batch[0]), batch[1]); }),
       [](int64_t seed) -> Batch {
         return {test::normal({4, 4, 8, 8}, seed), test::normal({4, 4, 8, 8}, seed + 500)};
       }}));
}

// SegNet: pooling keeps where its maxima were, and the decoder puts them back there.
struct SegNetImpl : nn::Module {
  nn::Conv2d down{register_module("down", nn::Conv2d(nn::Conv2dOptions(4, 8, 3).padding(1)))},
      middle{register_module("middle", nn::Conv2d(nn::Conv2dOptions(8, 8, 3).padding(1)))},
      up{register_module("up", nn::Conv2d(nn::Conv2dOptions(8, 8, 3).padding(1)))};
  nn::BatchNorm2d norm{register_module("norm", nn::BatchNorm2d(8))};
  Tensor forward(const Tensor& x) {
    const auto [pooled, places] = torch::max_pool2d_with_indices(torch::relu(norm(down(x))), {2, 2});
    const auto [small, small_places] = F::max_pool2d_with_indices(
        torch::relu(middle(pooled)), F::MaxPool2dFuncOptions(2).stride(2));
    const Tensor larger = F::max_unpool2d(small, small_places, F::MaxUnpool2dFuncOptions(2));
    return up(F::max_unpool2d(larger, places, F::MaxUnpool2dFuncOptions(2)));
  }
};
TORCH_MODULE(SegNet);

TEST(ImageModels, SegNetUnpools) {
  expect_no_operator_without_a_rule(expect_one_answer(
      {with_loss(describe([] { return SegNet(); }),
                 [](SegNet& net, const Batch& batch) {
                   return torch::cross_entropy_loss(net(batch[0]), batch[1]);
                 }),
       [](int64_t seed) -> Batch {
         return {test::normal({4, 4, 8, 8}, seed), test::classes({4, 8, 8}, 8, seed)};
       }}));
}

// Volumes: averages, maxima, replication pads and adaptive pooling in three dims.
struct VolumesImpl : nn::Module {
  nn::Conv3d a{register_module("a", nn::Conv3d(nn::Conv3dOptions(4, 8, 3)))},
      b{register_module("b", nn::Conv3d(nn::Conv3dOptions(8, 16, 3).padding(1)))};
  nn::Linear last{register_module("last", nn::Linear(16 * 8, 8))};
  Tensor forward(const Tensor& x) {
    const Tensor padded = F::pad(x, F::PadFuncOptions({1, 1, 1, 1, 1, 1}).mode(torch::kReplicate));
    const Tensor y = torch::relu(torch::avg_pool3d(a(padded), 2));
    const Tensor z = torch::adaptive_avg_pool3d(torch::max_pool3d(torch::relu(b(y)), 2), {2, 2, 2});
    return last(z.flatten(1));
  }
};
TORCH_MODULE(Volumes);

TEST(ImageModels, ANetworkOnVolumes) {
  expect_no_operator_without_a_rule(expect_one_answer(
      {with_loss(describe([] { return Volumes(); }),
                 [](Volumes& net, const Batch& batch) {
                   return torch::cross_entropy_loss(net(batch[0]), batch[1]);
                 }),
       [](int64_t seed) -> Batch {
         return {test::normal({4, 4, 8, 8, 8}, seed), test::classes({4}, 8, seed)};
       },
       2e-4, /*in_bf16=*/false}));
}

// U-Net: what went down is put beside what comes up; every kind of interpolation and of pad on the way.
struct UNetImpl : nn::Module {
  nn::Conv2d down{register_module("down", nn::Conv2d(nn::Conv2dOptions(4, 8, 3).padding(1).padding_mode(
                                              torch::kReflect)))},
      bottom{register_module("bottom", nn::Conv2d(nn::Conv2dOptions(8, 8, 3).padding(1).padding_mode(
                                           torch::kCircular)))},
      up{register_module("up", nn::Conv2d(nn::Conv2dOptions(16, 16, 3).padding(1).padding_mode(
                                   torch::kReplicate)))},
      last{register_module("last", nn::Conv2d(4, 4, 1))};
  nn::GroupNorm norm{register_module("norm", nn::GroupNorm(4, 8))};
  Tensor forward(const Tensor& x) {
    const Tensor left = torch::gelu(norm(down(x)));
    const Tensor low = torch::relu(bottom(torch::avg_pool2d(left, 2)));
    const auto resized = [&](auto mode, bool corners) {
      auto options = F::InterpolateFuncOptions().size(std::vector<int64_t>{8, 8}).mode(mode);
      return F::interpolate(low, corners ? options.align_corners(false) : options);
    };
    const Tensor right =
        resized(torch::kBilinear, true) + resized(torch::kBicubic, true) + resized(torch::kNearest, false);
    return last(torch::pixel_shuffle(torch::relu(up(torch::cat({left, right}, 1))), 2));
  }
};
TORCH_MODULE(UNet);

TEST(ImageModels, UNetJoinsWhatWentDown) {
  expect_no_operator_without_a_rule(expect_one_answer(
      {with_loss(describe([] { return UNet(); }),
                 [](UNet& net, const Batch& batch) { return torch::mse_loss(net(batch[0]), batch[1]); }),
       [](int64_t seed) -> Batch {
         return {test::normal({4, 4, 8, 8}, seed), test::normal({4, 4, 16, 16}, seed + 500)};
       }}));
}

// Patches as matrices and back, a spatial transformer's grid, and neighbours' response norm.
struct PatchesImpl : nn::Module {
  nn::Conv2d a{register_module("a", nn::Conv2d(nn::Conv2dOptions(4, 8, 3).padding(1)))};
  nn::Linear patch{register_module("patch", nn::Linear(8 * 4, 8 * 4))},
      place{register_module("place", nn::Linear(8, 6))};
  nn::LocalResponseNorm norm{register_module("norm", nn::LocalResponseNorm(3))};
  Tensor forward(const Tensor& x) {
    const Tensor y = norm(torch::relu(a(x)).to(torch::kFloat)).to(x.dtype());
    const Tensor columns = patch(torch::im2col(y, {2, 2}, {1, 1}, {0, 0}, {2, 2}).transpose(1, 2));
    const Tensor image = torch::col2im(columns.transpose(1, 2), {8, 8}, {2, 2}, {1, 1}, {0, 0}, {2, 2});
    const Tensor theta = place(y.mean({2, 3})).view({-1, 2, 3});
    const Tensor grid = torch::affine_grid_generator(theta, {x.size(0), 8, 8, 8}, false);
    return torch::channel_shuffle(torch::grid_sampler(image, grid, 0, 0, false), 2);
  }
};
TORCH_MODULE(Patches);

TEST(ImageModels, PatchesAndGrids) {
  expect_no_operator_without_a_rule(expect_one_answer(
      {with_loss(describe([] { return Patches(); }),
                 [](Patches& net, const Batch& batch) { return torch::mse_loss(net(batch[0]), batch[1]); }),
       [](int64_t seed) -> Batch {
         return {test::normal({4, 4, 8, 8}, seed), test::normal({4, 8, 8, 8}, seed + 500)};
       }}));
}

}  // namespace
}  // namespace shoal
