// Errors are sentences, tested word for word.
#pragma once

#include <gtest/gtest.h>

#include <string>

/// `statement` throws `type` with exactly this message.
#define EXPECT_ERROR(statement, type, message)                       \
  do {                                                               \
    std::string got_;                                                \
    try {                                                            \
      statement;                                                     \
      got_ = "(nothing was thrown)";                                 \
    } catch (const type& error) {                                    \
      got_ = error.what();                                           \
    } catch (const std::exception& error) {                          \
      got_ = std::string("(another type of error) ") + error.what(); \
    }                                                                \
    EXPECT_EQ(got_, message);                                        \
  } while (false)

/// `statement` throws an InputError whose message has `part` in it.
#define EXPECT_ERROR_CONTAINS(statement, part)                                      \
  do {                                                                              \
    std::string got_ = "(nothing was thrown)";                                      \
    try {                                                                           \
      statement;                                                                    \
    } catch (const shoal::InputError& error) {                                      \
      got_ = error.what();                                                          \
    }                                                                               \
    EXPECT_NE(got_.find(part), std::string::npos) << got_ << "\nhas not: " << part; \
  } while (false)
