# Installs the build into WORK, moves the installed tree, and looks at its files. For the tests beside:
#   in:   BUILD, WORK, LAUNCHER (of the compiler)
#   out:  shoal (the command), examples (their folder), build(FOLDER [OPTION...])
cmake_minimum_required(VERSION 3.25)
file(REMOVE_RECURSE ${WORK})
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/first OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
file(RENAME ${WORK}/first ${WORK}/installed)

# Nothing but the installed tree, LibTorch and Arrow may be needed, so the environment says nothing of them.
set(ENV{CMAKE_PREFIX_PATH})
set(shoal ${WORK}/installed/bin/shoal)
get_filename_component(examples ${CMAKE_CURRENT_LIST_DIR}/../../examples ABSOLUTE)

# A path into the build folder would break once that is gone.
file(GLOB_RECURSE installed ${WORK}/installed/*)
foreach(path ${installed})
  file(STRINGS ${path} leaks REGEX "${BUILD}/(src|include)" LIMIT_COUNT 1)
  if(leaks)
    message(FATAL_ERROR "${path} - paths: got ${leaks}, want nothing of the build folder")
  endif()
endforeach()

# Configures the project of this folder as a user would; `result` and `said` are the caller's.
macro(configure folder)
  get_filename_component(name ${folder} NAME)
  execute_process(COMMAND ${CMAKE_COMMAND} -S ${folder} -B ${WORK}/${name} -D CMAKE_BUILD_TYPE=Release -D CMAKE_PREFIX_PATH=${WORK}/installed
    "-DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER}" ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE said ERROR_VARIABLE said)
endmacro()

# Its program is WORK/NAME/program then.
function(build folder)
  configure(${folder} ${ARGN})
  if(result)
    message(FATAL_ERROR "${folder} - configuring:\n${said}")
  endif()
  execute_process(COMMAND ${CMAKE_COMMAND} --build ${WORK}/${name} COMMAND_ERROR_IS_FATAL ANY)
endfunction()
