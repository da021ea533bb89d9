// Pictures of what devices do when: a row for each device, a box for each thing that it does.
#pragma once

#include <string>
#include <vector>

#include "lower/pipeline_schedule.h"

namespace shoal::app {

/// What a box shows; it decides its colour.
enum class Work {
  kForward,
  kBackward,
  kInputGradient,
  kWeightGradient,
  kCompute,  // where the model is not cut in stages
  kOther,
  kReduce,
  kUpdate,
  kGather,
  kWait,
};

struct Drawing {
  struct Box {
    Work work;
    double begin, end;       // in any unit, from 0
    std::string label = {};  // drawn where it fits
  };
  struct Row {
    std::string name;
    std::vector<Box> boxes;  // later ones cover earlier ones
    double busy = 0;         // of `length`; the rest is idle, and said as a percentage
  };
  std::string title;
  double length = 0;
  std::vector<Row> rows;
};

/// A pipeline's schedule, as it is predicted.
Drawing draw_schedule(const lower::Grid&, const lower::Timeline&, const std::string& title);

std::string timeline_svg(const Drawing&);
/// Into the file that --timeline names. Throws InputError when it cannot be written.
void write_timeline(const std::string& file, const Drawing&);

}  // namespace shoal::app
