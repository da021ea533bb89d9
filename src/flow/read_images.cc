// Folders of PNG and JPEG: a file is a record, its folder's name the label.
#include <filesystem>

#include "base/text.h"
#include "flow/image.h"
#include "flow/keeping_pool.h"
#include "flow/readers.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

class ImageReader final : public Reader {
 public:
  ImageReader(const SourceFile& file, const SchemaPtr& schema, BadRecords& bad)
      : file_(file), schema_(schema), bad_(bad) {}

  Batch next() override {
    if (done_) return nullptr;
    done_ = true;
    const Input input(file_.path);
    input.expect_unchanged(file_.state);
    std::vector<std::byte> bytes(static_cast<size_t>(file_.state.bytes));
    const size_t got = input.read(0, bytes);
    input.expect_unchanged(file_.state);
    Image image;
    const std::string wrong = decode_image(std::span(bytes).first(got), image);
    if (!wrong.empty()) {
      bad_.add(file_.path, 0, 0, wrong, "");
      return nullptr;
    }
    const std::string label = std::filesystem::path(file_.path).parent_path().filename().string();
    return arrow::RecordBatch::Make(schema_, 1,
                                    {text(file_.path), text(label), number(image.width), number(image.height),
                                     number(image.channels), pixels(image.pixels)});
  }

 private:
  ArrayPtr text(const std::string& one) const {
    arrow::StringBuilder builder;
    require(builder.Append(one), file_.path);
    return value(builder.Finish(), file_.path);
  }
  ArrayPtr number(int64_t one) const {
    arrow::Int64Builder builder;
    require(builder.Append(one), file_.path);
    return value(builder.Finish(), file_.path);
  }
  ArrayPtr pixels(const std::string& one) const {
    arrow::BinaryBuilder builder(&memory());
    require(builder.Append(one), file_.path);
    return value(builder.Finish(), file_.path);
  }

  SourceFile file_;
  SchemaPtr schema_;
  BadRecords& bad_;
  bool done_ = false;
};

}  // namespace

std::unique_ptr<Reader> read_image(const SourceFile& file, const SchemaPtr& schema, BadRecords& bad) {
  return std::make_unique<ImageReader>(file, schema, bad);
}

SchemaPtr schema_of_images() {
  return arrow::schema({arrow::field("path", arrow::utf8()), arrow::field("label", arrow::utf8()),
                        arrow::field("width", arrow::int64()), arrow::field("height", arrow::int64()),
                        arrow::field("channels", arrow::int64()), arrow::field("pixels", arrow::binary())});
}

}  // namespace shoal::flow
