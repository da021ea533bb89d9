// The module's own tensors while its code runs under capture.
#pragma once

#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

#include "capture/capture.h"

namespace shoal::capture {

/// While it lives, reading or writing the tensors' numbers past the operators throws, and nobody else reads modules
/// (reading_modules). What set_data did to the tensors is undone when it ends.
class OwnTensors {
 public:
  explicit OwnTensors(const NamedTensors& tensors);
  ~OwnTensors();
  OwnTensors(const OwnTensors&) = delete;
  OwnTensors& operator=(const OwnTensors&) = delete;

  /// Throws InputError when set_data gave one of them other data.
  void check() const;

 private:
  struct Own {
    std::string name;
    at::Tensor tensor, before;
    c10::Storage storage;
  };
  static bool is_changed(const Own& own);

  std::unique_lock<std::shared_mutex> alone_;
  std::vector<Own> all_;
};

}  // namespace shoal::capture
