#include "shoal/trainer.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/hash.h"
#include "base/text.h"
#include "capture/capture.h"
#include "capture/hooks.h"
#include "comm/all_or_none.h"
#include "comm/collectives.h"
#include "lower/buckets.h"
#include "lower/local_graph.h"
#include "lower/ownership.h"
#include "lower/program.h"
#include "lower/storage.h"
#include "plan/layout.h"
#include "run/device_memory.h"
#include "run/exchange.h"
#include "run/externals.h"
#include "run/executor.h"
#include "run/initialise.h"
#include "run/interpreter.h"
#include "run/live_tensors.h"
#include "run/out_of_memory.h"
#include "run/reproducible.h"
#include "run/user_code.h"
#include "shoal/error.h"
#include "state/checkpoint.h"
#include "train/agreed_facts.h"
#include "train/calls.h"
#include "train/captured_graphs.h"
#include "train/divided_run.h"
#include "train/modes.h"
#include "train/module_link.h"
#include "train/optimizer_state.h"
#include "train/run_definition.h"

namespace shoal {
namespace {

using train::Captured;
using train::print_shapes;
using train::Shapes;
using train::shapes_of;

// Number of samples: the common first dim.
int64_t check_batch(const Batch& batch) {
  if (batch.empty()) throw InputError("batch - tensors: got none, want at least one");
  for (size_t i = 0; i < batch.size(); ++i) {
    if (!batch[i].defined() || batch[i].dim() == 0)
      throw InputError(cat("batch - tensor ", i, ": got ",
                           batch[i].defined() ? "a scalar" : "an undefined tensor",
                           ", want samples along dim 0"));
    if (!batch[i].device().is_cpu())
      throw InputError(cat("batch - tensor ", i, ": it is on ", batch[i].device().str(), ", want cpu"));
    if (batch[i].size(0) != batch[0].size(0))
      throw InputError(cat("batch - tensor ", i, ": got ", batch[i].size(0), " samples, want ",
                           batch[0].size(0), " as tensor 0 has"));
  }
  return batch[0].size(0);
}

Batch contiguous(Batch batch) {
  for (at::Tensor& tensor : batch) tensor = tensor.contiguous();
  return batch;
}

const char* safetensors_dtype(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return "F32";
    case at::kDouble:
      return "F64";
    case at::kBFloat16:
      return "BF16";
    case at::kHalf:
      return "F16";
    case at::kLong:
      return "I64";
    case at::kInt:
      return "I32";
    case at::kShort:
      return "I16";
    case at::kChar:
      return "I8";
    case at::kByte:
      return "U8";
    case at::kBool:
      return "BOOL";
    default:
      throw InputError(
          cat("checkpoint - dtype: tensors of ", c10::toString(tensor.scalar_type()), " cannot be saved"));
  }
}

std::span<const std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}
std::span<std::byte> mutable_bytes_of(const at::Tensor& tensor) {
  return {static_cast<std::byte*>(tensor.mutable_data_ptr()), tensor.nbytes()};
}

}  // namespace

struct Trainer::Impl {
  Impl(World& world_in, TrainingModel model_in, TrainerOptions options_in)
      : world(world_in),
        communicator(world_in.communicator()),
        model(std::move(model_in)),
        options(options_in) {
    if (!model.module) throw InputError("trainer - model: got an empty module holder");
    if (options.microbatches < 1)
      throw InputError(cat("trainer - microbatches: got ", options.microbatches, ", want 1 or more"));
    if (options.threads < 1)
      throw InputError(cat("trainer - threads: got ", options.threads, ", want 1 or more"));
    if (options.clip_norm < 0)
      throw InputError(cat("trainer - clip_norm: got ", options.clip_norm, ", want 0 (off) or more"));
    at::set_num_threads(options.threads);
    kind_of_device = run::make_reproducible();
    if (options.tensor_chunks < 1)
      throw InputError(cat("trainer - tensor_chunks: got ", options.tensor_chunks, ", want 1 or more"));
    const plan::Limits limits{world.size(), options.microbatches, options.tensor_chunks};
    layout = options.layout ? *options.layout : plan::default_layout(limits, "trainer - layout");
    plan::check_layout(layout, limits, "trainer - layout");
    role = lower::role_of(layout, world.rank());
    program = lower::lower_step(options.microbatches, layout, world.rank());
    std::vector<lower::Program> all;
    for (int rank = 0; rank < world.size(); ++rank)
      all.push_back(lower::lower_step(options.microbatches, layout, rank));
    lower::program_check(all);
    tensors = capture::named_tensors(*model.module);
    const size_t drawn = model.initialisation ? model.initialisation->graph.results.size() : 0;
    if (model.initialisation && drawn != tensors.parameters.size() + tensors.buffers.size())
      throw InputError(cat("trainer - model: got ", tensors.parameters.size() + tensors.buffers.size(),
                           " parameters and buffers, want the ", drawn,
                           " that describe() saw; register them in the constructor"));
    show_tensors();
  }
  ~Impl() { world.live_tensors().remove(this); }

