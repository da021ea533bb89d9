#include "run/gradient_sums.h"

#include "base/text.h"
#include "comm/reduce.h"
#include "shoal/error.h"

namespace shoal::run {
namespace {

c10::ScalarType scalar_type(comm::DType dtype) {
  return dtype == comm::DType::kBF16 ? at::kBFloat16 : at::kFloat;
}

}  // namespace

GradientSums::GradientSums(const comm::Group& world, DeviceMemory& memory, Waits& waits)
    : memory_(memory), device_(memory.device()), storage_(memory.storage()) {
  if (memory.ownership().shards_gradients()) ring_.emplace(world, memory, waits);
}

comm::DType GradientSums::kernel_dtype(const lower::Contribution& target) const {
  return storage_.units[target.unit].contributions[target.index];
}

void* GradientSums::place_of(int accumulator, const lower::Contribution& target, bool adds, bool widens) {
  if (adds || (widens && kernel_dtype(target) != comm::DType::kF32)) return nullptr;
  return memory_.accumulator(accumulator, target.unit, target.index);
}

void GradientSums::store(int accumulator, const lower::Contribution& target, const at::Tensor& gradient, bool adds,
                         bool widens) {
  std::byte* const place = memory_.accumulator(accumulator, target.unit, target.index);
  if (gradient.const_data_ptr() == place) return;
  if (adds) {
    const at::Tensor dense = gradient.contiguous();
    const auto from = dense.scalar_type() == at::kBFloat16 ? comm::DType::kBF16 : comm::DType::kF32;
    device_.add_into({reinterpret_cast<float*>(place), static_cast<size_t>(dense.numel())},
                     static_cast<const std::byte*>(dense.const_data_ptr()), from);
    return;
  }
  const comm::DType dtype = widens ? comm::DType::kF32 : kernel_dtype(target);
  device_.view(place, gradient.sizes(), scalar_type(dtype)).copy_(gradient);
}

void GradientSums::add(int accumulator, int from, const std::vector<lower::Contribution>& contributions) {
  for (const auto& [u, c] : contributions)
    device_.add_into({reinterpret_cast<float*>(memory_.accumulator(accumulator, u, c)),
                      static_cast<size_t>(storage_.units[u].numel)},
                     memory_.accumulator(from, u, c), comm::DType::kF32);
}

void GradientSums::begin(const lower::Bucket& bucket, const std::vector<at::Tensor>* gradients) {
  if (gradients == nullptr) return ring_->begin({});
  ring_->begin([&](std::byte* place) {
    for (size_t i = 0; i < bucket.size(); ++i) {
      const lower::BucketItem& item = bucket[i];
      const at::Tensor& gradient = (*gradients)[i];
      const auto width = static_cast<int64_t>(gradient.element_size());
      device_.copy(place + item.offset,
                   static_cast<const std::byte*>(gradient.const_data_ptr()) + item.elements.begin * width,
                   static_cast<size_t>(item.elements.size() * width));
    }
  });
}

template <class Read>
void GradientSums::sum_terms(const lower::Sum& sum, const lower::Contribution& target, Range elements,
                             std::span<float> into, const Read& read) {
  const int64_t begin = sum.microbatches.begin;  // a subtree is the tree of its own size
  std::vector<comm::Root> roots;
  for (size_t t = 0; t < sum.terms.size(); ++t) {
    const lower::PartialSum& term = sum.terms[t];
    const std::byte* const data =
        term.dp < 0 ? reinterpret_cast<const std::byte*>(memory_.shard_accumulator(
                          term.accumulator, memory_.owner_of(target.unit, elements), target.index, elements.begin))
                    : read(term, t);
    roots.push_back({{term.microbatches.begin - begin, term.microbatches.end - begin},
                     data,
                     term.in_fp32 ? comm::DType::kF32 : kernel_dtype(target)});
  }
  if (roots.size() == 1 && roots[0].data == reinterpret_cast<const std::byte*>(into.data())) return;
  device_.sum_roots(sum.microbatches.size(), roots, into);
}

void GradientSums::sum_begun(const lower::Bucket& bucket, int active, const std::vector<lower::Sum>& sums) {
  ring_->sum_begun(active, [&] {
    for (const lower::BucketItem& item : bucket) {
      const auto width = static_cast<int64_t>(comm::element_bytes(kernel_dtype(item.target)));
      for (OwnedShard& owned : memory_.owned_of(item.target.unit)) {
        const Range elements = intersect(owned.shard.elements, item.elements);
        if (elements.empty()) continue;
        const auto bytes = static_cast<size_t>(elements.size() * width);
        const int64_t offset = item.offset + (elements.begin - item.elements.begin) * width;
        const auto read = [&](const lower::PartialSum& term, size_t) {
          if (term.dp != ring_->rank()) memory_.traffic().gradients += static_cast<int64_t>(bytes);
          return ring_->read(term.dp, offset, bytes);
        };
        for (const lower::Sum& sum : sums)
          sum_terms(sum, item.target, elements,
                    {memory_.shard_accumulator(sum.accumulator, owned, item.target.index, elements.begin),
                     static_cast<size_t>(elements.size())},
                    read);
      }
    }
  });
}

void GradientSums::sum_share(const lower::Sum& total) {
  scratch_.resize(total.terms.size());
  for (const auto& [u, share] : memory_.ownership().share(memory_.rank())) {
    const lower::Unit& unit = storage_.units[u];
    for (int64_t begin = share.begin; begin < share.end; begin += kBlockElements) {
      const Range elements{begin, std::min(begin + kBlockElements, share.end)};
      const std::span<float> gradient = memory_.gradient(u, elements);
      const auto sum = [&, u = u](size_t contribution, std::span<float> into) {
        sum_terms(total, {u, contribution}, elements, into, [&](const lower::PartialSum& term, size_t t) {
          const comm::DType dtype = term.in_fp32 ? comm::DType::kF32 : unit.contributions[contribution];
          return memory_.read_sum(term, u, contribution, elements, dtype, scratch_[t]);
        });
      };
      sum(0, gradient);
      for (size_t c = 1; c < unit.contributions.size(); ++c) {
        if (!addend_.defined() || addend_.numel() < elements.size())
          addend_ = device_.empty({elements.size()}, at::kFloat);
        auto* const addend = addend_.mutable_data_ptr<float>();
        sum(c, {addend, gradient.size()});
        device_.add_into(gradient, reinterpret_cast<const std::byte*>(addend), comm::DType::kF32);
      }
      memory_.square(unit.first_block + begin / kBlockElements) = device_.sum_of_squares(gradient);
    }
  }
}

}  // namespace shoal::run
