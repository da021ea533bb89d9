// Rows to samples: what a flow writes for models that take tensors (docs/sample_store.md, version 2).
#pragma once

#include <memory>
#include <string>

#include "flow/manifest.h"
#include "flow/writers.h"

namespace shoal::flow {

/// Throws InputError "place: ..." where the columns cannot fill the fields, or give no keys.
void check_samples(const FlowWrite&, const arrow::Schema&, const std::string& place);
/// The columns that the fields and the keys are made of.
Names sample_names(const FlowWrite&, const arrow::Schema&, const std::string& place);
/// All that decides the bytes of a sample, as text.
std::string sample_identity(const FlowWrite&, const arrow::Schema&, const std::string& place);

/// A row becomes a sample of train-00003.samples; no file where there is no row. The samples are not held in
/// memory. Throws InputError for a row that does not fit.
std::unique_ptr<Writer> make_sample_writer(const FlowWrite&, const SchemaPtr&,
                                           const std::filesystem::path& out, const std::string& split,
                                           int64_t part);

/// manifest.json of the store whose files the flow's manifest names: reads all samples once, for the lengths,
/// and to see that no key comes twice. Throws InputError where one does.
std::string samples_manifest(const OutputManifest&, const FlowWrite&, const arrow::Schema&,
                             const std::filesystem::path& out);

}  // namespace shoal::flow
