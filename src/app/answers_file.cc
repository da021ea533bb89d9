#include "app/answers_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::app {
namespace {

std::string error_text() { return std::generic_category().message(errno); }

}  // namespace

AnswersFile::AnswersFile(const std::filesystem::path& path, const std::vector<std::string>& keys)
    : path_(path.string()), keys_(keys) {
  descriptor_ = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) throw InputError(cat(path_, " - cannot be written: ", error_text()));
  std::ifstream file(path, std::ios::binary);
  off_t whole = 0;
  for (std::string line; std::getline(file, line) && !file.eof();
       ++lines_) {  // a last line without its end is half
    const auto json = nlohmann::json::parse(line, nullptr, false);
    const bool is_ours = json.is_object() && json.contains("key") && json["key"].is_string();
    if (lines_ >= keys_.size() || !is_ours || json["key"] != keys_[lines_]) {
      close(descriptor_);
      throw InputError(cat(path_, ":", lines_ + 1, " - got ",
                           is_ours ? "the answer to another request" : "no answer",
                           ", want a file of this run, to go on with it, or a new one"));
    }
    whole += static_cast<off_t>(line.size()) + 1;
  }
  if (ftruncate(descriptor_, whole) != 0 || lseek(descriptor_, whole, SEEK_SET) < 0) {
    const std::string why = error_text();
    close(descriptor_);
    throw InputError(cat(path_, " - cannot be written: ", why));
  }
}

AnswersFile::~AnswersFile() { close(descriptor_); }

void AnswersFile::add(const std::string& prompt, const Generated& generated) {
  nlohmann::ordered_json json;
  json["index"] = lines_;
  json["prompt"] = prompt, json["text"] = generated.text, json["tokens"] = generated.tokens;
  json["finish"] = generated.has_ended ? "stop" : "length";
  json["key"] = keys_.at(lines_);
  const std::string line = json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  for (size_t done = 0; done < line.size();) {
    const ssize_t count = write(descriptor_, line.data() + done, line.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0)
      throw JobError(
          cat(path_, " - cannot be written: ", error_text(), "; the same command goes on from here"));
    done += static_cast<size_t>(count);
  }
  ++lines_;
}

}  // namespace shoal::app
