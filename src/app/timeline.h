// Pictures of a pipeline: a row for each device, a box for each pass of a stage over a microbatch.
#pragma once

#include <string>

#include "lower/pipeline_schedule.h"

namespace shoal::app {

/// An SVG of what each device computes when. `title` stands above.
std::string timeline_svg(const lower::Grid&, const lower::Timeline&, const std::string& title);

}  // namespace shoal::app
