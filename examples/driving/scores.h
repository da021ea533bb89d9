// How good a segmentation is: intersection over union of each class, over all pixels of all frames.
#pragma once

#include <torch/torch.h>

#include <cstdio>
#include <string>

#include "frames.h"

class Scores {
 public:
  /// Classes of pixels, of one shape.
  void add(const torch::Tensor& truth, const torch::Tensor& said) {
    const auto pairs = truth.to(torch::kLong) * kClasses + said.to(torch::kLong);
    counts_ += torch::bincount(pairs.flatten(), {}, kClasses * kClasses).view({kClasses, kClasses});
  }

  double iou(int64_t c) const {
    const auto both = counts_[c][c].item<double>();
    const auto either = counts_[c].sum().item<double>() + counts_.select(1, c).sum().item<double>() - both;
    return either > 0 ? both / either : 1;
  }
  double mean_iou() const {
    double sum = 0;
    for (int64_t c = 0; c < kClasses; ++c) sum += iou(c);
    return sum / kClasses;
  }

  /// "model     IoU other 0.981  road 0.975  obstacle 0.702  mean 0.886"
  void print(const std::string& name) const {
    std::printf("%-9s IoU", name.c_str());
    for (int64_t c = 0; c < kClasses; ++c)
      std::printf(" %s %.3f ", kClassNames[static_cast<size_t>(c)].c_str(), iou(c));
    std::printf(" mean %.3f\n", mean_iou());
  }

 private:
  torch::Tensor counts_ = torch::zeros({kClasses, kClasses}, torch::kLong);  // [truth, said]
};

/// The most frequent class of each place in the picture, over the training frames: what a camera that never
/// looks says.
inline torch::Tensor most_frequent_classes(const shoal::SampleStore& store) {
  auto counts = torch::zeros({kClasses, kHeight, kWidth}, torch::kLong);
  for (int64_t i = 0; i < store.num_training(); ++i) {
    const auto label = store.training(i)[1].to(torch::kLong);
    counts += torch::one_hot(label, kClasses).permute({2, 0, 1});
  }
  return counts.argmax(0);
}
