// The samples of a sample store, as the models that take tensors want them.
#pragma once

#include "app/samples.h"

namespace shoal::app {

/// Batches of the fields that the recipe names as input and target, or of those that alone can be it. An mlp
/// takes a field of as many numbers as it has inputs, a resnet one of [3, image, image]: fp32, whatever the
/// store has, and U8 divided by 255. The target is a field of one whole number, the class. Throws InputError
/// where the store's fields do not suit the model; batches do for a class that the model has not.
/// REQUIRES: data.source is "samples", the model an mlp or a resnet.
Samples store_samples(const Recipe&);

}  // namespace shoal::app
