// What a built module and its trainer have in common between steps: the numbers.
//
// From the first capture on they are the trainer's. Where a device keeps a parameter whole and in fp32, the
// module's tensor has the trainer's own memory: it reads the trained numbers and writes to them. Elsewhere
// the module has no numbers until update() writes them there. What the user wrote is found by follow().
// Collective calls are the same on all devices, whether they have the module or not.
//
// Threads: belongs to the trainer's. Devices that are threads of one process may share a module: it is linked
// to the first of them alone.
#pragma once

#include "capture/capture.h"
#include "comm/agree.h"
#include "comm/group.h"
#include "run/device_memory.h"
#include "session/lent_storage.h"

namespace shoal::session {

/// Throws InputError when the module has other tensors than `before`: one more, one less, or another one of
/// the same name.
void check_tensors(const capture::NamedTensors& before, const torch::nn::Module&);

/// Throws InputError when the numbers of a tensor are with a trainer.
void check_has_numbers(const capture::NamedTensor&);

class ModuleLink {
 public:
  /// `memory` has the module's numbers. `lends`: every device that computes keeps whole parameters, and what
  /// it writes to them counts. All of it outlives the link.
  ModuleLink(comm::Group&, run::DeviceMemory&, const capture::NamedTensors&, bool lends);
  /// On a single device the module keeps its numbers. Elsewhere it does where memory was lent.
  ~ModuleLink();
  ModuleLink(const ModuleLink&) = delete;
  ModuleLink& operator=(const ModuleLink&) = delete;

  /// What the user wrote to the module since, by whatever means: a hash of each tensor, to be agreed on before
  /// follow(), where several devices must have written the same.
  std::vector<comm::Fact> writes();
  /// Collective: takes what writes() found.
  void follow();
  /// The same for this device alone, where that is possible; else nothing.
  void follow_here();

  /// Collective: writes all numbers into the module, where it has not got them.
  void update();
  /// update() no longer holds: the trainer's numbers are about to change.
  void withhold();

  /// Collective, after the trainer's numbers changed: when it returns, the user may write to the module.
  void changed();

 private:
  // Where the module's tensor has its numbers.
  enum class Place {
    kLent,   // in the trainer's memory
    kOwn,    // in its own, where the trainer reads and writes them: buffers and what is frozen
    kAway,   // nowhere
    kShown,  // in its own: a copy that update() made
  };
  struct Entry {
    capture::NamedTensor named;
    graph::TensorType type;
    Place place = Place::kAway;
    const void* address = nullptr;  // kLent, kOwn: of its numbers
    int64_t version = 0;            // kLent, kOwn: LibTorch's count of writes
    std::string shown;              // kShown: hash of what update() wrote
  };

  bool is_changed(const Entry&, bool replaced_only) const;
  void take(Entry&);
  void connect(Entry&);
  void note(Entry&);
  void withhold(Entry&);
  at::Tensor value(const Entry&);
  void check_types() const;

  comm::Group& group_;
  run::DeviceMemory& memory_;
  const bool lends_;
  const std::shared_ptr<Lender> lender_ = std::make_shared<Lender>();
  bool linked_ = true;  // false: another device of this process has the module
  std::vector<Entry> entries_;
  std::vector<Entry*> written_;  // since the last step, as writes() found it
};

}  // namespace shoal::session
