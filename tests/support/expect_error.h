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
