// The CPU as a Device.
#pragma once

#include "kernels/device.h"

namespace shoal::kernels {

/// The one CPU of this process. For where a caller brings no Device: a World that is given none, and the entry
/// points that have no World (describe, check_capture, plan_programs, TextModel). All else is handed its Device.
Device& cpu();

}  // namespace shoal::kernels