  // Other models of this World may compute with this one's tensors: their numbers are here.
  void show_tensors() {
    for (const auto* list : {&tensors.parameters, &tensors.buffers})
      for (const capture::NamedTensor& named : *list)
        world.live_tensors().add({this, named.name, named.tensor, [this, name = named.name] {
                                    return memory ? memory->current(name) : at::Tensor();
                                  }});
  }

  // These are the process's, and anybody may have set them since.
  void hold_settings() const {
    if (at::get_num_threads() != options.threads) at::set_num_threads(options.threads);
    if (const std::string kind = run::make_reproducible(); kind != kind_of_device)
      throw InputError(cat("trainer - device.kind: it was \"", kind_of_device,
                           "\" when the trainer was made and is \"", kind,
                           "\" now; set what decides the bits of a run before, and leave it"));
  }

  // What this device runs of a divided graph: its own parts.
  lower::LocalGraph localise(const graph::Graph& divided) const {
    return lower::local_graph(divided, layout.tp, role.tp);
  }

  // Null without tensor parallelism.
  run::Exchanger* exchange_for(const Captured& captured) {
    if (!exchanger) return nullptr;
    exchanger->begin(captured.local);
    return &*exchanger;
  }

  capture::Form form() const {
    return options.tensor_chunks > 1 ? capture::Form::kDivisible : capture::Form::kWhole;
  }

  bool gathers_on_use() const { return layout.zero == 3 && layout.servers == 0; }

  // Agrees with the other devices on the call and on the shapes of its first microbatch; when these are new,
  // also on all that the capture's updates will come from. Every rank has captured the same shapes before.
  Captured& capture(const Batch& microbatch, const std::string& place, const std::string& call) {
    const Shapes shapes = shapes_of(microbatch);
    const train::Key key{shapes, train::modes_of(*model.module), trainable(), hooks()};
    std::vector<comm::Fact> facts = writes();
    const bool compares = world.size() > 1;
    if (compares)
      facts.insert(facts.begin(), {{"microbatch", print_shapes(shapes)},
                                   {"submodules in eval()", train::print(key.modes, *model.module)},
                                   {"frozen parameters", frozen()}});
    const auto use = [&](Captured& captured) -> Captured& {
      if (compares) facts.push_back({.name = "graph of this step", .value = captured.hash, .is_hash = true});
      agreed_seconds = calls.agree(place, call, std::move(facts));
      follow();
      return captured;
    };
    if (Captured* const known = training.find(key, model.loss, true)) return use(*known);
    calls.set_activity(cat(place, ": capture"));
    capture::Call made =
        capture::call_training(model, shapes, options.precision, form(), training.text_of(key));
    if (Captured* const known = training.find(key, made)) return use(*known);
    const std::string hash = hash_hex(made.text);
    graph::Graph whole = made.graph;
    if (!memory) definition = train::run_definition(options, hash, kind_of_device);
    if (compares) {
      add(facts, train::facts_of_run(definition, layout));
      add(facts, train::facts_of_tensors(tensors));
      add(facts, {{"the graph", made.text}});
    }
    train::DividedRun run =
        train::divide_run(std::move(whole), options.tensor_chunks, memory ? &storage.cuts : nullptr);
    const graph::Graph& graph = run.graph;
    if (compares) {
      if (options.tensor_chunks > 1) add(facts, {{"the divided graph", graph::print(graph)}});
      if (!memory) add(facts, train::facts_of_first_numbers(model, tensors));
      facts.push_back({.name = "graph of this step", .value = hash, .is_hash = true});
    }
    agreed_seconds = calls.agree(place, call, std::move(facts));
    follow();
    if (!memory) {
      cut_map = run.cut_map;
      if (options.tensor_chunks > 1) definition["divided_graph"] = hash_hex(graph::print(graph));
      build_memory(graph);
      began_trainable = key.trainable;
    } else if (const lower::Storage now = lower::plan_storage(graph); lower::print(now) != lower::print(storage)) {
      for (size_t i = 0; i < key.trainable.size(); ++i)
        if (key.trainable[i] != began_trainable[i])
          throw InputError(cat("trainer - parameter ", tensors.parameters[i].name, ": its requires_grad is ",
                               key.trainable[i] ? "true, and was false" : "false, and was true",
                               " when training began; a Trainer trains the same parameters to its end, so "
                               "make a new one, which goes on with the module's numbers"));
      check_same_uses(now);
      throw InputError(cat("trainer - batch: with tensors ", print_shapes(shapes),
                           " the model trains other parameters than with its first batch; make each "
                           "parameter take part in every loss"));
    }
    auto captured =
        std::make_unique<Captured>(key, made, localise(graph), gathers_on_use(), world.live_tensors());
    if (layout.tp > 1 && role.computes && !exchanger) {
      std::vector<int> peers;
      for (int tp = 0; tp < layout.tp; ++tp) peers.push_back(lower::rank_of(layout, role.dp, tp));
      exchanger.emplace(comm::Group(*group, peers), captured->local.half_bytes);
    }
    captured->contributions = lower::contributions_of(captured->graph, storage);
    captured->buckets = lower::plan_buckets(captured->graph, storage);
    captured->executor.set_profiling(profiling);
    return training.add(std::move(captured));
  }

