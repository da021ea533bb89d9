# Installs the build, moves the installed tree, then builds the examples against it as a user would (own_module is the README's), and trains with them on one
# device and on several.
#   cmake -D BUILD=... -D WORK=... -D LAUNCHER=... -P program_test.cmake
include(${CMAKE_CURRENT_LIST_DIR}/installed.cmake)

# The program's runs, each "DEVICES [ARGUMENT...]": they print these losses, all alike, and leave equal checkpoints where they leave any. What the devices say
# of themselves is theirs, in `devices_said`.
function(expect_one_answer example losses)
  set(before)
  foreach(run ${ARGN})
    string(MAKE_C_IDENTIFIER "on_${run}" name)
    set(here ${WORK}/${example}/${name})
    file(MAKE_DIRECTORY ${here})
    separate_arguments(arguments UNIX_COMMAND "${run}")
    list(POP_FRONT arguments devices)
    execute_process(COMMAND ${shoal} run -n ${devices} ${WORK}/${example}/program ${arguments} WORKING_DIRECTORY ${here}
      OUTPUT_VARIABLE said COMMAND_ERROR_IS_FATAL ANY)
    if(EXISTS ${here}/checkpoint)
      execute_process(COMMAND ${shoal} checkpoint hash ${here}/checkpoint OUTPUT_VARIABLE hash COMMAND_ERROR_IS_FATAL ANY)
      string(APPEND said "${hash}")
    endif()
    message("${example} ${run}:\n${said}")
    string(REGEX MATCHALL "device [^\n]*\n" devices_said "${said}")
    string(REGEX REPLACE "device [^\n]*\n" "" answer "${said}")
    if(NOT answer MATCHES "^${losses}[^\n]*\n$")
      message(FATAL_ERROR "${example} - losses: got those above, want ${losses} and a hash")
    endif()
    if(before AND NOT answer STREQUAL before)
      message(FATAL_ERROR "${example} ${run}: got the losses and the hash above, want those of 1 device")
    endif()
    set(before "${answer}")
  endforeach()
  set(devices_said "${devices_said}" PARENT_SCOPE)
endfunction()

function(expect_devices_say)
  foreach(words ${ARGN})
    if(NOT devices_said MATCHES "device ${words}\n")
      message(FATAL_ERROR "stages: got ${devices_said}, want \"device ${words}\" among it")
    endif()
  endforeach()
endfunction()

# From about 1 to below 0.1.
set(falls "step 0  loss (0\\.9|1\\.0)[0-9]*\nstep 33  [^\n]*\nstep 66  [^\n]*\nstep 99  loss 0\\.0[0-9]+\n")
build(${examples}/own_module)
expect_one_answer(own_module "${falls}" "1" "2")
build(${examples}/own_operator)
expect_one_answer(own_operator "${falls}" "1" "2" "2 tp=2")  # divides with the example's rules

set(between "step 30  [^\n]*\nstep 60  [^\n]*\n")
build(${examples}/stages)
expect_one_answer(stages "step 0  loss 0\\.[67][0-9]*\n${between}step 90  loss 0\\.[01][0-9]*\n" "1 unet" "2 unet dp=2" "3 unet pp=3,schedule=zero_bubble" "3 unet pp=3")
expect_devices_say("0 begins with down1.conv.weight" "2 begins with up[^\n]*")
expect_one_answer(stages "step 0  loss 4\\.[0-9]*\n${between}step 90  loss 0\\.0[0-9]*\n" "1 tied_gpt" "4 tied_gpt dp=2,pp=2" "4 tied_gpt pp=4"
  "4 tied_gpt pp=4 blocks.1.norm1.weight,blocks.2.norm1.weight,blocks.3.norm1.weight")
expect_devices_say("1 begins with blocks.1.norm1.weight" "2 begins with blocks.2.norm1.weight" "3 begins with blocks.3.norm1.weight")
expect_one_answer(stages "step 0  loss 2\\.[0-9]*\n${between}step 90  loss 0\\.0[0-9]*\n" "1 encoder_decoder" "2 encoder_decoder dp=2"
  "2 encoder_decoder pp=2,schedule=interleaved_1f1b:2" "2 encoder_decoder pp=2")

# From frames to a perception model: the few frames that the example keeps. Weights, losses and scores are in what is compared.
build(${examples}/driving)
set(store ${WORK}/driving/store)
execute_process(COMMAND ${WORK}/driving/program import ${examples}/driving/frames ${store} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${shoal} data verify ${store} COMMAND_ERROR_IS_FATAL ANY)
expect_one_answer(driving "step 0  loss 1\\.1[0-9]*\nstep 5  loss 0\\.[5-7][0-9]*\nweights [0-9a-f]*\nbaseline [^\n]*\nmodel "
  "1 train ${store} dp=1 6" "2 train ${store} dp=2 6" "2 train ${store} tp=2 6" "2 train ${store} pp=2 6" "4 train ${store} dp=2,tp=2 6 picture.png")
file(GLOB_RECURSE pictures ${WORK}/driving/*/picture.png)
list(LENGTH pictures num_pictures)
if(NOT num_pictures EQUAL 1)
  message(FATAL_ERROR "driving - picture.png: got ${num_pictures} of them, want one")
endif()

# From a genome and reads of it to a language model: the example's own script in small, which compares counts of k-mers with another program's; then the same
# tables on one device, and the same weights and numbers on any. What it starts from is fetched by tools/setup.
set(genome ${WORK}/genome)
execute_process(COMMAND ${CMAKE_COMMAND} -E env SHOAL=${WORK}/installed WORK=${genome} "CMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER}"
  ${examples}/genome/run 1 dp=1 1 COMMAND_ERROR_IS_FATAL ANY)
if(NOT EXISTS ${genome}/picture.svg)
  message(FATAL_ERROR "genome - picture.svg: got none")
endif()
foreach(flow reference reads kmers)
  execute_process(COMMAND ${shoal} data ${examples}/genome/${flow}.toml --devices 1 --out one_${flow} WORKING_DIRECTORY ${genome}
    COMMAND_ERROR_IS_FATAL ANY)
  file(GLOB files RELATIVE ${genome}/${flow} ${genome}/${flow}/part-* ${genome}/${flow}/manifest.json)
  list(LENGTH files num_files)
  if(num_files LESS 2)
    message(FATAL_ERROR "genome - ${flow}: got ${files}, want parts and a manifest")
  endif()
  foreach(file ${files})
    execute_process(COMMAND ${CMAKE_COMMAND} -E compare_files ${genome}/${flow}/${file} ${genome}/one_${flow}/${file} COMMAND_ERROR_IS_FATAL ANY)
  endforeach()
endforeach()
set(tables ${genome}/reference/part-00000.txt ${genome}/kmers/part-00000.tsv)
list(JOIN tables " " tables)
expect_one_answer(genome/build "step 0  loss 1\\.4[0-9]*\nstep 2  loss 1\\.[0-9]*\nweights [0-9a-f]*\nheld out[^\n]*\n(  markov [1-6]  1\\.9[0-9]*\n)+  model     [12]\\.[0-9]*[^\n]*\nsubstitutions[^\n]*\n(  [A-Za-z]+[^\n]*\n)+  Sam7"
  "1 ${tables} dp=1 3 4" "2 ${tables} dp=2 3 4" "2 ${tables} tp=2 3 4" "2 ${tables} pp=2 3 4")
