// Text to tokens (docs/token_store.md, version 2), and to a tokenizer: what a flow writes for language
// models.
#pragma once

#include <memory>
#include <string>

#include "flow/manifest.h"
#include "flow/writers.h"
#include "text/tokenizer.h"

namespace shoal::flow {

/// The tokenizer that format = "tokens" writes with; null for other formats. Throws InputError.
std::shared_ptr<const text::Tokenizer> open_tokenizer(const FlowWrite&, const std::string& place);

/// A row's text, and the end of a document behind it: train-00003.tokens and train-00003.lengths; nothing
/// where no row has text. Keeps a reference to the tokenizer.
std::unique_ptr<Writer> make_token_writer(const text::Tokenizer&, const std::string& column, const SchemaPtr&,
                                          const std::filesystem::path& out, const std::string& split,
                                          int64_t part);

/// manifest.json of the store whose files the flow's manifest names: reads all tokens once, to count them.
std::string token_manifest(const OutputManifest&, const text::Tokenizer&, const std::filesystem::path& out);

/// Rows are words and how often they come: tokenizer.json and tokenizer_config.json (text/bpe_trainer.h).
std::unique_ptr<Writer> make_tokenizer_writer(const FlowWrite&, const SchemaPtr&,
                                              const std::filesystem::path& out);

/// What stands between the flow and such a sink: for a tokenizer, the steps that count words.
Flow with_sink_steps(const Flow&);

}  // namespace shoal::flow
