# Shoal::torch: LibTorch's headers and CPU libraries. Torch's own CMake package asks for the CUDA toolkit when LibTorch was built with CUDA,
# as those are that pip chooses by itself; the CPU part of such a build works without. Installed beside ShoalConfig.cmake, for programs.
#   in:   CMAKE_PREFIX_PATH (LibTorch's folder, or its share/cmake), else SHOAL_TORCH_HINT
#   out:  the target, SHOAL_TORCH_DIR (cached; may be given), SHOAL_TORCH_PROBLEM (a sentence, or empty)
set(SHOAL_TORCH_WANTED 2.13)
set(SHOAL_TORCH_PROBLEM "")

string(REPLACE ":" ";" shoal_prefixes "$ENV{CMAKE_PREFIX_PATH}")
set(shoal_places "")
foreach(prefix IN LISTS CMAKE_PREFIX_PATH shoal_prefixes)
  list(APPEND shoal_places ${prefix} ${prefix}/../..)
endforeach()
find_path(SHOAL_TORCH_DIR include/torch/csrc/api/include/torch/torch.h HINTS ${shoal_places} ${SHOAL_TORCH_HINT} NO_DEFAULT_PATH
  DOC "LibTorch's folder: include/ and lib/ are in it")
if(NOT SHOAL_TORCH_DIR)
  set(SHOAL_TORCH_PROBLEM "LibTorch - not found; name the folder of LibTorch ${SHOAL_TORCH_WANTED} in CMAKE_PREFIX_PATH, or run tools/setup")
  return()
endif()

file(STRINGS ${SHOAL_TORCH_DIR}/include/torch/headeronly/version.h shoal_version REGEX "define TORCH_VERSION_(MAJOR|MINOR) ")
string(REGEX REPLACE "[^0-9;]" "" shoal_version "${shoal_version}")
list(JOIN shoal_version "." shoal_version)
if(NOT shoal_version VERSION_EQUAL SHOAL_TORCH_WANTED)
  set(SHOAL_TORCH_PROBLEM
    "LibTorch - version: got ${shoal_version} in ${SHOAL_TORCH_DIR}, want ${SHOAL_TORCH_WANTED}; name another folder in CMAKE_PREFIX_PATH")
  return()
endif()

if(NOT TARGET Shoal::torch)
  add_library(Shoal::torch INTERFACE IMPORTED)
  target_include_directories(Shoal::torch INTERFACE ${SHOAL_TORCH_DIR}/include ${SHOAL_TORCH_DIR}/include/torch/csrc/api/include)
  target_link_libraries(Shoal::torch INTERFACE ${SHOAL_TORCH_DIR}/lib/libtorch_cpu.so ${SHOAL_TORCH_DIR}/lib/libc10.so)
  # What LibTorch itself was compiled with, as far as its headers ask.
  target_compile_definitions(Shoal::torch INTERFACE USE_DISTRIBUTED USE_C10D_GLOO USE_RPC USE_TENSORPIPE)
endif()
