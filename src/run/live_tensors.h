// Where the numbers of a module's tensors are while a Trainer trains it: in that Trainer's memory, not in the
// module. A World has one list, so that a model can compute with what another Trainer of the World trains (the
// other half of a GAN, a target network).
#pragma once

#include <ATen/core/TensorBody.h>

#include <functional>
#include <string>
#include <vector>

namespace shoal::run {

/// Belongs to the World's thread.
class LiveTensors {
 public:
  struct Entry {
    const void* owner;
    std::string name;     // in the module
    at::Tensor original;  // the module's
    /// The whole value of now, on this device; undefined while there is none. What it reads of other devices
    /// must not be written between two steps (DeviceMemory::gather).
    std::function<at::Tensor()> value;
  };

  void add(Entry);
  void remove(const void* owner);
  /// The tensor itself, or else one whose memory it lies in; null when there is none.
  const Entry* find(const at::Tensor&) const;

 private:
  std::vector<Entry> entries_;
};

}  // namespace shoal::run
