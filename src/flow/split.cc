#include "flow/split.h"

#include <cmath>
#include <set>

#include "base/hash.h"
#include "base/random.h"
#include "base/text.h"
#include "flow/key.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

bool is_name(const std::string& name) {
  static constexpr std::string_view kSigns =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
  return !name.empty() && name.find_first_not_of(kSigns) == std::string::npos;
}

class Split final : public Operator {
 public:
  Split(const flow_steps::Split& step, const SchemaPtr& in, const std::string& place)
      : step_(step), place_(place), encoder_(in, key_columns(step.by), place) {
    if (step.by.empty())
      throw InputError(cat(place, ": by: got no column, want at least one, as by = [\"id\"]"));
    double sum = 0;
    std::set<std::string> names;
    for (const auto& [name, share] : step.parts) {
      if (!is_name(name) || !names.insert(name).second)
        throw InputError(cat(place, ": parts: got the name '", name,
                             "', want letters, digits and _, each name once: they are folders"));
      if (!(share >= 0 && share <= 1))
        throw InputError(cat(place, ": parts, ", name, ": got ", share, ", want 0 to 1"));
      sum += share;
      bounds_.push_back(sum);
    }
    if (!(std::abs(sum - 1) < 1e-9))
      throw InputError(cat(place, ": parts: got shares of ", sum, " in all, want 1"));
    schema_ = value(in->AddField(in->num_fields(), arrow::field(kSplitColumn, arrow::int32())), place);
  }
  const SchemaPtr& out_schema() const override { return schema_; }
  Names needs(const Names& wanted) const override {
    Names names = wanted;
    names.erase(kSplitColumn);
    encoder_.add_names(names);
    return names;
  }
  Batch apply(const Batch& batch) override {
    const Keys keys = encoder_.encode(*batch);
    arrow::Int32Builder parts;
    for (int64_t row = 0; row < keys.size(); ++row) {
      const double draw = random_unit(step_.seed, 0, hash_bits(keys[row]));
      size_t part = 0;
      while (part + 1 < bounds_.size() && draw >= bounds_[part]) ++part;
      require(parts.Append(static_cast<int32_t>(part)), place_);
    }
    std::vector<ArrayPtr> columns = batch->columns();
    columns.push_back(value(parts.Finish(), place_));
    return arrow::RecordBatch::Make(schema_, batch->num_rows(), columns);
  }

 private:
  flow_steps::Split step_;
  std::string place_;
  KeyEncoder encoder_;
  std::vector<double> bounds_;
  SchemaPtr schema_;
};

}  // namespace

std::unique_ptr<Operator> make_split(const flow_steps::Split& step, const SchemaPtr& in,
                                     const std::string& place) {
  return std::make_unique<Split>(step, in, place);
}

}  // namespace shoal::flow
