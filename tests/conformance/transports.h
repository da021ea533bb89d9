// Every transport, behind one way to run a body on some ranks.
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "comm/group.h"
#include "comm/launch.h"
#include "comm/shm/communicator.h"
#include "comm/shm/job.h"
#include "shoal/error.h"

namespace shoal::comm {

/// Threads whose windows are not read in place: what the collectives must cope with on a network.
class Fetching : public Communicator {
 public:
  explicit Fetching(Communicator& inner) : inner_(inner) {}
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  std::unique_ptr<Link> link(std::span<const int> ranks) override {
    return std::make_unique<FetchingLink>(inner_.link(ranks));
  }
  void abort(std::string_view reason) noexcept override { inner_.abort(reason); }
  void set_activity(std::string_view activity) noexcept override { inner_.set_activity(activity); }
  std::string activity() const override { return inner_.activity(); }
  std::string waiting() const override { return inner_.waiting(); }

 private:
  class FetchingWindow : public Window {
   public:
    explicit FetchingWindow(std::shared_ptr<Window> window) : window_(std::move(window)) {}
    std::span<std::byte> mine() override { return window_->mine(); }
    size_t bytes(int member) const override { return window_->bytes(member); }
    const std::byte* read(int member, size_t offset, size_t bytes, std::span<std::byte> scratch) override {
      if (scratch.size() < bytes) throw std::logic_error("the scratch is too small");
      const std::byte* const from = window_->read(member, offset, bytes, {});
      if (bytes > 0) std::memmove(scratch.data(), from, bytes);
      return scratch.data();
    }
    bool in_place() const override { return false; }

   private:
    std::shared_ptr<Window> window_;
  };

  class FetchingLink : public Link {
   public:
    explicit FetchingLink(std::unique_ptr<Link> link) : link_(std::move(link)) {}
    void arrive() override { link_->arrive(); }
    void pass() override { link_->pass(); }
    std::shared_ptr<Window> window(size_t bytes) override {
      return std::make_shared<FetchingWindow>(link_->window(bytes));
    }
    void send(int to, std::span<const std::byte> bytes) override { link_->send(to, bytes); }
    void recv(int from, std::span<std::byte> bytes) override { link_->recv(from, bytes); }
    uint64_t post() override { return link_->post(); }
    void await(int member, uint64_t count) override { link_->await(member, count); }

   private:
    std::unique_ptr<Link> link_;
  };

  Communicator& inner_;
};

enum class Transport { kThreads, kFetching, kShm };
inline std::ostream& operator<<(std::ostream& out, Transport transport) {
  return out << (transport == Transport::kThreads    ? "threads"
                 : transport == Transport::kFetching ? "fetching"
                                                     : "shm");
}

/// What a rank does with the world.
using Body = std::function<void(Group&)>;

/// Runs the body on shm ranks that are forked from this process. A failed expectation in one fails the job.
inline Ending run_processes(SharedMemory& memory, const Body& body) {
  std::fflush(nullptr);
  const std::shared_ptr<SharedMemory> shared(&memory, [](SharedMemory*) {});
  return run_job(memory, [&](int rank) {
    int code = 0;
    const auto communicator = shm_communicator(shared, rank);
    try {
      Group world(*communicator);
      body(world);
      if (::testing::Test::HasFailure()) {
        communicator->abort("an expectation failed");
        code = 1;
      }
    } catch (const std::exception& error) {
      communicator->abort(error.what());
      memory.state(rank).sentence.set(error.what());
      const auto* known = dynamic_cast<const Error*>(&error);
      code = known ? known->exit_code() : 1;
    }
    std::fflush(nullptr);
    return code;
  });
}

/// The sentence that ended the job; "" when it went well.
inline std::string run(Transport transport, int size, const Body& body) {
  if (transport == Transport::kShm) return run_processes(*SharedMemory::create(size), body).sentence;
  try {
    run_threads(size, [&](Communicator& communicator) {
      Fetching fetching(communicator);
      Group world(transport == Transport::kThreads ? communicator : fetching);
      body(world);
    });
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

/// A test over transports and sizes of the world.
class OnRanks : public ::testing::TestWithParam<std::tuple<Transport, int>> {
 protected:
  Transport transport() const { return std::get<0>(GetParam()); }
  int size() const { return std::get<1>(GetParam()); }
  void run_well(const Body& body) const { EXPECT_EQ(run(transport(), size(), body), ""); }
};

inline std::string name_of(const ::testing::TestParamInfo<std::tuple<Transport, int>>& info) {
  return ::testing::PrintToString(std::get<0>(info.param)) + "_" + std::to_string(std::get<1>(info.param));
}

#define SHOAL_ON_RANKS(suite, ...) \
  INSTANTIATE_TEST_SUITE_P(        \
      Transports, suite,           \
      ::testing::Combine(::testing::Values(__VA_ARGS__), ::testing::Values(1, 2, 3, 4, 6, 8)), name_of)

inline std::span<const std::byte> as_bytes(const std::vector<std::byte>& bytes) { return bytes; }

/// Bytes that differ by rank, by `salt` and by position.
inline std::byte pattern(int rank, size_t salt, size_t i) {
  return static_cast<std::byte>((static_cast<size_t>(rank) * 131 + salt * 31 + i * 7 + (i >> 8) * 3) & 0xFF);
}
inline std::vector<std::byte> pattern_bytes(int rank, size_t salt, size_t count) {
  std::vector<std::byte> bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = pattern(rank, salt, i);
  return bytes;
}

}  // namespace shoal::comm