  // The memory for gradients is laid out once, with a place for each use of a parameter.
  void check_same_uses(const lower::Storage& now) const {
    for (size_t u = 0; u < std::min(now.units.size(), storage.units.size()); ++u) {
      const lower::Unit &is = now.units[u], &was = storage.units[u];
      if (is.parameter == was.parameter && is.contributions.size() != was.contributions.size())
        throw InputError(cat("trainer - parameter ", is.parameter, ": it is used in ", is.contributions.size(),
                             " places now, and was used in ", was.contributions.size(),
                             " when training began; use it alike in every step (what comes later times 0 at "
                             "first), or make a new Trainer"));
    }
  }

  void build_memory(const graph::Graph& graph) {
    storage = lower::plan_storage(graph);
    if (storage.units.empty())
      throw InputError("trainer - model: it has no parameter that takes part in the loss");
    ownership = std::make_unique<lower::Ownership>(storage, layout);
    if (!group) group.emplace(communicator);
    try {
      memory = std::make_unique<run::DeviceMemory>(*group, *ownership, program);
      initialise();
      if (!model.initialisation) link.emplace(*group, *memory, tensors, lends());
      optimizer = std::make_unique<train::OptimizerState>(options.optimizer, storage, memory->owned());
      group->barrier();  // others' models may read these weights from now on
    } catch (const std::exception& error) {
      link.reset();
      memory.reset();  // there are no numbers
      if (run::is_out_of_memory(error)) throw no_room();
      throw;
    }
    interpreter = std::make_unique<run::Interpreter>(
        *group, program, *memory, [this](std::vector<run::OwnedPiece>& owned, float divisor) {
          optimizer->apply(owned, steps, options.schedule.factor(steps), divisor);
        });
  }

  // The system gives this device no more memory.
  JobError no_room() const {
    int64_t owned = 0;
    for (const lower::Piece& piece : ownership->owned(world.rank())) owned += piece.elements.size();
    const int64_t bytes = ownership->weight_bytes(world.rank()) +
                          program.num_slots * ownership->slot_bytes(world.rank()) +
                          owned * static_cast<int64_t>(3 * sizeof(float));
    return JobError(cat("memory - the model's weights, gradients and optimizer state take some ",
                        human_bytes(static_cast<uint64_t>(bytes)),
                        " on this device, which has no room for them; use more devices",
                        layout.zero == 3 ? "" : ", with zero=3 each keeps a share of everything"));
  }

  void install(const capture::NamedTensor& named, const at::Tensor& value) {
    memory->install(named.name, value, capture::compute_dtype(*model.module, named, options.precision));
  }

