#include "infer/page_cache.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace shoal::infer {
namespace {

std::vector<Token> page_of(int kind) { return std::vector<Token>(kPageTokens, kind); }

TEST(PageCache, LendsEveryPageOnce) {
  PageCache cache(3, true);
  std::set<int32_t> lent;
  for (int i = 0; i < 3; ++i) lent.insert(*cache.allocate());
  EXPECT_EQ(lent, (std::set<int32_t>{0, 1, 2}));
  EXPECT_FALSE(cache.allocate());
  cache.release(1);
  EXPECT_EQ(cache.allocate(), 1);
}

TEST(PageCache, FindsWhatBeginsAlikeOnly) {
  PageCache cache(4, true);
  const int32_t first = *cache.allocate(), second = *cache.allocate();
  const auto one = cache.fill(first, PageCache::kEmpty, page_of(1));
  cache.fill(second, one, page_of(2));
  const auto found = cache.find(PageCache::kEmpty, page_of(1));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->page, first);
  EXPECT_EQ(cache.find(found->prefix, page_of(2))->page, second);
  EXPECT_FALSE(cache.find(PageCache::kEmpty, page_of(2)));  // the same tokens, but after others
  EXPECT_FALSE(cache.find(found->prefix, page_of(1)));
}

TEST(PageCache, TheLongestUnusedGoesFirst) {
  PageCache cache(2, true);
  const int32_t a = *cache.allocate(), b = *cache.allocate();
  cache.fill(a, PageCache::kEmpty, page_of(1));
  cache.fill(b, PageCache::kEmpty, page_of(2));
  cache.release(b), cache.release(a);
  EXPECT_EQ(cache.allocate(), b);
  EXPECT_FALSE(cache.find(PageCache::kEmpty, page_of(2)));
  EXPECT_EQ(cache.find(PageCache::kEmpty, page_of(1))->page, a);
}

TEST(PageCache, SharesNothingWhereItIsToldSo) {
  PageCache cache(2, false);
  cache.fill(*cache.allocate(), PageCache::kEmpty, page_of(1));
  EXPECT_FALSE(cache.find(PageCache::kEmpty, page_of(1)));
}

// Beside a model that knows all that was ever written into a page: what is found holds what was asked for,
// pages in use are never lent again, and holds add up.
TEST(PageCache, AgreesWithTheObvious) {
  for (uint32_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto below = [&](uint32_t n) { return random() % n; };
    PageCache cache(6, true);
    std::map<int32_t, int> holds;
    std::map<int32_t, std::vector<Token>> contents;  // of each page: all tokens up to its end
    struct User {
      std::vector<int32_t> pages;
      std::vector<Token> tokens;
      PageCache::Prefix prefix = PageCache::kEmpty;
    };
    std::vector<User> users(3);
    for (int step = 0; step < 400; ++step) {
      User& user = users[below(3)];
      if (below(4) == 0) {
        while (!user.pages.empty()) {
          cache.release(user.pages.back());
          --holds[user.pages.back()];
          user.pages.pop_back();
        }
        user = {};
        continue;
      }
      const std::vector<Token> next = page_of(static_cast<int>(below(2)));
      std::vector<Token> all = user.tokens;
      all.insert(all.end(), next.begin(), next.end());
      int32_t page;
      if (const auto found = cache.find(user.prefix, next)) {
        page = found->page;
        EXPECT_EQ(contents[page], all);
        user.prefix = found->prefix;
      } else if (const auto free = cache.allocate()) {
        page = *free;
        EXPECT_EQ(holds[page], 0);
        contents[page] = all;
        user.prefix = cache.fill(page, user.prefix, next);
      } else {
        int held = 0;
        for (const auto& [one, count] : holds) held += count > 0;
        EXPECT_EQ(held, 6);
        continue;
      }
      ++holds[page];
      user.pages.push_back(page);
      user.tokens = all;
      int64_t held = 0;
      for (const auto& [one, count] : holds) held += count > 0;
      EXPECT_EQ(cache.held(), held);
    }
  }
}

}  // namespace
}  // namespace shoal::infer
