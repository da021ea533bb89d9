#include "flow/work_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <set>
#include <system_error>

#include "base/text.h"
#include "data/manifest.h"
#include "data/sample_manifest.h"
#include "flow/manifest.h"
#include "flow/remote.h"
#include "shoal/error.h"
#include "state/durable.h"

namespace shoal::flow {
namespace {
namespace fs = std::filesystem;

/// As write_text(), for a process that is killed. Where the machine dies, the file may be without its text:
/// it is sealed.
void write_sealed(const fs::path& path, const std::string& text) {
  FileSink file(path);
  require(file.Write(cat(text, "\n", hash_hex(text), "\n")), path.string());
  file.place(/*starts_writing=*/false);
}
/// "": it is not there, or not as it was written.
std::string read_sealed(const fs::path& path) {
  std::string text = data::read_whole(path);
  const size_t end = text.find('\n');
  if (end == std::string::npos || text.substr(end + 1) != hash_hex(text.substr(0, end)) + "\n") return "";
  text.resize(end);
  return text;
}

/// Of the machine, since it was started; "" where the system does not say.
std::string boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

/// A machine that died may have kept that runs were removed, and lost what was made of them.
bool may_lack_runs(const fs::path& work) {
  const std::string boot = boot_id();
  if (!boot.empty() && data::read_whole(work / "boot") == boot) return false;
  std::error_code error;
  for (fs::directory_iterator entry(work, error), end; !error && entry != end; entry.increment(error))
    if (entry->path().extension() == ".used") return true;
  return false;
}

bool is_ours(const std::string& name, const std::vector<std::string>& own) {
  return std::find(own.begin(), own.end(), name) != own.end() || name == "manifest.json" ||
         name == "manifest.json.part" || name == "report.html" || name == "report.html.part" ||
         name.starts_with("part-") || name.starts_with("tokenizer") || data::is_store_file(name) ||
         data::is_samples_file(name) || name.starts_with("bad-");
}

/// The names of what the folder holds, but for .work on this machine.
std::set<std::string> names_in(const fs::path& out) {
  std::set<std::string> names;
  if (is_remote(out.string())) {
    for (const std::string& file : remote_files(out.string())) names.insert(file.substr(0, file.find('/')));
    return names;
  }
  std::error_code error;
  for (fs::directory_iterator entry(out, error), end; !error && entry != end; entry.increment(error))
    names.insert(entry->path().filename().string());
  if (error)
    throw InputError(cat(out.string(), " - cannot be read: ", error.message(), "; name another --out"));
  names.erase(".work");
  return names;
}

/// Throws unless the folder is empty, or work that can go on. True when all of it is done.
bool check_folder(const fs::path& out, const fs::path& work, const std::string& identity,
                  const std::vector<std::string>& own) {
  const std::set<std::string> names = names_in(out);
  for (const std::string& name : names)
    if (!is_ours(name, own))
      throw InputError(cat(out.string(), " - holds something else than a flow's output: got ", name,
                           ", want a new or empty folder; name another --out"));
  if (names.contains(kManifestName)) {
    if (load_output(out).identity == identity) return true;
    throw InputError(cat(out.string(),
                         " - holds the output of another flow, or of input that has changed since; remove "
                         "it, or name another --out"));
  }
  std::error_code error;
  if (!names.empty() && !fs::exists(work, error))
    throw InputError(
        cat(out.string(), " - holds files without a manifest",
            is_remote(out.string()) ? cat(", and ", work.string(), " is not there to go on with") : "",
            "; remove them, or name another --out"));
  const std::string known = data::read_whole(work / "identity");
  if (!known.empty() && known != identity)
    throw InputError(cat(work.parent_path().string(),
                         " - holds unfinished work of another flow, or of input that has changed since; "
                         "remove it, or name another ",
                         is_remote(out.string()) ? "--work" : "--out"));
  return false;
}

/// The folder of this machine that .work is in.
fs::path home_of(const FlowWrite& sink) {
  if (!is_remote(sink.out)) return sink.out;
  if (!sink.work.empty()) return sink.work;
  std::string name = remote_name(sink.out);
  std::replace(name.begin(), name.end(), '/', '-');
  return name + ".work";
}

/// As it stands before the names of files.
fs::path out_of(const std::string& out) {
  return is_remote(out) ? fs::path("s3://" + remote_name(out)) : fs::path(out);
}

}  // namespace

WorkFolder::WorkFolder(comm::Group& group, const FlowWrite& sink, const std::string& identity,
                       const std::vector<std::string>& own)
    : out_(out_of(sink.out)),
      home_(home_of(sink)),
      work_(home_ / ".work"),
      is_remote_(is_remote(sink.out)),
      drops_home_(is_remote_ && sink.work.empty()) {
  if (group.rank() == 0) prepare(identity, own);
  group.barrier();
  if (group.rank() != 0) {
    std::error_code missing;
    finished_ = !fs::exists(work_, missing);
    if (!finished_) {
      lock_ = std::make_unique<data::FolderLock>(home_);
      lock_->share();
    }
  }
  group.barrier();  // nobody begins, and so nobody ends, before all know
}

void WorkFolder::prepare(const std::string& identity, const std::vector<std::string>& own) {
  const char* const flag = is_remote_ ? "--work" : "--out";
  if (out_.empty())
    throw InputError(
        "out - got no folder, want where to write; write out = \"FOLDER\" in [write] or give --out FOLDER");
  std::error_code error;
  if (fs::exists(home_, error) && !fs::is_directory(home_, error))
    throw InputError(cat(home_.string(), " - not a folder: want a new or empty one; name another ", flag));
  fs::create_directories(home_, error);
  if (error)
    throw InputError(cat(home_.string(), " - cannot be made: ", error.message(), "; name another ", flag));
  if (::access(home_.c_str(), R_OK | W_OK | X_OK) != 0)
    throw InputError(cat(home_.string(), " - cannot be written: ", std::generic_category().message(errno),
                         "; name another ", flag));
  lock_ = std::make_unique<data::FolderLock>(home_);
  lock_->own();
  try {
    finished_ = check_folder(out_, work_, identity, own);
  } catch (const InputError&) {
    drop_home();
    throw;
  }
  if (finished_) {
    drop_work();
  } else {
    if (data::read_whole(work_ / "identity").empty() || may_lack_runs(work_))
      state::remove_tree(work_);  // died before it began, or must begin anew
    fs::create_directories(work_, error);
    for (const std::string& name : own)
      if (!error && !is_remote_) fs::create_directories(out_ / name, error);
    if (error)
      throw InputError(
          cat(home_.string(), " - cannot be written: ", error.message(), "; name another ", flag));
    if (data::read_whole(work_ / "identity").empty()) write_text(work_ / "identity", identity);
    write_text(work_ / "boot", boot_id());
  }
  for (const auto& entry : fs::directory_iterator(work_, error))
    if (entry.path().extension() == ".next" || entry.path().extension() == ".part")
      state::remove_tree(entry.path());
  lock_->share();
}

std::string WorkFolder::part_name(size_t stage, int64_t part) const {
  char number[24];
  std::snprintf(number, sizeof number, "%05lld", static_cast<long long>(part));
  return cat("s", stage, "-p", number, ".done");
}

int64_t WorkFolder::take_part(size_t stage) {
  const fs::path path = work_ / cat("s", stage, ".next");
  const data::Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (file < 0 || ::flock(file, LOCK_EX) != 0)
    throw JobError(cat(path.string(), " - cannot be opened: ", std::generic_category().message(errno)));
  int64_t next = 0;
  if (::pread(file, &next, sizeof next, 0) < 0)
    throw JobError(cat(path.string(), " - cannot be read: ", std::generic_category().message(errno)));
  const int64_t after = next + 1;
  if (::pwrite(file, &after, sizeof after, 0) != sizeof after)
    throw JobError(cat(path.string(), " - cannot be written: ", std::generic_category().message(errno)));
  return next;
}

std::optional<PartRecord> WorkFolder::find(size_t stage, int64_t part) const {
  const std::string text = read_sealed(work_ / part_name(stage, part));
  if (text.empty()) return {};
  PartRecord record = part_from_json(text);
  std::error_code missing;
  if (!fs::exists(work_ / cat("s", stage, ".used"), missing))
    for (const RunRecord& run : record.runs)
      if (file_checksum(work_ / run.file) != run.checksum) return {};
  for (const FileRecord& file : record.files)
    if (file_checksum(out_ / file.file) != file.checksum) return {};
  return record;
}

void WorkFolder::record(size_t stage, int64_t part, const PartRecord& record) const {
  write_sealed(work_ / part_name(stage, part), to_json(record));
}

PartRecord WorkFolder::load(size_t stage, int64_t part) const {
  const fs::path path = work_ / part_name(stage, part);
  const std::string text = read_sealed(path);
  if (text.empty())
    throw JobError(cat(path.string(), " - is gone while the run needs it; run the same command again"));
  return part_from_json(text);
}

void WorkFolder::drop_runs(size_t stage, const std::vector<RunRecord>& runs) const {
  write_sealed(work_ / cat("s", stage, ".used"), "used");
  for (const RunRecord& run : runs) state::remove_tree(work_ / run.file);
}

void WorkFolder::close(const std::string& manifest, const std::vector<std::string>& wanted) const {
  const std::set<std::string> names(wanted.begin(), wanted.end());
  if (is_remote_) {
    for (const std::string& file : remote_files(out_.string()))
      if (!names.contains(file))
        throw JobError(cat(out_.string(), " - holds something else than this flow's output: got ", file,
                           "; remove it, and run the same command again"));
    write_text(out_ / kManifestName, manifest);
  } else {
    keep_only(names);
    write_text(out_ / kManifestName, manifest);
    state::sync_folder(out_);
  }
  drop_work();
}

void WorkFolder::keep_only(const std::set<std::string>& names) const {
  std::vector<fs::path> others, folders;
  for (fs::recursive_directory_iterator entry(out_), end; entry != end; ++entry) {
    if (entry->path() == work_)
      entry.disable_recursion_pending();
    else if (entry->is_directory())
      folders.push_back(entry->path());
    else if (!names.contains(entry->path().lexically_relative(out_).generic_string()))
      others.push_back(entry->path());
  }
  for (const fs::path& path : others) state::remove_tree(path);
  for (const fs::path& path : folders) state::sync_folder(path);
  state::sync_folder(out_);
}

void WorkFolder::drop_work() const {
  state::remove_tree(work_);
  drop_home();
}

void WorkFolder::drop_home() const {
  std::error_code not_empty;
  if (drops_home_) fs::remove(home_, not_empty);
}

}  // namespace shoal::flow