  // The first numbers: the module's own, or the recorded constructor's, drawn one tensor after the other.
  void initialise() {
    std::vector<capture::NamedTensor> all = tensors.parameters;
    all.insert(all.end(), tensors.buffers.begin(), tensors.buffers.end());
    if (!model.initialisation) {
      for (const capture::NamedTensor& named : all) {
        train::check_has_numbers(named);
        const auto reading = capture::reading_modules();
        install(named, named.tensor.detach());
      }
      return;
    }
    run::initialise(model.initialisation->graph, options.seed, [&](int index, const at::Tensor& value) {
      install(all[static_cast<size_t>(index)], value);
    });
  }

  // Every device that computes keeps whole parameters, and all that write to them write alike.
  bool lends() const { return layout.servers == 0 && layout.zero < 3; }

  // A tied parameter has the first of its names here.
  std::string first_name_of(const std::string& name) const {
    const at::Tensor* wanted = model.module->named_parameters().find(name);
    if (!wanted) wanted = model.module->named_buffers().find(name);
    for (const auto* list : {&tensors.parameters, &tensors.buffers})
      for (const capture::NamedTensor& named : *list)
        if (wanted && named.tensor.is_same(*wanted)) return named.name;
    return name;
  }

  std::vector<bool> trainable() const {
    std::vector<bool> flags;
    for (const capture::NamedTensor& named : tensors.parameters) flags.push_back(named.tensor.requires_grad());
    return flags;
  }
  std::vector<size_t> hooks() const {
    std::vector<size_t> counts;
    for (const capture::NamedTensor& named : tensors.parameters)
      counts.push_back(capture::count_hooks(named.tensor));
    return counts;
  }
  std::string frozen() const {
    std::vector<std::string> names;
    for (const capture::NamedTensor& named : tensors.parameters)
      if (!named.tensor.requires_grad()) names.push_back(named.name);
    return names.empty() ? "none" : join(names, ", ");
  }

  // What the user did to the module since the last call, to be told to the other devices; follow() honours it.
  std::vector<comm::Fact> writes() {
    train::check_tensors(tensors, *model.module);
    return link ? link->writes() : std::vector<comm::Fact>{};
  }
  void follow() {
    if (link) link->follow();
  }
  static void add(std::vector<comm::Fact>& facts, std::vector<comm::Fact> more) {
    std::move(more.begin(), more.end(), std::back_inserter(facts));
  }

  StepResult step(const std::function<Batch(int64_t)>& data) {
    require_whole("step");
    return calls.together([&] {
      return run_step([&](int64_t m) {
        return run::user_code(communicator, cat("step ", steps, ": microbatch ", m, " of the data function"),
                              [&] { return data(m); });
      });
    });
  }

  StepResult step(const Batch& global_batch) {
    require_whole("step");
    return calls.together([&] {
      calls.set_activity(cat("step ", steps));
      const int64_t count = check_batch(global_batch), each = count / options.microbatches;
      if (count % options.microbatches != 0)
        throw InputError(cat("batch - size: got ", count, " samples, want a multiple of ",
                             options.microbatches, " (microbatches)"));
      return run_step([&](int64_t m) {
        Batch part;
        for (const at::Tensor& tensor : global_batch) part.push_back(tensor.narrow(0, m * each, each));
        return part;
      });
    });
  }

