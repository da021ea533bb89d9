# Installs the build, moves the installed tree, then builds and runs a program against it as a user would.
#   cmake -D BUILD=... -D WORK=... -D LAUNCHER=... -P install_test.cmake
file(REMOVE_RECURSE ${WORK})
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/first OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
file(RENAME ${WORK}/first ${WORK}/installed)

# Nothing but the installed tree and LibTorch may be needed, so the environment says nothing of either.
set(ENV{CMAKE_PREFIX_PATH})
execute_process(COMMAND ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/program -B ${WORK}/build -D CMAKE_BUILD_TYPE=Release
  -D CMAKE_PREFIX_PATH=${WORK}/installed "-DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER}" COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${WORK}/build COMMAND_ERROR_IS_FATAL ANY)

execute_process(COMMAND ${WORK}/installed/bin/shoal run -n 2 ${WORK}/build/program OUTPUT_VARIABLE said COMMAND_ERROR_IS_FATAL ANY)
message("${said}")
foreach(line "rank 0 of 2: 2" "rank 1 of 2: 4")
  if(NOT said MATCHES "${line}\n")
    message(FATAL_ERROR "the program - output: got the text above, want a line \"${line}\"")
  endif()
endforeach()

# A path into the build tree would break once that is gone.
file(GLOB_RECURSE installed ${WORK}/installed/*)
foreach(path ${installed})
  file(STRINGS ${path} leaks REGEX "${BUILD}/(src|include)" LIMIT_COUNT 1)
  if(leaks)
    message(FATAL_ERROR "${path} - paths: got ${leaks}, want nothing of the build folder")
  endif()
endforeach()
