// Everything a program needs: World (the devices), describe (the model), SampleStore (the data), Trainer (the training).
#pragma once

#include "shoal/error.h"
#include "shoal/model.h"
#include "shoal/optimizer.h"
#include "shoal/rule.h"
#include "shoal/sample_store.h"
#include "shoal/trainer.h"
#include "shoal/world.h"