  StepResult run_step(const std::function<Batch(int64_t)>& microbatch) {
    hold_settings();
    const auto start = std::chrono::steady_clock::now();
    // Every device captures on its first microbatch, so that all make the same collective calls.
    // A server computes none and looks at the first one's shapes only.
    const std::vector<int64_t> mine = program.microbatches();
    const int64_t first_index = mine.empty() ? 0 : mine.front();
    std::optional<Batch> first = contiguous(microbatch(first_index));
    const int64_t samples_each = check_batch(*first);
    const std::string place = cat("step ", steps);
    calls.set_activity(place);
    Captured& captured = capture(*first, place, "step");
    if (link) link->withhold();
    const Shapes& shapes = captured.key.shapes;
    run::StepRequest request;
    request.graph = &captured.graph;
    request.executor = &captured.executor;
    request.contributions = &captured.contributions;
    request.buckets = &captured.buckets;
    request.buffers = &captured.buffers;
    if (!mine.empty()) captured.externals.bind();
    request.externals = &captured.externals;
    request.exchanger = exchange_for(captured);
    request.batch = [&](int64_t m) -> Batch {
      if (m == first_index && first) return *std::exchange(first, std::nullopt);
      Batch batch = contiguous(microbatch(m));
      calls.set_activity(cat(place, ": compute microbatch ", m));
      if (shapes_of(batch) != shapes)
        throw InputError(cat("batch - microbatch ", m, ": got ", print_shapes(shapes_of(batch)), ", want ",
                             print_shapes(shapes), " as the others"));
      if (captured.trace->is_usable() && !captured.trace->is_repeated_by(model.loss, /*gradients=*/true))
        throw InputError(cat("trainer - microbatch ", m, ": the model's code does something else with it than with "
                             "microbatch ", first_index, " of the same step, by a number or tensor of the host; what "
                             "differs from microbatch to microbatch belongs in the batch"));
      return batch;
    };
    request.seed = options.seed;
    request.step = steps;
    request.clip_norm = options.clip_norm;
    request.stop = shoal::stop_requested();
    const run::StepOutcome outcome = interpreter->run(request);
    if (link) link->changed();

    StepResult result;
    result.step = steps;
    result.loss = outcome.loss;
    result.grad_norm = outcome.grad_norm;
    result.lr =
        std::visit([](const auto& o) { return o.lr; }, options.optimizer) * options.schedule.factor(steps);
    result.samples = samples_each * options.microbatches;
    result.stop_requested = outcome.stop;
    result.bytes_read = {outcome.traffic.gradients, outcome.traffic.weights, outcome.traffic.boards,
                         captured.local.bytes_read * static_cast<int64_t>(mine.size())};
    const run::StepSeconds& s = outcome.seconds;
    const double total = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    result.seconds = {total, s.compute, s.reduce, s.update, s.gather, s.wait + agreed_seconds};
    ++steps;
    samples += result.samples;
    return result;
  }

  void require_memory(const char* what) const {
    if (!memory)
      throw InputError(
          cat("trainer - ", what, ": the model has no numbers yet; call prepare() or step() first"));
    require_whole(what);
  }
  void require_whole(const char* what) const {
    if (half_loaded)
      throw InputError(cat("trainer - ", what,
                           ": the last load() failed on the way, so the weights are those of no step; load "
                           "another checkpoint first"));
  }

  // What a checkpoint holds: for each trained unit its weight and optimizer state, then what is frozen.
  std::vector<state::TensorSpec> specs() {
    std::vector<state::TensorSpec> specs;
    const auto add_units = [&](const std::string& role_name) {
      for (const lower::Unit& unit : storage.units) specs.push_back(spec_of(unit, role_name));
    };
    add_units("weight");
    for (const auto& [role_name, pieces] : optimizer->state()) add_units(role_name);
    for (const auto& [name, tensor] : memory->unowned()) {
      const bool buffer = std::any_of(tensors.buffers.begin(), tensors.buffers.end(),
                                      [&](auto& named) { return named.name == name; });
      specs.push_back(
          {name, buffer ? "buffer" : "weight", safetensors_dtype(tensor), tensor.sizes().vec(), {}});
    }
    return specs;
  }
  state::TensorSpec spec_of(const lower::Unit& unit, const std::string& role_name) const {
    state::TensorSpec spec{unit.parameter, role_name, "F32", storage.global_shape(unit), {}};
    if (unit.part != graph::kWhole) {
      const graph::Cut& cut = storage.cuts.at(unit.parameter);
      spec.division = state::Division{unit.part, storage.num_parts, cut.dim, cut.outer};
    }
    return spec;
  }

  // `visit(index in specs(), elements, tensor)`, for `pieces` of what this device owns.
  template <class Visit>
  void for_each_owned(const std::vector<lower::Piece>& pieces, const Visit& visit) {
    for (const lower::Piece& piece : pieces) {
      const run::OwnedPiece& owned = memory->owner_of(piece.unit, piece.elements);
      const auto index = static_cast<size_t>(&owned - memory->owned().data());
      const auto slice = [&](const at::Tensor& tensor) {
        return tensor.narrow(0, piece.elements.begin - owned.piece.elements.begin, piece.elements.size());
      };
      visit(piece.unit, piece.elements, slice(owned.master));
      size_t first = storage.units.size();
      for (auto& [role_name, state] : optimizer->state()) {
        visit(first + piece.unit, piece.elements, slice(state[index]));
        first += storage.units.size();
      }
    }
  }

