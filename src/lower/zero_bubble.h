// Schedules whose backward is in two (Qi et al. 2023, 2024): what earlier stages wait for comes first, gradients of
// weights fill the waits.
#pragma once

#include "lower/pipeline_schedule.h"

namespace shoal::lower {

/// For a layout whose schedule is one of these: of some schedules the shortest, were passes to cost so.
Grid zero_bubble(const Layout&, int64_t microbatches, const TurnCost&);

}  // namespace shoal::lower
