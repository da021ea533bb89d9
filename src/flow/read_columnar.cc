// Parquet by row groups, Arrow IPC by batches. Dictionaries come as their values.
#include <arrow/compute/api.h>
#include <arrow/ipc/api.h>
#include <parquet/arrow/reader.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>

#include "base/text.h"
#include "flow/keeping_pool.h"
#include "flow/readers.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

std::unique_ptr<parquet::arrow::FileReader> open_parquet(const std::string& path, const Input& input) {
  parquet::arrow::FileReaderBuilder builder;
  if (const arrow::Status status = builder.Open(input.file(), parquet::ReaderProperties(&memory())); !status.ok())
    throw InputError(cat(path, " - not Parquet: ", reason(status)));
  parquet::ArrowReaderProperties properties(/*use_threads=*/false);
  properties.set_batch_size(16'384);
  properties.set_pre_buffer(false);  // it would hold all row groups of a part at once
  builder.properties(properties);
  builder.memory_pool(&memory());
  return value(builder.Build(), path);
}

std::shared_ptr<arrow::ipc::RecordBatchFileReader> open_ipc(const std::string& path, const Input& input,
                                                            const std::vector<int>& columns = {}) {
  arrow::ipc::IpcReadOptions options;
  options.use_threads = false;
  options.memory_pool = &memory();
  options.included_fields = columns;  // none: all
  auto reader = arrow::ipc::RecordBatchFileReader::Open(input.file(), options);
  if (!reader.ok()) throw InputError(cat(path, " - not an Arrow IPC file: ", reason(reader.status())));
  return *reader;
}

/// Dictionaries as their values, no metadata: what flow knows of columns is names and types.
SchemaPtr plain_schema(const arrow::Schema& schema) {
  arrow::FieldVector fields;
  for (const auto& field : schema.fields()) {
    auto type = field->type();
    if (type->id() == arrow::Type::DICTIONARY)
      type = static_cast<const arrow::DictionaryType&>(*type).value_type();
    fields.push_back(arrow::field(field->name(), type));
  }
  return arrow::schema(fields);
}

class ColumnarReader final : public Reader {
 public:
  ColumnarReader(const SourceFile& file, const Segment& segment, Format format, const SchemaPtr& schema,
                 const SchemaPtr& kept)
      : file_(file), input_(file.path), segment_(segment), schema_(kept) {
    input_.expect_unchanged(file.state);
    if (format == Format::kIpc) {
      check(*plain_schema(*open_ipc(file.path, input_)->schema()), *schema);
      std::vector<int> columns;
      for (const auto& field : kept->fields()) columns.push_back(schema->GetFieldIndex(field->name()));
      ipc_ = open_ipc(file.path, input_, columns);
      return;
    }
    parquet_ = open_parquet(file.path, input_);
    SchemaPtr found;
    require(parquet_->GetSchema(&found), file.path);
    check(*plain_schema(*found), *schema);
    std::vector<int> groups;
    for (int64_t group = segment.begin; group < segment.end; ++group)
      groups.push_back(static_cast<int>(group));
    const auto* leaves = parquet_->parquet_reader()->metadata()->schema();
    std::vector<int> columns;  // of a nested one: all its leaves
    for (int leaf = 0; leaf < leaves->num_columns(); ++leaf)
      if (kept->GetFieldIndex(leaves->GetColumnRoot(leaf)->name()) >= 0) columns.push_back(leaf);
    batches_ = value(parquet_->GetRecordBatchReader(groups, columns), file.path);
  }

  Batch next() override {
    Batch batch;
    if (ipc_) {
      if (segment_.begin < segment_.end)
        batch = value(ipc_->ReadRecordBatch(static_cast<int>(segment_.begin++)), file_.path);
    } else {
      require(batches_->ReadNext(&batch), file_.path);
    }
    if (!batch) {
      input_.expect_unchanged(file_.state);
      return nullptr;
    }
    if (ipc_) {  // its bytes come as they lie in the file: offsets may point anywhere
      const arrow::Status whole = batch->ValidateFull();
      if (!whole.ok()) throw InputError(cat(file_.path, " - damaged: ", reason(whole)));
    }
    std::vector<ArrayPtr> columns = batch->columns();
    for (int c = 0; c < batch->num_columns(); ++c) {
      ArrayPtr& column = columns[static_cast<size_t>(c)];
      if (column->type_id() == arrow::Type::DICTIONARY)
        column = value(arrow::compute::Cast(*column, schema_->field(c)->type()), file_.path);
    }
    return arrow::RecordBatch::Make(schema_, batch->num_rows(), columns);
  }

 private:
  void check(const arrow::Schema& found, const arrow::Schema& wanted) const {
    if (!found.Equals(wanted, false))
      throw InputError(cat(file_.path, " - columns: got ", join(split(found.ToString(), '\n'), ", "),
                           ", want ", join(split(wanted.ToString(), '\n'), ", "), " as in the first file"));
  }

  SourceFile file_;
  Input input_;
  Segment segment_;
  SchemaPtr schema_;
  std::unique_ptr<parquet::arrow::FileReader> parquet_;
  std::unique_ptr<arrow::RecordBatchReader> batches_;
  std::shared_ptr<arrow::ipc::RecordBatchFileReader> ipc_;
};

}  // namespace

std::unique_ptr<Reader> read_columnar(const SourceFile& file, const Segment& segment, Format format,
                                      const SchemaPtr& schema, const SchemaPtr& kept) {
  return std::make_unique<ColumnarReader>(file, segment, format, schema, kept);
}

SchemaPtr schema_of_columnar(const SourceFile& file, Format format, const std::string& place) {
  if (format == Format::kIpc) return plain_schema(*open_ipc(file.path, Input(file.path))->schema());
  SchemaPtr found;
  require(open_parquet(file.path, Input(file.path))->GetSchema(&found), cat(place, ": ", file.path));
  return plain_schema(*found);
}

std::vector<int64_t> sizes_of_columnar(const SourceFile& file, Format format) {
  std::vector<int64_t> sizes;
  if (format == Format::kIpc) {
    const int count = open_ipc(file.path, Input(file.path))->num_record_batches();
    sizes.assign(static_cast<size_t>(count), file.state.bytes / std::max(count, 1));
    return sizes;
  }
  const auto reader = open_parquet(file.path, Input(file.path));
  const auto metadata = reader->parquet_reader()->metadata();
  for (int group = 0; group < metadata->num_row_groups(); ++group)
    sizes.push_back(metadata->RowGroup(group)->total_byte_size());
  return sizes;
}

}  // namespace shoal::flow