  void update_module() {
    calls.together([&] {
      calls.agree("update_module", writes());
      follow();
      link->update();
    });
  }

  void prepare(const Batch& microbatch) {
    calls.together([&] {
      calls.set_activity(calls.now("prepare"));
      check_batch(microbatch);
      capture(contiguous(microbatch), calls.now("prepare"), "prepare");
    });
  }

  static comm::Fact fact_of(const std::filesystem::path& folder) {
    return {"the checkpoint", std::filesystem::absolute(folder).lexically_normal().string()};
  }

  void save(const std::filesystem::path& folder) {
    calls.alike([&] {
      std::vector<comm::Fact> facts = {fact_of(folder)};
      for (const auto& [key, note] : notes.items()) facts.push_back({cat("note ", key), note.dump()});
      add(facts, calls.together([&] { return writes(); }));
      calls.agree("save", std::move(facts));
      write(folder);
    });
  }

  void write(const std::filesystem::path& folder) {
    require_memory("save");
    follow();
    state::Contents contents{definition, steps, samples, specs()};
    contents.run["notes"] = notes;
    std::vector<state::Slice> slices;
    for_each_owned(ownership->share(world.rank()),
                   [&](size_t tensor, Range elements, const at::Tensor& value) {
                     slices.push_back({tensor, elements, bytes_of(value)});
                   });
    if (world.rank() == 0) {
      size_t tensor = contents.tensors.size() - memory->unowned().size();
      for (const auto& [name, value] : memory->unowned())
        slices.push_back({tensor++, {0, value.numel()}, bytes_of(value)});
    }
    calls.set_activity(calls.now(cat("save ", folder.filename().string())));
    state::save(*group, folder, contents, slices);
  }

  // All ranks load, or all throw: a damaged block is read by some of them only.
  void load(const std::filesystem::path& folder) {
    calls.alike([&] {
      std::vector<comm::Fact> facts = {fact_of(folder)};
      if (memory && !half_loaded) add(facts, calls.together([&] { return writes(); }));
      // After it nobody reads the old weights any more.
      calls.agree("load", std::move(facts));
      if (!half_loaded) require_memory("load");
      if (!half_loaded) follow();  // what the user wrote comes before, and is written over
      if (link) link->withhold();
      calls.set_activity(calls.now(cat("load ", folder.filename().string())));
      read_together(folder);
    });
  }

  void read_together(const std::filesystem::path& folder) {
    std::optional<state::Checkpoint> checkpoint;
    const std::vector<state::TensorSpec> wanted = specs();
    std::vector<size_t> index;  // of those in the checkpoint
    comm::all_or_none(*group, [&] {
      checkpoint.emplace(folder);
      train::check_same_run(definition, checkpoint->contents().run);
      for (const state::TensorSpec& spec : wanted) index.push_back(checkpoint->find(spec));
      return "";
    });
    half_loaded = true;
    comm::all_or_none(*group, [&] {
      read(*checkpoint, wanted, index);
      return "";
    });
    steps = checkpoint->contents().step;
    samples = checkpoint->contents().samples;
    memory->publish_masters();
    group->barrier();
    memory->gather_weights();
    group->barrier();
    half_loaded = false;
    if (link) link->changed();
  }

  void read(const state::Checkpoint& checkpoint, const std::vector<state::TensorSpec>& wanted,
            const std::vector<size_t>& index) {
    for_each_owned(ownership->owned(world.rank()),
                   [&](size_t tensor, Range elements, const at::Tensor& value) {
                     checkpoint.read(index[tensor], elements, mutable_bytes_of(value));
                   });
    size_t tensor = wanted.size() - memory->unowned().size();
    const auto unowned = memory->unowned();
    for (const auto& [name, value] : unowned) {
      const at::Tensor fresh = at::empty(value.sizes(), value.options());
      checkpoint.read(index[tensor++], {0, value.numel()}, mutable_bytes_of(fresh));
      const auto& all = wanted[tensor - 1].role == "buffer" ? tensors.buffers : tensors.parameters;
      for (const capture::NamedTensor& named : all)
        if (named.name == name) install(named, fresh);
    }
  }

