# Installs the build, moves the installed tree, then builds the examples against it as a user would (own_module is the README's), and trains on 1 and 2 devices.
#   cmake -D BUILD=... -D WORK=... -D LAUNCHER=... -P install_test.cmake
file(REMOVE_RECURSE ${WORK})
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/first OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
file(RENAME ${WORK}/first ${WORK}/installed)

# Nothing but the installed tree and LibTorch may be needed, so the environment says nothing of either.
set(ENV{CMAKE_PREFIX_PATH})
set(shoal ${WORK}/installed/bin/shoal)
foreach(example own_module own_operator)
  set(here ${WORK}/${example})
  execute_process(COMMAND ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/../../examples/${example} -B ${here}/build -D CMAKE_BUILD_TYPE=Release
    -D CMAKE_PREFIX_PATH=${WORK}/installed "-DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER}" COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${CMAKE_COMMAND} --build ${here}/build COMMAND_ERROR_IS_FATAL ANY)

  set(runs "1" "2")  # devices, and a layout where the program takes one
  if(example STREQUAL own_operator)
    list(APPEND runs "2 tp=2")  # divides with the example's rules
  endif()
  set(before)
  foreach(run ${runs})
    string(MAKE_C_IDENTIFIER "on_${run}" name)
    string(REPLACE " " ";" run ${run})
    list(POP_FRONT run devices)
    file(MAKE_DIRECTORY ${here}/${name})
    execute_process(COMMAND ${shoal} run -n ${devices} ${here}/build/program ${run} WORKING_DIRECTORY ${here}/${name}
      OUTPUT_VARIABLE said COMMAND_ERROR_IS_FATAL ANY)
    execute_process(COMMAND ${shoal} checkpoint hash ${here}/${name}/checkpoint OUTPUT_VARIABLE hash COMMAND_ERROR_IS_FATAL ANY)
    message("${example} ${name}:\n${said}${hash}")
    if(NOT said MATCHES "step 0  loss (0\\.9|1\\.0)[0-9]*\nstep 33  .*\nstep 99  loss 0\\.0[0-9]+\n")
      message(FATAL_ERROR "${example} - losses: got those above, want about 1 at first and below 0.1 at the end")
    endif()
    if(before AND NOT "${said}${hash}" STREQUAL "${before}")
      message(FATAL_ERROR "${example} ${name}: got the losses and the hash above, want those of 1 device")
    endif()
    set(before "${said}${hash}")
  endforeach()
endforeach()

# A path into the build folder would break once that is gone.
file(GLOB_RECURSE installed ${WORK}/installed/*)
foreach(path ${installed})
  file(STRINGS ${path} leaks REGEX "${BUILD}/(src|include)" LIMIT_COUNT 1)
  if(leaks)
    message(FATAL_ERROR "${path} - paths: got ${leaks}, want nothing of the build folder")
  endif()
endforeach()
