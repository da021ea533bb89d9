// The page at /: a chat, in one file without anything from elsewhere. Its text is src/serve/page.html.
#pragma once

#include <string_view>

namespace shoal::serve {

extern const std::string_view kPage;

}  // namespace shoal::serve