  double evaluate(int64_t count, const std::function<Batch(int64_t)>& batch) {
    calls.alike([&] {
      std::vector<comm::Fact> facts = {{"number of batches", cat(count)}};
      add(facts, calls.together([&] { return writes(); }));
      calls.agree("evaluate", std::move(facts));
      require_memory("evaluate");
      if (count < 1) throw InputError(cat("trainer - evaluate: got ", count, " batches, want 1 or more"));
    });
    return calls.together([&] { return mean_loss(count, batch); });
  }

  void check_same_evaluations() {
    std::map<std::string, std::string> hashes;  // by shapes, of the graph used last
    for (const auto& each : evaluation) hashes[print_shapes(each->key.shapes)] = each->hash;
    train::check_same_evaluations(*group, calls.now("evaluate"), hashes);
  }

  double mean_loss(int64_t count, const std::function<Batch(int64_t)>& data) {
    hold_settings();
    follow();
    const Range mine = role.computes ? share(count, layout.dp, role.dp) : Range{};
    std::vector<double> losses;
    for (int64_t i = mine.begin; i < mine.end; ++i) {
      const Batch inputs =
          contiguous(run::user_code(communicator, calls.now(cat("batch ", i, " of evaluate's data function")),
                                    [&] { return data(i); }));
      calls.set_activity(calls.now(cat("evaluate batch ", i)));
      check_batch(inputs);
      losses.push_back(forward_loss(inputs, i));
    }
    // The devices that share a microbatch have the same losses: one of them says so.
    if (role.tp != 0) losses.clear();
    calls.set_activity(calls.now("evaluate"));
    if (world.size() > 1) check_same_evaluations();
    std::vector<double> all;
    for (const auto& part : comm::all_gather(*group, std::as_bytes(std::span(losses)))) {
      const size_t before = all.size();
      all.resize(before + part.size() / sizeof(double));
      if (!part.empty()) std::memcpy(all.data() + before, part.data(), part.size());
    }
    return comm::tree_sum(all) / static_cast<double>(count);
  }

  double forward_loss(const Batch& batch, int64_t number) {
    const Shapes shapes = shapes_of(batch);
    const train::Key key{shapes, {}, {}, {}};
    Captured* found = nullptr;
    capture::Call made;
    train::in_evaluation(*model.module, [&] {
      found = evaluation.find(key, model.loss, false);
      if (found) return;
      made = capture::call_forward(*model.module, model.loss, shapes, options.precision, form(),
                                   evaluation.text_of(key));
      found = evaluation.find(key, made);
    });
    if (!found) {
      graph::Graph whole = made.graph;
      const train::DividedRun run =
          train::divide_run(std::move(whole), options.tensor_chunks, &storage.cuts);
      found = &evaluation.add(
          std::make_unique<Captured>(key, made, localise(run.graph), gathers_on_use(), world.live_tensors()));
    }
    Captured& captured = *found;
    if (exchanger)
      exchanger->agree(cat("trainer - ", calls.now(cat("evaluate batch ", number))),
                       cat("graph ", found->hash, " of ", print_shapes(shapes)));
    captured.externals.bind();
    double loss = 0;
    run::Executor::Run run;
    const std::vector<at::Tensor> inputs = run::bind_inputs(captured.graph, *memory, captured.externals, batch);
    run.inputs = inputs;
    run.fetch = run::gather_inputs(captured.graph, *memory);
    run.random = {options.seed, steps, -1 - number};
    run.exchanger = exchange_for(captured);
    run.sink = [&](int, const at::Tensor& value) {
      if (value.numel() != 1)
        throw InputError(
            cat("loss - shape: got [", join(value.sizes(), ","), "] in eval mode, want a scalar"));
      loss = value.item<double>();
    };
    captured.executor.run(run);
    return loss;
  }

