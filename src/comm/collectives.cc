#include "comm/collectives.h"

#include <algorithm>

#include "base/fault.h"
#include "base/text.h"
#include "comm/failure.h"

namespace shoal::comm {
namespace {

using Call = Pending::Call;

constexpr size_t kHalf = Group::kStagingBytes / 2;

// Passes private memory through the staging window piece by piece. A kind of collective says how many bytes
// pass (total) and how many at a time (piece); writes bytes [begin, begin + bytes) of what it gives to its
// staging memory (fill); and reads them at `offset` of the others' (take). Two halves in turn: while one is
// read, the other is filled, so that one barrier a piece is enough.
template <class Kind>
void fill(const Call& call, size_t begin) {
  const size_t half = begin / Kind::piece(call) % 2;
  Kind::fill(call, begin, std::min(Kind::piece(call), Kind::total(call) - begin),
             call.group.staging().mine().data() + half * kHalf);
  call.group.arrive();
}

template <class Kind>
Pending begin_pieces(const Call& call) {
  if (Kind::total(call) > 0)
    fill<Kind>(call, 0);
  else
    call.group.arrive();
  return {call, [](const Call& call) {
            const size_t total = Kind::total(call), piece = Kind::piece(call);
            for (size_t begin = 0, half = 0; begin < total; begin += piece, half ^= 1) {
              if (begin > 0) fill<Kind>(call, begin);
              call.group.pass();
              Kind::take(call, begin, std::min(piece, total - begin), half * kHalf);
            }
            // The next collective may fill a half that a slow member still reads.
            if (total > 0) call.group.arrive();
            call.group.pass();
          }};
}

// As memcpy, also of nothing.
void copy_bytes(std::byte* to, const std::byte* from, size_t bytes) { std::copy_n(from, bytes, to); }

void fetch(Window& window, int member, size_t at, std::byte* into, size_t bytes) {
  const std::byte* from = window.read(member, at, bytes, {into, bytes});
  if (from != into) copy_bytes(into, from, bytes);
}

struct AllGather {
  static size_t total(const Call& call) { return call.given.size(); }
  static size_t piece(const Call&) { return kHalf; }
  static void fill(const Call& call, size_t begin, size_t bytes, std::byte* to) {
    copy_bytes(to, call.given.data() + begin, bytes);
  }
  static void take(const Call& call, size_t begin, size_t bytes, size_t at) {
    for (int member = 0; member < call.group.size(); ++member)
      fetch(call.group.staging(), member, at, call.asked.data() + member * call.given.size() + begin, bytes);
  }
};

struct Broadcast {
  static size_t total(const Call& call) { return call.asked.size(); }
  static size_t piece(const Call&) { return kHalf; }
  static void fill(const Call& call, size_t begin, size_t bytes, std::byte* to) {
    if (call.group.rank() == call.peer) copy_bytes(to, call.asked.data() + begin, bytes);
  }
  static void take(const Call& call, size_t begin, size_t bytes, size_t at) {
    if (call.group.rank() != call.peer) fetch(call.group.staging(), call.peer, at, call.asked.data() + begin, bytes);
  }
};

// What each member gives to each is one part of many.
template <class Kind>
struct InParts {
  static size_t total(const Call& call) { return call.given.size() / call.group.size(); }
  // Whole numbers of any dtype, for one member as for another.
  static size_t piece(const Call& call) { return kHalf / call.group.size() / sizeof(double) * sizeof(double); }
  static void fill(const Call& call, size_t begin, size_t bytes, std::byte* to) {
    for (int member = 0; member < call.group.size(); ++member)
      copy_bytes(to + member * piece(call), call.given.data() + member * total(call) + begin, bytes);
  }
  static void take(const Call& call, size_t begin, size_t bytes, size_t at) {
    Kind::take(call, begin, bytes, at + call.group.rank() * piece(call));
  }
};

struct Exchanged {
  static void take(const Call& call, size_t begin, size_t bytes, size_t at) {
    for (int member = 0; member < call.group.size(); ++member)
      fetch(call.group.staging(), member, at, call.asked.data() + member * InParts<Exchanged>::total(call) + begin, bytes);
  }
};
using AllToAll = InParts<Exchanged>;

// The dtype of sums.
DType sum_dtype(DType dtype) { return dtype == DType::kF64 ? DType::kF64 : DType::kF32; }

// Tree sums over the members of elements that lie at `at` of their staging memory.
struct Summed {
  static void take(const Call& call, size_t begin, size_t bytes, size_t at) {
    Window& staging = call.group.staging();
    const int members = call.group.size();
    const size_t width = element_bytes(call.dtype), count = bytes / width;
    std::byte* const into = call.asked.data() + begin / width * element_bytes(sum_dtype(call.dtype));
    std::vector<std::byte> scratch(staging.in_place() ? 0 : members * bytes);
    const auto read = [&](int member) {
      return staging.read(member, at, bytes, scratch.empty() ? scratch : std::span(scratch).subspan(member * bytes, bytes));
    };
    if (call.dtype == DType::kF64) {
      std::vector<const double*> all;
      for (int member = 0; member < members; ++member)
        all.push_back(reinterpret_cast<const double*>(read(member)));
      std::vector<double> leaves(all.size());
      for (size_t i = 0; i < count; ++i) {
        for (size_t member = 0; member < all.size(); ++member) leaves[member] = all[member][i];
        reinterpret_cast<double*>(into)[i] = tree_sum(leaves);
      }
      return;
    }
    std::vector<Root> roots;
    for (int member = 0; member < members; ++member)
      roots.push_back({{member, member + 1}, read(member), call.dtype});
    sum_roots(members, roots, {reinterpret_cast<float*>(into), count});
  }
};
using ReduceScatter = InParts<Summed>;

// Everyone sums all: for the few numbers that private memory has.
struct AllReduce : AllGather {
  static void take(const Call& call, size_t begin, size_t bytes, size_t at) {
    Summed::take(call, begin, bytes, at);
  }
};

void check_sizes(const char* what, size_t given, size_t asked, size_t unit, bool fit) {
  if (!fit || given % unit != 0)
    throw BrokenInvariant(cat(what, " - sizes: got ", given, " bytes to give and ", asked,
                               " to receive; they do not fit together"));
}

}  // namespace

Pending begin_all_gather(Group& group, std::span<const std::byte> mine, std::span<std::byte> all) {
  check_sizes("all_gather", mine.size(), all.size(), 1, all.size() == mine.size() * group.size());
  return begin_pieces<AllGather>({.group = group, .given = mine, .asked = all});
}

Pending begin_broadcast(Group& group, int root, std::span<std::byte> bytes) {
  check_member(group, "broadcast", root);
  return begin_pieces<Broadcast>({.group = group, .asked = bytes, .peer = root});
}

Pending begin_all_to_all(Group& group, std::span<const std::byte> send, std::span<std::byte> receive) {
  check_sizes("all_to_all", send.size(), receive.size(), group.size(), send.size() == receive.size());
  return begin_pieces<AllToAll>({.group = group, .given = send, .asked = receive});
}

Pending begin_all_reduce(Group& group, DType dtype, std::span<const std::byte> mine,
                         std::span<std::byte> sum) {
  const size_t width = element_bytes(dtype), sum_width = element_bytes(sum_dtype(dtype));
  check_sizes("all_reduce", mine.size(), sum.size(), width, sum.size() == mine.size() / width * sum_width);
  return begin_pieces<AllReduce>({.group = group, .given = mine, .asked = sum, .dtype = dtype});
}

Pending begin_reduce_scatter(Group& group, DType dtype, std::span<const std::byte> mine,
                             std::span<std::byte> sum) {
  const size_t width = element_bytes(dtype), sum_width = element_bytes(sum_dtype(dtype));
  check_sizes("reduce_scatter", mine.size(), sum.size(), group.size() * width,
              sum.size() == mine.size() / group.size() / width * sum_width);
  return begin_pieces<ReduceScatter>({.group = group, .given = mine, .asked = sum, .dtype = dtype});
}

Pending begin_send(Group& group, int to, std::span<const std::byte> bytes) {
  group.send(to, bytes);
  return {{.group = group}, [](const Call&) {}};
}

Pending begin_recv(Group& group, int from, std::span<std::byte> bytes) {
  check_peer(group, "recv", from);
  return {{.group = group, .asked = bytes, .peer = from},
          [](const Call& call) { call.group.recv(call.peer, call.asked); }};
}

void all_gather(Group& group, std::span<const std::byte> mine, std::span<std::byte> all) {
  begin_all_gather(group, mine, all).wait();
}

std::vector<std::vector<std::byte>> all_gather(Group& group, std::span<const std::byte> mine) {
  const uint64_t my_size = mine.size();
  std::vector<uint64_t> sizes(static_cast<size_t>(group.size()));
  all_gather(group, std::as_bytes(std::span(&my_size, 1)), std::as_writable_bytes(std::span(sizes)));
  std::vector<std::vector<std::byte>> all;
  for (const uint64_t size : sizes) all.emplace_back(size);
  const auto part = [](size_t size, size_t begin) { return begin >= size ? 0 : std::min(kHalf, size - begin); };
  const size_t largest = *std::ranges::max_element(sizes);
  Window& staging = group.staging();
  for (size_t begin = 0, half = 0; begin < largest; begin += kHalf, half ^= 1) {
    copy_bytes(staging.mine().data() + half * kHalf, mine.data() + begin, part(mine.size(), begin));
    group.barrier();
    for (int member = 0; member < group.size(); ++member)
      fetch(staging, member, half * kHalf, all[member].data() + begin, part(all[member].size(), begin));
  }
  if (largest > 0) group.barrier();  // nobody reads this member's staging memory any more
  return all;
}

std::vector<std::string> all_gather_texts(Group& group, const std::string& mine) {
  std::vector<std::string> texts;
  for (const auto& bytes : all_gather(group, std::as_bytes(std::span(mine))))
    texts.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return texts;
}

void broadcast(Group& group, int root, std::span<std::byte> bytes) {
  begin_broadcast(group, root, bytes).wait();
}
void all_to_all(Group& group, std::span<const std::byte> send, std::span<std::byte> receive) {
  begin_all_to_all(group, send, receive).wait();
}
void all_reduce(Group& group, DType dtype, std::span<const std::byte> mine, std::span<std::byte> sum) {
  begin_all_reduce(group, dtype, mine, sum).wait();
}
void reduce_scatter(Group& group, DType dtype, std::span<const std::byte> mine, std::span<std::byte> sum) {
  begin_reduce_scatter(group, dtype, mine, sum).wait();
}
}  // namespace shoal::comm