  World& world;
  comm::Communicator& communicator;
  std::optional<comm::Group> group;  // all devices, for this trainer alone; from the first capture on
  TrainingModel model;
  TrainerOptions options;
  std::string kind_of_device;
  capture::NamedTensors tensors;
  Layout layout;
  lower::Role role;
  lower::Program program;
  lower::Storage storage;
  std::unique_ptr<lower::Ownership> ownership;
  std::string cut_map;                      // as text; "" with one chunk
  std::optional<run::Exchanger> exchanger;  // with tp > 1
  nlohmann::json definition;                // of the run
  nlohmann::json notes = nlohmann::json::object();
  train::CapturedGraphs training, evaluation;
  std::vector<bool> began_trainable;
  std::unique_ptr<run::DeviceMemory> memory;
  std::optional<train::ModuleLink> link;  // of a built module
  std::unique_ptr<train::OptimizerState> optimizer;
  std::unique_ptr<run::Interpreter> interpreter;
  double agreed_seconds = 0;  // what the last capture() waited for the others
  int64_t steps = 0, samples = 0;
  train::Calls calls{world, steps};
  bool profiling = false;
  bool half_loaded = false;  // the weights are those of no step
};

Trainer::Trainer(World& world, TrainingModel model, TrainerOptions options)
    : impl_(std::make_unique<Impl>(world, std::move(model), std::move(options))) {}
Trainer::~Trainer() = default;

StepResult Trainer::step(const std::function<Batch(int64_t)>& microbatch) { return impl_->step(microbatch); }

StepResult Trainer::step(const Batch& global_batch) { return impl_->step(global_batch); }
void Trainer::prepare(const Batch& microbatch) { impl_->prepare(microbatch); }

double Trainer::evaluate(int64_t count, const std::function<Batch(int64_t)>& batch) {
  return impl_->evaluate(count, batch);
}
void Trainer::save(const std::filesystem::path& folder) { impl_->save(folder); }
void Trainer::load(const std::filesystem::path& folder) { impl_->load(folder); }
int64_t Trainer::steps_done() const { return impl_->steps; }
int64_t Trainer::samples_done() const { return impl_->samples; }

int64_t Trainer::num_parameters() const {
  int64_t count = 0;
  for (const capture::NamedTensor& parameter : impl_->tensors.parameters) count += parameter.tensor.numel();
  return count;
}

at::Tensor Trainer::parameter(const std::string& name) const {
  impl_->require_memory("parameter");
  if (impl_->link) impl_->link->follow_here();
  const at::Tensor value = impl_->memory->whole(impl_->first_name_of(name));
  if (!value.defined()) throw InputError(cat("trainer - parameter: the module has none named ", name));
  return value;
}

void Trainer::update_module() {
  impl_->require_memory("update_module");
  if (impl_->model.initialisation)
    throw InputError(
        "trainer - update_module: the model was described, so its module has no memory; read its numbers with "
        "parameter(name), or save them with save(folder)");
  impl_->update_module();
}

void Trainer::set_note(const std::string& key, const std::string& json_text) {
  impl_->notes[key] = nlohmann::json::parse(json_text);
}

std::string Trainer::plan() const {
  impl_->require_memory("plan");
  return cat(lower::print(impl_->program), "\n", lower::print(impl_->storage), "\n",
             lower::print(*impl_->ownership), impl_->cut_map, "shared memory of this device: ",
             human_bytes(static_cast<uint64_t>(impl_->memory->window_bytes() +
                                               (impl_->exchanger ? impl_->exchanger->window_bytes() : 0))),
             "\n");
}

Trainer::Memory Trainer::memory() const {
  impl_->require_memory("memory");
  int64_t gathered = 0;
  const auto add = [&](const auto& graphs) {
    for (const auto& captured : graphs)
      gathered = std::max(gathered, captured->executor.peak_fetched_bytes());
  };
  add(impl_->training);
  add(impl_->evaluation);
  return {impl_->memory->parameter_bytes(), impl_->memory->gradient_bytes(), impl_->optimizer->bytes(),
          impl_->interpreter->buffer_bytes() + gathered +
              (impl_->exchanger ? impl_->exchanger->window_bytes() : 0)};
}

void Trainer::profile(bool on) {
  impl_->profiling = on;
  for (const auto& captured : impl_->training) captured->executor.set_profiling(on);
}

std::map<std::string, double> Trainer::seconds_by_operator() const {
  std::map<std::string, double> all;
  for (const auto& captured : impl_->training)
    for (const auto& [op, seconds] : captured->executor.seconds_by_operator()) all[op] += seconds;
  return all;
}

}  // namespace shoal
